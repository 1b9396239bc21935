"""What a service's own telemetry sees of a runtime: spans, and metrics."""
