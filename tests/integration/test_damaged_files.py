"""Whatever happens to a file that is read: it is read all the same, or refused with its name, at once and in bounds.

The oracle for tars, which give all that is left of them, is in tests of its own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.speed.tiny_pairs import write_tar
from curation.index.inverted_lists import build
from curation.reading.pairs import CaptionOptions
from curation.reading.shards import find_shards, read_pairs
from curation.runs.parquet_parts import arrow_to_vectors, vectors_to_arrow
from evaluation.results.comparison import compare
from files.shard_note import ShardNote
from tests.examples import examples
from tests.integration.commands import World, cocu, make_table, succeed
from tests.integration.damage import CHANGES, Change, Reader, damaged
from tests.training.loader_world import members
from tests.training.parquet_world import SCHEMA, rows_of, write

PLACES = st.floats(0, 0.999)  # which of several files is damaged


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Reader() as found:
        yield found


class Damage:
    """Puts a damaged copy in the place of one of some files, for as long as it is looked at."""

    def __init__(self, files: list[Path]) -> None:
        self.whole = {path: path.read_bytes() for path in files}

    def done(self, place: float, changes: list[Change]) -> Path:
        for path, data in self.whole.items():
            path.write_bytes(data)
        path = [*self.whole][int(place * len(self.whole))]
        path.write_bytes(damaged(self.whole[path], changes))
        return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


# What is called in the process that reads.


def read_table(path: str) -> None:
    """All pairs of a table."""
    for shard in find_shards([path]):
        list(read_pairs(shard, CaptionOptions()))


def read_shard(path: str) -> None:
    """A Parquet shard, as training reads it."""
    from training.batches.check import check_data
    from training.shards.files import ShardFiles

    files = ShardFiles(check_data([path], "curated-cluster"))
    try:
        files.measure()
        files.hold(0)
        assert len(files.spans(0)) <= files.count()
        assert files.faults or len(files.spans(0)) == PAIRS
    finally:
        files.close()


def read_checkpoint(path: str) -> None:
    """A checkpoint, as the evaluator and a run that goes on read it."""
    from training.run.checkpoint import load_learner, load_state

    load_learner(Path(path))
    load_state(Path(path))


def search_index(path: str) -> None:
    """An index, opened and asked."""
    from curation.index.opened import index_captions, index_identity, index_nouns, index_shards, open_index
    from curation.index.search import read_captions

    index = open_index(Path(path))
    index_shards(index), index_captions(index), index_nouns(index), index_identity(index)
    _, rows = index.captions.search(np.ones((3, index.rows.dim), np.float32), 4)
    read_captions(index, sorted({int(row) for row in rows.ravel() if row >= 0}))


def compare_results(*paths: str) -> None:
    """Results, compared."""
    compare([Path(path) for path in paths])


HERE = "tests.integration.test_damaged_files"


@pytest.mark.timeout(900)
@examples(30)
@given(st.sampled_from(["recipe.yaml", "card.md"]), CHANGES)
def test_yaml(reader: Reader, folder: Path, root: Path, name: str, changes: list[Change]) -> None:
    source = {"recipe.yaml": "training/recipes/miniature_groupvit.yaml", "card.md": "data_cards/voc2012.md"}[name]
    read = {"recipe.yaml": "training.recipes.recipe_file.load_recipe", "card.md": "data_cards.cards.read_card"}[name]
    (folder / name).write_bytes(damaged((root / source).read_bytes(), changes))
    reader.check(folder / name, folder / "log", folder / name, reader=read)


TRUTH = [{"key": f"k{i % 7}", "object": f"thing {i % 5}", "area": i / 60} for i in range(40)]
SYNONYMS = {f"thing {i}": [f"thing {i}", "word " * i + "x", "é"] for i in range(20)}


@pytest.mark.timeout(900)
@examples(30)
@given(st.sampled_from(["synonyms.json", "truth.jsonl"]), CHANGES)
def test_json(reader: Reader, folder: Path, name: str, changes: list[Change]) -> None:
    data = json.dumps(SYNONYMS, indent=1) if name == "synonyms.json" else "\n".join(map(json.dumps, TRUTH))
    read = "read_synonyms" if name == "synonyms.json" else "read_truth"
    (folder / name).write_bytes(damaged(data.encode(), changes))
    reader.check(folder / name, folder / "log", folder / name, reader=f"curation.recovery.truth.{read}")


@pytest.mark.timeout(900)
@examples(30)
@given(PLACES, CHANGES)
def test_manifests(reader: Reader, manifests: Damage, folder: Path, place: float, changes: list[Change]) -> None:
    path = manifests.done(place, changes)
    if path.parent.name == "index":
        reader.check(path, folder / "log", path.parent, reader=f"{HERE}.search_index")
        reader.check(path, folder / "log", "index", "info", path.parent)
    elif path.parent.name == "curated":
        reader.check(path, folder / "log", "curate", "query", path.parent, "SELECT count(*) FROM archives")
        reader.check(path, folder / "log", "curate", "report", path.parent, "--out", folder / "report.html")
    else:
        reader.check(path, folder / "log", folder / "a", folder / "b", reader=f"{HERE}.compare_results")


@pytest.fixture(scope="module")
def manifests(folder: Path, index: Path, curated: Path) -> Damage:
    copies = [shutil.copytree(source, folder / "m" / source.name) for source in (index, curated)]
    for name in "ab":
        one = {"name": "bench", "card_sha256": "0", "split": "val", "rules": {"best classes": None}}
        (folder / name / "bench").mkdir(parents=True)
        (folder / name / "results.json").write_text(json.dumps({"form": 1, "benchmarks": [one]}))
        counts = np.arange(36).reshape(4, 3, 3)
        np.savez_compressed(
            folder / name / "bench" / "counts.npz", keys=list("abcd"), classes=list("xyz"), counts=counts
        )
    return Damage(
        [*(copy / "manifest.json" for copy in copies), folder / "a" / "results.json", folder / "b" / "results.json"]
    )


@pytest.fixture(scope="module")
def checkpoint(folder: Path, curated: Path) -> Path:
    small = ["model.width=16", "model.layers=1", "model.text.width=16", "model.text.vocabulary=49408"]
    run = folder / "run"
    options = ["steps=2", "data.batch=4", "log_every=1", *small]
    succeed("train", "run", "miniature", *options, "--data", curated / "shards", "--out", run, "--no-tensorboard")
    return (run / "best").resolve()


@pytest.mark.timeout(900)
@examples(30)
@given(PLACES, CHANGES)
def test_checkpoints(reader: Reader, parts: Damage, folder: Path, place: float, changes: list[Change]) -> None:
    path = parts.done(place, changes)
    reader.check(path, folder / "log", path.parent, reader=f"{HERE}.read_checkpoint")


@pytest.fixture(scope="module")
def parts(checkpoint: Path) -> Damage:
    return Damage([checkpoint / name for name in ("trainer.pt", "config.yaml", "model.safetensors")])


@pytest.fixture(scope="module")
def arrays(folder: Path, index: Path) -> Damage:
    copy = shutil.copytree(index, folder / "arrays" / "index")
    return Damage(sorted((copy / "rows").glob("*.npy")))


def curated_again(reader: Reader, path: Path, index: Path, folder: Path) -> None:
    out = folder / "out"
    reader.check(path, folder / "log", "curate", "run", index, "--out", out, "--neighbours", 4)
    shutil.rmtree(out, ignore_errors=True)


@pytest.mark.timeout(900)
@examples(30)
@given(PLACES, CHANGES)
def test_npy(reader: Reader, arrays: Damage, folder: Path, place: float, changes: list[Change]) -> None:
    path = arrays.done(place, changes)
    curated_again(reader, path, path.parent.parent, folder)


@pytest.fixture(scope="module")
def neighbours(folder: Path, index: Path) -> Damage:
    """The flat indexes, and an index of lists and codes beside them."""
    copies = [shutil.copytree(index, folder / name / "index") for name in ("flat", "lists")]
    vectors = np.load(copies[1] / "rows" / "text_vectors.npy")
    build(copies[1] / "captions.faiss", vectors, "IVF4,SQ8")
    return Damage([copy / f"{name}.faiss" for copy in copies for name in ("captions", "images")])


@pytest.mark.timeout(900)
@examples(30)
@given(PLACES, CHANGES)
def test_faiss(reader: Reader, neighbours: Damage, folder: Path, place: float, changes: list[Change]) -> None:
    path = neighbours.done(place, changes)
    curated_again(reader, path, path.parent, folder)


@pytest.fixture(scope="module")
def parquet(folder: Path, index: Path, curated: Path) -> Damage:
    copies = [shutil.copytree(source, folder / "p" / source.name) for source in (index, curated)]
    pq.write_table(pa.Table.from_pylist(TRUTH), folder / "truth.parquet")
    files = [path for copy in copies for path in sorted(copy.rglob("*.parquet"))]
    return Damage([*files, folder / "truth.parquet"])


@pytest.mark.timeout(900)
@examples(30)
@given(PLACES, CHANGES)
def test_parquet(reader: Reader, parquet: Damage, folder: Path, place: float, changes: list[Change]) -> None:
    path = parquet.done(place, changes)
    if path.name == "truth.parquet":
        reader.check(path, folder / "log", path, reader="curation.recovery.truth.read_truth")
    elif "curated" in path.parts[len(folder.parts) :]:
        curated = folder / "p" / "curated"
        sql = "SELECT * FROM pairs, archives, concepts, rejects WHERE pairs.key = archives.key LIMIT 50"
        reader.check(path, folder / "log", "curate", "query", curated, sql)
        reader.check(path, folder / "log", "curate", "report", curated, "--out", folder / "report.html")
    else:
        curated_again(reader, path, folder / "p" / "index", folder)


@pytest.mark.timeout(900)
@examples(30)
@given(st.sampled_from(["noted", "plain"]), CHANGES)
def test_parquet_of_training(
    reader: Reader, trained_on: dict[str, bytes], folder: Path, name: str, changes: list[Change]
) -> None:
    path = folder / "shard.parquet"
    path.write_bytes(damaged(trained_on[name], changes))
    reader.check(path, folder / "log", path, reader=f"{HERE}.read_shard")


PAIRS = 18


@pytest.fixture(scope="module")
def trained_on(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A shard, with what curation notes of it and without."""
    place = tmp_path_factory.mktemp("shard")
    rows = rows_of(write_tar(place / "0.tar", [one for i in range(PAIRS) for one in members(f"{i:03d}", i)]))
    noted = pa.Table.from_pylist(rows, SCHEMA)
    with pq.ParquetWriter(place / "noted.parquet", SCHEMA) as writer:
        writer.write_table(noted, row_group_size=5)
        writer.add_key_value_metadata(ShardNote("image", "caption", PAIRS, PAIRS, 4096, {"3": "a"}).metadata())
    return {"plain": write(place / "0.parquet", rows).read_bytes(), "noted": (place / "noted.parquet").read_bytes()}


@pytest.mark.parametrize("part", ["rows/text_vectors.npy", "rows/image_vectors.npy"])
def test_numbers_of_an_index_that_are_none_end_a_curation(index: Path, tmp_path: Path, part: str) -> None:
    path = shutil.copytree(index, tmp_path / "index") / part
    vectors = np.load(path)
    vectors[-1, 2] = np.nan
    np.save(path, vectors)
    answer = cocu("curate", "run", tmp_path / "index", "--out", tmp_path / "out", "--neighbours", 4)
    assert answer.code == 1
    assert f"{path}: broken (" in answer.err
    assert "no number" in answer.err


def test_a_curation_takes_vectors_of_the_index_from_its_rows_alone(index: Path, tmp_path: Path) -> None:
    """So that another copy of them, in the embeddings, may be damaged: nothing comes of it."""
    path = shutil.copytree(index, tmp_path / "index") / "embeddings" / "00001.parquet"
    table = pq.read_table(path)
    vectors = arrow_to_vectors(table["image_vec"].combine_chunks()).copy()
    vectors[-1, 2] = np.inf
    place = table.schema.get_field_index("image_vec")
    pq.write_table(table.set_column(place, "image_vec", vectors_to_arrow(vectors)), path)
    found = []
    for whole, out in ((index, tmp_path / "whole"), (tmp_path / "index", tmp_path / "out")):
        assert cocu("curate", "run", whole, "--out", out, "--neighbours", 4, "--output", "tables").code == 0
        found.append([pq.read_table(file) for file in sorted((out / "tables").rglob("*.parquet"))])
    assert found[0] == found[1]


@pytest.fixture(scope="module")
def tables(folder: Path, world: World) -> dict[str, bytes]:
    made = make_table(folder / "tables")
    csv = made.read_bytes()
    rows = [dict(zip(("image", "caption"), line.split(","), strict=False)) for line in csv.decode().split("\n")[1:-1]]
    pq.write_table(pa.Table.from_pylist(rows), made.with_suffix(".parquet"))
    written = {
        "t.csv": csv,
        "t.tsv": csv.replace(b",", b"\t"),
        "t.jsonl": b"\n".join(json.dumps(row).encode() for row in rows),
        "t.parquet": made.with_suffix(".parquet").read_bytes(),
    }
    for path in folder.glob("tables/captions.*"):
        path.unlink()
    return written


@pytest.mark.timeout(900)
@examples(30)
@given(st.sampled_from(["t.csv", "t.tsv", "t.jsonl", "t.parquet"]), CHANGES)
def test_tables(reader: Reader, tables: dict[str, bytes], folder: Path, name: str, changes: list[Change]) -> None:
    path = folder / "tables" / name
    path.write_bytes(damaged(tables[name], changes))
    reader.check(path, folder / "log", path, reader=f"{HERE}.read_table")
    path.unlink()
