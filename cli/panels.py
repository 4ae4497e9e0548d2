"""The panels under which help shows options: a name, and what stands there, in all commands or in one.

An option that is named nowhere here is shown last, among "Options".
"""

PANELS: dict[str, tuple[str, ...]] = {
    "Input": (
        *("embeddings", "extra_captions", "caption_field", "all_captions", "image_column", "caption_column", "images"),
        *("no_header", "columns", "parser", "adjectives", "names", "language", "prompt", "vocabulary", "min_count"),
        *("spacy_pipeline", "max_rejects", "model", "pretrained", "trust_remote_code", "tokenizer", "image", "tags"),
        *("index", "judged", "truth", "data", "val", "benchmark", "split", "limit", "skip_bad", "sample"),
    ),
    "Retrieval": ("preset", "expansion", "neighbours", "factory", "min_recall", "top"),
    "Ranking": ("ranking", "keep", "min_score", "confidence", "merge", "synonyms", "grounded", "seed"),
    "Output": (
        *("out", "write_caption", "output", "shards_format", "localise", "min_peak", "form", "as_json", "per_object"),
        *("subset", "defuse", "gallery", "overwrite", "tensorboard", "wandb", "sheet"),
    ),
    "Machine": (
        *(
            "device",
            "precision",
            "batch_size",
            "windows",
            "workers",
            "decode",
            "memory",
            "timeout",
            "part",
            "processes",
        ),
        *("gpus", "engine", "address", "retry_failed"),
        *("compile", "features"),
    ),
    "Run": ("dry_run", "config", "save_config", "log_json"),
}
OF_COMMANDS: dict[str, dict[str, tuple[str, ...]]] = {
    # The rest of its input is the index's.
    "cocu curate run": {
        "Anchors": (
            *("anchors", "caption_field", "all_captions", "image_column", "caption_column", "images", "no_header"),
            *("columns", "max_rejects"),
        )
    },
    "cocu curate score": {
        "Input": ("synonyms", "against"),
        "Measure": ("min_area", "top", "named_by", "seed"),
    },
    "cocu curate balance": {"Weights": ("cap", "tail", "concepts", "seed")},
    "cocu curate query": {"Output": ("limit",)},
    "cocu curate report": {"Output": ("sample", "seed")},
    "cocu curate export": {"Output": ("atlas", "truth", "top")},
    "cocu explore": {"Server": ("port", "host", "name")},
    "cocu train": {
        "Input": ("shares", "weights", "concepts"),
        "Model": ("init", "resume", "tokenizer", "trust_remote_code"),
    },
    "cocu eval": {
        "Model": ("dense", "dense_pictures", "tokenizer", "trust_remote_code"),
        "Rules": (
            *("protocol", "templates", "prompts", "background_words", "vocabulary", "distractors", "as_released"),
            "sweep_background",
        ),
    },
    "cocu eval demo": {
        "Input": ("classes", "short_side"),
        "Rules": ("background", "templates"),
        "Model": ("tokenizer", "trust_remote_code"),
    },
    "cocu data miniature": {"Pictures": ("pairs", "seed", "size", "split")},
}
TITLES = (
    *("Arguments", "Input", "Model", "Pictures", "Retrieval", "Ranking", "Weights", "Measure", "Rules", "Output"),
    *("Anchors", "Server", "Machine", "Run", "Commands", "Options"),
)


def panel(path: str, option: str) -> str:
    """Where the help of a command, `cocu curate run` for instance, shows an option."""
    for panels in (OF_COMMANDS.get(path, {}), PANELS):
        for title, options in panels.items():
            if option in options:
                return title
    return "Options"
