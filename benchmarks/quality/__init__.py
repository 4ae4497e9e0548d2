"""Quality: how well curation recovers what captions omit."""
