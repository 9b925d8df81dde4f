"""Benchmarks and their records: environment, resources, raw events, the index of runs."""
