"""Concepts: what captions name, as words in one normal form."""
