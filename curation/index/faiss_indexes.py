"""Each of the two FAISS indexes of an index: built, or grown, and tuned to the recall that is asked for."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from curation.index.caption_rows import CaptionRows
from curation.index.inverted_lists import extend
from curation.index.list_files import build_by_lists
from curation.index.neighbours import NearestRows, Recall, SearchSettings, index_bytes, tune, tune_deeper
from curation.index.opened import Index
from curation.runs.progress import size_text
from curation.runs.run_folder import RunFolder
from files.errors import CocuError
from files.machine import give_back
from files.npy import wide_rows
from files.saying import say

RECALL_SEED = 0
RECALL_QUERIES = 1_000
# Lists that were trained on fewer rows than one in so many are trained anew; those of other rows are searched longer.
MOST_GROWTH = 1.5


def build_one(
    folder: RunFolder,
    name: str,
    vectors: np.ndarray,
    rows: CaptionRows,
    factory: str,
    min_recall: float,
    memory: int,
    grown_from: Index | None = None,
    anew: bool = False,
) -> dict[str, Any]:
    """One FAISS index: built, its search settings tuned to the recall asked for, and reported.

    memory: bytes that it may take, told where they are too few. Grown from another it is extended where that may do
    (`_extended`), and built anew where its recall then falls short.
    """
    path = folder.path / f"{name}.faiss"
    step = f"@{name}"
    if not (folder.done(step) and folder.records[step].get("factory") == factory and path.exists()):
        trained = 0 if anew or not grown_from else _extended(path, name, factory, vectors, rows, grown_from)
        if not trained:
            size = size_text(index_bytes(factory, *vectors.shape))
            say(f"{name}.faiss: {len(vectors):,} vectors of {vectors.shape[1]}, factory {factory}, about {size}")
            build_by_lists(folder, name, vectors, factory)
        folder.commit(step, {"factory": factory} | ({"trained": trained} if trained else {}))
    give_back()  # thousands of lists
    fewer = {name: value for name, value in folder.records[step].items() if name == "trained"}
    nearest = NearestRows(path, vectors, SearchSettings())
    queries = _recall_queries(name, rows)
    settings, reached = tune(nearest, queries, min_recall)

    def told(settings: SearchSettings, reached: Recall) -> str:
        return (
            f"recall@{reached.k} {reached.value:.4f} against exact search on {reached.queries:,} queries"
            + (f", {settings.nprobe} of {nearest.lists} lists probed" if settings.nprobe else "")
            + (f", {settings.rerank}x re-ranked" if settings.rerank > 1 else "")
            + (f"; that is under --min-recall {min_recall}" if reached.value < min_recall else "")
        )

    say(f"{name}.faiss: {size_text(path.stat().st_size)}; {told(settings, reached)}")
    if reached.value < min_recall:
        if fewer:
            folder.undo(step)
            return build_one(folder, name, vectors, rows, factory, min_recall, memory, grown_from, anew=True)
        raise CocuError(
            f"{path}: recall@{reached.k} is {reached.value:.4f}, under --min-recall {min_recall}; "
            + (
                "an index grows by the options that it was built with: build another one of all its inputs, with "
                if grown_from
                else "run the same command with "
            )
            + f"more --memory (now {size_text(memory)} for this index), another --factory (now {factory}), or a lower "
            "--min-recall: the embeddings are kept"
        )
    deeper = tune_deeper(nearest, queries, min_recall)
    give_back()
    for deep in deeper:
        say(f"{name}.faiss: {told(*deep)}")
    return {
        "factory": factory,
        "vectors": len(vectors),
        **fewer,
        "bytes": path.stat().st_size,
        "settings": asdict(settings),
        "recall": reached.value,
        "recall_k": reached.k,
        "recall_queries": reached.queries,
        "deeper": [{"k": at.k, **asdict(chosen), "recall": at.value} for chosen, at in deeper],
    }


def _extended(path: Path, name: str, factory: str, vectors: np.ndarray, rows: CaptionRows, grown_from: Index) -> int:
    """Write the index of before with the new rows in it; how many rows its lists were trained on, 0 where it must be
    built anew: of another factory, without lists, or grown to over `MOST_GROWTH` of what it was trained on."""
    built, before = grown_from.manifest["indexes"].get(name), grown_from.rows
    if built is None or built["factory"] != factory:
        return 0
    trained = int(built.get("trained", built["vectors"]))
    # Rows of captions without pictures have moved on by as many as there are new pairs.
    new = [(before.images, rows.images), (rows.images + len(before) - before.images, len(vectors))]
    if len(vectors) > MOST_GROWTH * trained or not extend(path, grown_from.path / f"{name}.faiss", vectors, new):
        return 0
    say(f"{name}.faiss: {len(vectors) - built['vectors']:,} vectors added to lists trained on {trained:,}")
    return trained


def _recall_queries(name: str, rows: CaptionRows) -> np.ndarray:
    """Queries as curation makes them: pictures against pictures; pictures and captions, half each, against captions."""
    rng = np.random.default_rng(RECALL_SEED)

    def sample(vectors: np.ndarray, count: int) -> np.ndarray:
        chosen = np.sort(rng.choice(len(vectors), min(count, len(vectors)), replace=False))
        return wide_rows(vectors, chosen)

    if name == "images":
        return sample(rows.image_vectors, RECALL_QUERIES)
    from_images = sample(rows.image_vectors, RECALL_QUERIES // 2)
    return np.concatenate([from_images, sample(rows.text_vectors, RECALL_QUERIES - len(from_images))])
