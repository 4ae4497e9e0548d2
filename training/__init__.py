"""The standalone trainer, from shards to a checkpoint; this version holds no code of it."""
