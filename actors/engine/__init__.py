"""What runs: actors, the journal, the router, the queue of commands, timers."""
