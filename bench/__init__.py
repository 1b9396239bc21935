"""What is measured, against what, and the programs that measure it."""
