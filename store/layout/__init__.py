"""How records become rows: keys, frames, and the tables."""
