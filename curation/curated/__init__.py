"""Curated: what a curation leaves behind, as tables to query and as shards to train on."""
