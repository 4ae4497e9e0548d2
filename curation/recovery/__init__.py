"""Recovery: which of the objects that captions omit a curation found, where the truth is known."""
