"""Events and commands: their classes, their bytes, their ids."""
