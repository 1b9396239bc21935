"""SQL views for people: rows of the tables with their keys taken apart."""

VIEWS = ()
