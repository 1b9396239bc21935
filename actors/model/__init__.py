"""What a class says, read once and checked; all classes of a runtime together."""
