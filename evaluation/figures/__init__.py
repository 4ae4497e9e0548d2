"""Figures: labels and truth -> IoU, its parts and its uncertainty."""
