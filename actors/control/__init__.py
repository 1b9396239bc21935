"""Looking at a store and acting on it from outside the process that owns it."""
