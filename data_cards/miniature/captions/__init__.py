"""Captions: what a person would say of a scene, and leave out."""
