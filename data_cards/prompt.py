"""The sentence that stands for a concept or a class: what curation embeds, and what the tiny CLIP is taught."""

from __future__ import annotations

PROMPT = "a photo of a {}"
SIMPLE = f"{PROMPT}."  # CLIP's own templates end in a full stop, and so do those of published figures
