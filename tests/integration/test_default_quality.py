"""What the default has to recover of a world whose content is known, whether its encoder knows the pictures or not.

The goals are older than the default. Noise is put on the pictures' vectors, and all that is fitted is fitted anew.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from curation.index.caption_rows import read_rows, write_rows
from curation.index.inverted_lists import build
from curation.index.vocabulary import read_vocabulary_table
from curation.ranking import fitted
from curation.ranking.evidence import WEIGHTS, fit_picture_weight
from curation.recovery.scorecard import score_folder
from curation.runs.parquet_parts import arrow_to_vectors, vectors_to_arrow
from tests.integration.commands import succeed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
PAIRS, SEED = 3_000, 23  # no seed that anything was chosen on
AT = 5


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    succeed("data", "miniature", "--out", folder / "pairs", "--pairs", PAIRS, "--seed", SEED)
    succeed("index", "build", folder / "pairs", "--model", "miniature", "--out", folder / "index-0")
    return folder


def noisy(world: Path, norm: float) -> Path:
    """The index with noise of this norm added to each picture's unit vector."""
    source, target = world / "index-0", world / f"index-{norm:g}"
    if target.exists():
        return target
    shutil.copytree(source, target)
    rng = np.random.default_rng(0)
    for file in sorted((target / "embeddings").glob("*.parquet")):
        table = pq.read_table(file)
        vectors = arrow_to_vectors(table["image_vec"].combine_chunks()).astype(np.float32)
        noise = rng.standard_normal(vectors.shape)
        vectors = vectors + norm * noise / np.linalg.norm(noise, axis=1, keepdims=True)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        column = table.schema.get_field_index("image_vec")
        pq.write_table(
            table.set_column(column, table.schema.field(column), vectors_to_arrow(vectors.astype(np.float16))), file
        )
    manifest = json.loads((target / "manifest.json").read_text())
    shutil.rmtree(target / "rows")
    shutil.rmtree(target / "fits")
    files = [target / "embeddings" / f"{name}.parquet" for name in manifest["order"]]
    write_rows(target / "rows", files, manifest["summary"]["pairs"], read_vocabulary_table(target / "concepts.parquet"))
    build(target / "images.faiss", read_rows(target / "rows").image_vectors, "Flat")
    return target


def found(world: Path, index: Path, name: str) -> tuple[float, float]:
    """Recall and precision of a curation by default."""
    out = world / name
    succeed("curate", "run", index, "--out", out)
    card = score_folder(out, world / "pairs" / "truth.parquet", world / "pairs" / "synonyms.json", ks=(AT,))
    shutil.rmtree(out)
    curated = card.scores["curated"]
    return curated.recall[0].value, curated.precision[0].value


def test_an_encoder_that_knows_the_pictures(world: Path) -> None:
    recall, precision = found(world, world / "index-0", "out")
    assert recall >= 0.80
    assert precision >= 0.70


@pytest.mark.parametrize("norm", [0.5, 1, 2])
def test_noise_costs_no_more_than_it_must(world: Path, norm: float, monkeypatch: pytest.MonkeyPatch) -> None:
    index = noisy(world, norm)
    chosen, _ = found(world, index, f"chosen-{norm:g}")
    others = []
    for weight in WEIGHTS[::2]:

        def fixed(*arguments: Any, weight: float = weight) -> Any:
            return replace(fit_picture_weight(*arguments), weight=weight)

        monkeypatch.setattr(fitted, "fit_picture_weight", fixed)
        shutil.rmtree(index / "fits")  # what is kept is of the code, not of what a test puts in its place
        others.append(found(world, index, f"weight-{norm:g}-{weight:g}")[0])
    assert chosen >= max(others) - 0.05, (chosen, others)
