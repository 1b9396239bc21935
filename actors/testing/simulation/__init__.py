"""A world that has moves, faults, clients and a run log: the real runtime, one turn at a time."""
