"""History from files, as if it had been handled when it happened."""
