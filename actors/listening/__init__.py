"""The socket in a store's folder: where it is, and the thread that waits for the first call."""
