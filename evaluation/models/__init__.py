"""Models that segment with words, whichever they are."""
