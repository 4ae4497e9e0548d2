"""Layouts: how the benchmarks' files lie, and readers of each."""
