"""The tiny CLIP of the miniature: its weights, and how it is trained again."""
