"""Benchmarks: `make bench` runs them. They measure and tell; the tests hold nothing to a time."""
