"""The standalone trainer, from shards to a checkpoint; it knows recipes and shards, nothing of curation."""
