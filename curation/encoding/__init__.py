"""Encoding: an open_clip model as the two functions v and t of the paper."""
