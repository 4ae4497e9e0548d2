"""The miniature: a small world drawn from seeds, with its truth."""
