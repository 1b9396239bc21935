"""What is looked up: views, reading, traces, diagnostics."""
