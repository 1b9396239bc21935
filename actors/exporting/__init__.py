"""What a store holds, as files that tools for process mining read."""
