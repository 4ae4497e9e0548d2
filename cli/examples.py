"""Examples under the help of commands: lines of at most 74 letters, and what they do. Tests run those of a curation."""

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "cocu": (
        ("cocu index build 'shards/*.tar' --out runs/index", "Embed pairs and collect what captions name:"),
        ("cocu curate run runs/index --out runs/curated", "Find what captions leave out; write curated shards:"),
    ),
    "cocu index build": (
        ("cocu index build 'shards/*.tar' --out runs/index", "WebDataset shards, with OpenAI's ViT-B/16:"),
        (
            "cocu index build photos.csv --image-column file --out runs/index",
            "A table of captions and paths of pictures:",
        ),
    ),
    "cocu index add": (
        ("cocu index add runs/index 'more/*.tar'", "Shards that have come since:"),
        ("cocu index add runs/index --extra-captions captions.csv", "Captions without pictures:"),
    ),
    "cocu index merge": (
        ("cocu index merge runs/a runs/b --out runs/index", "Two indexes that were built alike:"),
        ("cocu index merge runs/part-* --out runs/index --device cpu", "All that a pattern names, without a GPU:"),
    ),
    "cocu index info": (
        ("cocu index info runs/index", "What it holds:"),
        ("cocu index info runs/index | grep concepts", "One line of it:"),
    ),
    "cocu index search": (
        ('cocu index search runs/index "a dog on the beach"', "By words:"),
        ("cocu index search runs/index --image photo.jpg --top 3", "By a picture:"),
    ),
    "cocu curate run": (
        ("cocu curate run runs/index --out runs/curated", "All indexed pairs, by the default preset:"),
        (
            "cocu curate run runs/index --out runs/new --anchors 'new/*.tar'",
            "Other pairs, by what the index knows:",
        ),
    ),
    "cocu curate score": (
        (
            "cocu curate score runs/curated \\\n      --truth pairs/truth.parquet --synonyms pairs/synonyms.json",
            "By a truth, such as `cocu data miniature` writes:",
        ),
        ("cocu curate score runs/curated --judged judged.sqlite", "By what people judged in `cocu explore`:"),
    ),
    "cocu curate balance": (
        ("cocu curate balance runs/curated --out weights.parquet", "A weight for every pair, for training:"),
        ("cocu curate balance runs/curated --out runs/subset --cap 1000", "The shards of a subset:"),
    ),
    "cocu curate query": (
        (
            'cocu curate query runs/curated "SELECT key, caption FROM pairs LIMIT 5"',
            "Five captions:",
        ),
        (
            'cocu curate query runs/curated "SELECT * FROM archives" --out archives.csv',
            "All concepts of all pairs, as CSV:",
        ),
    ),
    "cocu curate show": (
        ("cocu curate show runs/curated 000000000", "One pair, in the terminal:"),
        ("cocu curate show runs/curated 000000000 000000001 --out pairs.html", "Two, with their pictures:"),
    ),
    "cocu curate report": (
        ("cocu curate report runs/curated --out report.html", "A page to look at and to mail:"),
        ("cocu curate report runs/curated --out report.html --sample 12", "With fewer pictures:"),
    ),
    "cocu curate export": (
        ("cocu curate export runs/curated --atlas atlas.parquet", "A map for Embedding Atlas:"),
        ("cocu curate export runs/curated --truth truth.parquet --top 3", "Judged pairs as a truth:"),
    ),
    "cocu explore": (
        ("cocu explore runs/curated", "One curation:"),
        ("cocu explore runs/curated runs/paper --port 8500", "Two of the same pairs, compared:"),
    ),
    "cocu train": (
        ("cocu train miniature --data runs/curated/shards --out runs/mini", "A built-in recipe:"),
        (
            "cocu train miniature --data runs/curated/shards --out runs/fast steps=100",
            "With a setting of the recipe changed:",
        ),
    ),
    "cocu train export": (
        ("cocu train export runs/mini/best --out runs/groupvit", "For `GroupViTModel.from_pretrained`:"),
        ("cocu train export runs/mini/checkpoints/step-100 --out runs/groupvit", "Of one checkpoint:"),
    ),
    "cocu eval": (
        ("cocu eval runs/mini/best --benchmark voc2012=VOCdevkit --out results/mini", "A model that was trained:"),
        (
            "cocu eval open_clip:ViT-B-16@openai --benchmark voc2012=VOCdevkit \\\n"
            "      --protocol clip --dense auto --out results/clip",
            "A CLIP as it is:",
        ),
    ),
    "cocu eval compare": (
        ("cocu eval compare results/mini results/clip", "Differences from the first, with intervals:"),
        ("cocu eval compare results/mini results/clip --out results/both", "And a chart of them:"),
    ),
    "cocu eval demo": (
        ('cocu eval demo runs/mini/best photo.jpg --classes "dog, grass, sky"', "Any words:"),
        (
            'cocu eval demo miniature photo.jpg --classes "dog, grass" --background 0.5',
            "What is neither, left out:",
        ),
    ),
    "cocu data miniature": (
        ("cocu data miniature --out pairs", "Ten thousand pairs:"),
        ("cocu data miniature --split val --pairs 200 --out val", "Pictures with masks, to measure by:"),
    ),
    "cocu data cards": (
        ("cocu data cards", "All of them:"),
        ("cocu data cards | grep -i pascal", "Those of a name:"),
    ),
    "cocu data card": (
        ("cocu data card voc2012", "A built-in one:"),
        ("cocu data card my_card.md", "Your own:"),
    ),
    "cocu data check": (
        ("cocu data check voc2012=VOCdevkit", "Fifty pictures of the card's split:"),
        ("cocu data check voc2012=VOCdevkit --split train --sample 500", "Another split, more pictures:"),
    ),
    "cocu doctor": (
        ("cocu doctor", "What this machine has:"),
        ("cocu doctor | grep -v ^ok", "What is missing, alone:"),
    ),
}
