"""Labels: a model and words -> the class of every pixel."""
