"""Batches: samples of shards -> pixels and tokens."""
