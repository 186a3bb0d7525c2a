"""Measurement: latency, memory, size and bits of the artifact and of its float counterpart."""
