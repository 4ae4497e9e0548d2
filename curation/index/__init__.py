"""The index: embedded pairs and captions, what they name, and searching them."""
