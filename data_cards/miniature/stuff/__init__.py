"""Stuff: skies, grounds, waters and walls."""
