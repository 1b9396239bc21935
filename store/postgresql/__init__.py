"""The tables in a PostgreSQL database: rows as in a file, one owner at a time by epochs."""
