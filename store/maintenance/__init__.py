"""What is done to a store as a file: backup, compaction."""
