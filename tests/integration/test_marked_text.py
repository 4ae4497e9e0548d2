"""Text files that people write by hand are the same with the mark that editors on Windows put before UTF-8."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.concepts.lexicon import Lexicon
from curation.concepts.listed import read_vocabulary
from curation.recovery.truth import read_synonyms, read_truth
from data_cards.cards import FOLDER, card_text, read_card
from data_cards.layouts.benchmark import open_benchmark
from tests.data_cards.benchmark_trees import grey, picture
from training.recipes import recipe_file
from training.recipes.recipe_file import load_recipe

RECIPE = Path(recipe_file.__file__).with_name("miniature_cocu.yaml")


def keys_of_a_list(path: Path) -> list[str]:
    card = read_card("voc2012").model_copy(update={"top": None, "keys": path.name})
    for key in ("a", "b"):
        picture(path.parent / f"JPEGImages/{key}.jpg", 1, 2)
        grey(path.parent / f"SegmentationClass/{key}.png", np.array([[0, 1]]))
    return list(open_benchmark(card, path.parent).keys)


READ: dict[str, tuple[str, str, Callable[[Path], Any]]] = {
    "a card": (
        "card.md",
        (FOLDER / "miniature.md").read_text("utf-8"),
        lambda path: (read_card(path), card_text(path)),
    ),
    "a list of keys": ("val.txt", "a\nb\n", keys_of_a_list),
    "a recipe": ("recipe.yaml", RECIPE.read_text("utf-8"), lambda path: load_recipe(str(path), [])),
    "synonyms": ("words.json", json.dumps({"dog": ["dog", "café"]}, ensure_ascii=False), read_synonyms),
    "truth": ("truth.jsonl", '{"key": "a", "object": "dog", "area": 0.5}\n', read_truth),
    "a vocabulary": ("words.txt", "dogs\ncafé\n", lambda path: read_vocabulary(str(path), Lexicon())),
}


@pytest.mark.parametrize("kind", READ)
def test_a_mark_before_the_text_is_no_part_of_it(tmp_path: Path, kind: str) -> None:
    name, text, read = READ[kind]
    path = tmp_path / name
    found = []
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_bytes(text.encode(encoding))
        found.append(repr(read(path)))
    assert found[0] == found[1]
