"""The panels under which help shows the options of `cocu index` and `cocu curate run`: a name, and what stands there.

An option that is named nowhere here is shown apart, among "Options".
"""

PANELS = {
    "Input": (
        *("embeddings", "extra_captions", "caption_field", "all_captions", "image_column", "caption_column", "images"),
        *("no_header", "columns", "parser", "adjectives", "names", "language", "prompt", "vocabulary", "min_count"),
        *("spacy_pipeline", "max_rejects", "model", "pretrained", "trust_remote_code", "tokenizer", "image", "tags"),
    ),
    "Retrieval": ("preset", "expansion", "neighbours", "factory", "min_recall", "k"),
    "Ranking": ("ranking", "keep", "min_score", "confidence", "merge", "synonyms", "grounded", "seed"),
    "Output": ("out", "write_caption", "output", "shards_format", "localise", "min_peak"),
    "Machine": ("device", "precision", "batch_size", "workers", "decode", "memory", "part", "processes"),
}
# Of `cocu curate run`, where these are of the pairs that --anchors names, the rest of its input being the index's.
OF_ANCHORS = (
    *("anchors", "caption_field", "all_captions", "image_column", "caption_column", "images", "no_header", "columns"),
    "max_rejects",
)


def panel(option: str, anchors: bool) -> str | None:
    """Where help shows an option; `anchors`: of a command that takes --anchors."""
    if anchors and option in OF_ANCHORS:
        return "Anchors"
    return next((title for title, options in PANELS.items() if option in options), None)
