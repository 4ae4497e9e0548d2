"""Offline curation: pairs -> embeddings -> index -> archives -> ranked concepts -> tables and shards."""
