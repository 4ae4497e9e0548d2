"""Runs: folders that a command fills, continues after an interruption, and finishes."""
