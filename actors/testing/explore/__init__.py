"""A search for the run that breaks an invariant, and its shortest form."""
