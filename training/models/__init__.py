"""Models that learn to segment from text."""
