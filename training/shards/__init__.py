"""Shards: tars in a fixed order, read at any offset, on any number of workers."""
