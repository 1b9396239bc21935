"""Checks all that is in a store."""
