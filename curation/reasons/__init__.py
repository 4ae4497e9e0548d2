"""Why a concept is there: the index that a curation was made from, and the retrieved captions that name the concept."""
