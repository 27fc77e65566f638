"""Loopback servers that tests, the demo's checks and benchmarks share."""
