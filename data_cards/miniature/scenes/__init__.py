"""Scenes: what stands where."""
