"""A divided store: its partitions, the processes that run them, and the runtime over all."""
