"""Ranking: what is retrieved for a picture, and which of the concepts it names the picture shows."""
