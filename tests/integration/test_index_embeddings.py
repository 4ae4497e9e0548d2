"""`cocu index build --embeddings`: vectors that are there give the index that the encoder itself would give."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import cocu as face
from curation.index import given_vectors
from tests.integration.commands import SHARDS, World, cocu, digests, make_world, manifest, succeed

OPTIONS = ("--min-count", 1, "--min-recall", 0, "--workers", 1)
PARTS = ("concepts.parquet", "rows", "images.faiss", "captions.faiss")
Columns = dict[str, list[Any]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("embeddings"))


@pytest.fixture(scope="module")
def index(world: World) -> Path:
    world.build(world.folder / "index", *OPTIONS)
    return world.folder / "index"


def parts_of(index: Path) -> Iterator[tuple[Columns, np.ndarray, np.ndarray]]:
    """(keys and captions, vectors of pictures, of captions) of each shard of an index."""
    for name in SHARDS:
        table = pq.read_table(index / "embeddings" / f"{name}.parquet")
        images, texts = (np.stack(table[column].to_numpy()) for column in ("image_vec", "text_vec"))
        yield {"key": table["key"].to_pylist(), "caption": table["caption"].to_pylist()}, images, texts


def as_clip_retrieval(index: Path, out: Path, change: Callable[..., Any] = lambda *given: given) -> Path:
    for folder in ("img_emb", "text_emb", "metadata"):
        (out / folder).mkdir(parents=True)
    for number, part in enumerate(parts_of(index)):
        rows, images, texts = change(*part)
        np.save(out / "img_emb" / f"img_emb_{number}.npy", images)
        np.save(out / "text_emb" / f"text_emb_{number}.npy", texts)
        pq.write_table(pa.table(rows), out / "metadata" / f"metadata_{number}.parquet")
    return out


def as_datacomp(index: Path, out: Path, save: Callable[..., None]) -> Path:
    out.mkdir()
    for number, (rows, images, texts) in enumerate(parts_of(index)):
        other = np.zeros((len(images), 7), np.float16)
        arrays = {"b32_img": images, "b32_txt": texts, "l14_img": other, "l14_txt": other, "dedup": other}
        save(out / f"{number:08x}.npz", **arrays)
        named = {"uid": rows["key"], "text": rows["caption"], "url": rows["key"]}
        pq.write_table(pa.table(named), out / f"{number:08x}.parquet")
    return out


@pytest.fixture(scope="module")
def folder(index: Path, world: World) -> Path:
    return as_clip_retrieval(index, world.folder / "clip-retrieval")


def given(world: World, folder: Path, out: Path, *more: object) -> tuple[object, ...]:
    return ("index", "build", "--embeddings", folder, "--model", world.model, "--out", out, *OPTIONS, *more)


def test_a_trial_counts_their_rows(world: World, folder: Path, tmp_path: Path) -> None:
    said = succeed(*given(world, folder, tmp_path / "index", "--dry-run")).out
    assert "reads   2 tables, " in said
    assert "pairs   about 60, by 60 that were read (0 of them rejects)" in said
    assert not list(tmp_path.iterdir())


def test_clip_retrievals_layout_gives_the_same_index(world: World, index: Path, folder: Path, tmp_path: Path) -> None:
    answer = succeed(*given(world, folder, tmp_path / "index"))
    assert digests(tmp_path / "index", *PARTS) == digests(index, *PARTS)
    assert "made by that model: median cosine 1.000 of 16 captions; not checked: pictures" in answer.err
    assert "60 from" in answer.out
    named = ("--model", world.model)
    found = [succeed("index", "search", one, "a dog on grass", *named).out for one in (index, tmp_path / "index")]
    assert [line.split()[0] for line in found[0].splitlines()] == [line.split()[0] for line in found[1].splitlines()]
    assert [line.split()[2:] for line in found[0].splitlines()] == [line.split()[2:] for line in found[1].splitlines()]
    again = succeed(*given(world, folder, tmp_path / "index"))
    assert "already finished" in again.err
    refused = cocu(*given(world, world.folder / "elsewhere", tmp_path / "index"))
    assert (refused.code, "no such folder" in refused.err) == (2, True)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_datacomps_layout_gives_the_same_index(
    world: World, index: Path, tmp_path: Path, save: Callable[..., None]
) -> None:
    made = as_datacomp(index, tmp_path / "datacomp", save)
    succeed(*given(world, made, tmp_path / "index"))
    assert digests(tmp_path / "index", *PARTS) == digests(index, *PARTS)


def test_tables_are_curated_of_it_and_nothing_that_needs_pictures(
    world: World, index: Path, folder: Path, tmp_path: Path
) -> None:
    succeed(*given(world, folder, tmp_path / "index"))
    answer = succeed("curate", "run", tmp_path / "index", "--out", tmp_path / "curated")
    assert "was built from embeddings alone" in answer.err
    assert not (tmp_path / "curated" / "shards").exists()
    succeed("curate", "run", index, "--out", tmp_path / "whole", "--output", "tables")

    def archives(of: Path) -> list[dict[str, Any]]:
        tables = [pq.read_table(path) for path in sorted((of / "tables" / "archives").glob("*.parquet"))]
        return [row | {"shard": ""} for table in tables for row in table.to_pylist()]

    assert archives(tmp_path / "curated") == archives(tmp_path / "whole")
    for option in (("--localise",), ("--output", "sidecar"), ("--write-caption", "caption")):
        refused = cocu("curate", "run", tmp_path / "index", "--out", tmp_path / "other", *option)
        assert (refused.code, f"there is no {option[0]}" in refused.err) == (2, True)
    key = f"{SHARDS[0]}0003"
    assert key in succeed("curate", "show", tmp_path / "curated", key).out
    succeed("curate", "report", tmp_path / "curated", "--out", tmp_path / "report.html")


def test_beside_shards_pairs_find_their_vectors_by_key(world: World, index: Path, tmp_path: Path) -> None:
    """Vectors in another order, of other pairs too, some of pairs that are no longer there, some of other captions."""

    def change(rows: Columns, images: np.ndarray, texts: np.ndarray) -> tuple[Columns, np.ndarray, np.ndarray]:
        order = np.random.default_rng(0).permutation(len(images))[2:]
        keys = [rows["key"][i] for i in order[:-2]] + ["another", "other"]
        captions = [rows["caption"][i] for i in order]
        captions[0], texts[order[0]] = "something else", texts[order[1]]
        return {"key": keys, "caption": captions}, images[order], texts[order]

    made = as_clip_retrieval(index, tmp_path / "made", change)
    answer = succeed("index", "build", world.shards, *given(world, made, tmp_path / "index")[2:], "--max-rejects", 0.5)
    assert "of 16 pictures" in answer.err
    summary = manifest(tmp_path / "index")["summary"]
    assert (summary["pairs"], summary["embeddings"], summary["unused_embeddings"]) == (52, 56, 4)
    assert summary["rejects"] == {"no embedding": 8}
    assert "4 of them unused, of no pair of the shards" in answer.out


def test_datacomps_uids_are_looked_up_beside_the_shards(world: World, index: Path, tmp_path: Path) -> None:
    made = as_datacomp(index, tmp_path / "datacomp", np.savez)
    shards = tmp_path / "shards"
    shutil.copytree(world.shards, shards)
    for name, path in zip(SHARDS, sorted(made.glob("*.parquet")), strict=True):
        table = pq.read_table(path)
        keys, uids = table["uid"].to_pylist(), [f"{name}-{i:032x}" for i in range(len(table))]
        pq.write_table(table.set_column(0, "uid", pa.array(uids)), path)
        pq.write_table(pa.table({"key": keys, "uid": uids}), shards / f"{name}.parquet")
    answer = succeed("index", "build", f"{shards}/*.tar", *given(world, made, tmp_path / "index")[2:])
    assert "1.000 of 16 captions, 1.000 of 16 pictures" in answer.err
    assert digests(tmp_path / "index", *PARTS) == digests(index, *PARTS)


@pytest.fixture
def shifted(index: Path, tmp_path: Path) -> Path:
    """Keys that stand beside the vectors of other pairs."""

    def change(rows: Columns, images: np.ndarray, texts: np.ndarray) -> tuple[Columns, np.ndarray, np.ndarray]:
        return rows, np.roll(images, 1, 0) * np.random.default_rng(0).choice([-1, 1], images.shape), texts

    return as_clip_retrieval(index, tmp_path / "shifted", change)


def test_another_models_vectors_are_refused_with_both_figures(world: World, shifted: Path, tmp_path: Path) -> None:
    answer = cocu("index", "build", world.shards, *given(world, shifted, tmp_path / "index")[2:])
    assert answer.code == 2
    assert "another model made them" in answer.err
    assert "1.000 of 16 captions" in answer.err
    assert "of 16 pictures, at least 0.99 is needed" in answer.err
    assert not list((tmp_path / "index").rglob("embeddings/*"))


def test_any_length_kind_of_number_and_what_is_no_vector(world: World, index: Path, tmp_path: Path) -> None:
    def change(rows: Columns, images: np.ndarray, texts: np.ndarray) -> tuple[Columns, np.ndarray, np.ndarray]:
        images, texts = images.astype(np.float32) * 31, texts.astype(np.float64) / 7
        images[3], images[4], texts[5] = np.nan, 0, np.inf
        return rows, images, texts

    made = as_clip_retrieval(index, tmp_path / "made", change)
    answer = succeed(*given(world, made, tmp_path / "index"))
    assert manifest(tmp_path / "index")["summary"]["rejects"] == {"no vector": 6}
    assert "6 of them unused, of rejects" in answer.out
    for number, (before, _, _) in enumerate(parts_of(index)):
        after = pq.read_table(tmp_path / "index" / "embeddings" / f"metadata_{number}.parquet")
        assert after["key"].to_pylist() == [key for i, key in enumerate(before["key"]) if i not in (3, 4, 5)]
        found = np.stack(after["image_vec"].to_numpy()).astype(np.float32)
        whole = np.delete([part[1] for part in parts_of(index)][number], (3, 4, 5), 0)
        np.testing.assert_allclose(found, whole.astype(np.float32), atol=1e-3)


def test_captions_without_vectors_are_embedded(world: World, index: Path, folder: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    shutil.copytree(folder, made)
    (made / "text_emb" / "text_emb_1.npy").unlink()
    succeed(*given(world, made, tmp_path / "index"))
    assert digests(tmp_path / "index", *PARTS) == digests(index, *PARTS)
    shutil.rmtree(made / "text_emb")
    answer = succeed(*given(world, made, tmp_path / "bare"))
    assert "taken for made by that model; not checked: captions and pictures" in answer.err
    assert digests(tmp_path / "bare", *PARTS) == digests(index, *PARTS)


def test_a_build_that_was_interrupted_goes_on(
    world: World, index: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = given_vectors.embed_given

    def only_the_first(given: Any, shard: Any, *rest: Any) -> Any:
        if not shard.name.endswith("_0"):
            raise KeyboardInterrupt
        return whole(given, shard, *rest)

    monkeypatch.setattr(given_vectors, "embed_given", only_the_first)
    assert cocu(*given(world, folder, tmp_path / "index")).code == 130
    monkeypatch.setattr(given_vectors, "embed_given", whole)
    answer = succeed(*given(world, folder, tmp_path / "index"))
    assert "1 of 2 shards are done already" in answer.err
    assert digests(tmp_path / "index", *PARTS) == digests(index, *PARTS)


def test_indexes_of_two_folders_are_merged(world: World, index: Path, folder: Path, tmp_path: Path) -> None:
    halves = [tmp_path / "first", tmp_path / "second"]
    for number, half in enumerate(halves):
        for name in ("img_emb", "text_emb", "metadata"):
            (half / name).mkdir(parents=True)
            (path,) = (folder / name).glob(f"*_{number}.*")
            shutil.copy(path, half / name)
        succeed(*given(world, half, tmp_path / f"index {number}"))
    named = ("--model", world.model)
    made = [tmp_path / f"index {number}" for number in (0, 1)]
    succeed("index", "merge", *made, "--out", tmp_path / "index", *named)
    assert digests(tmp_path / "index", *PARTS) == digests(index, *PARTS)
    refused = cocu("index", "merge", index, made[1], "--out", tmp_path / "other", *named)
    assert (refused.code, "embeddings" in refused.err) == (2, True)


def test_an_index_of_vectors_grows_by_vectors(world: World, index: Path, folder: Path, tmp_path: Path) -> None:
    halves = [tmp_path / "first", tmp_path / "second"]
    for number, half in enumerate(halves):
        for name in ("img_emb", "text_emb", "metadata"):
            (half / name).mkdir(parents=True)
            (path,) = (folder / name).glob(f"*_{number}.*")
            shutil.copy(path, half / name)
    made, named = tmp_path / "index", ("--model", world.model)
    succeed(*given(world, halves[0], made))
    add = ("index", "add", made, *named)
    for more in ((world.shards,), (world.shards, "--embeddings", halves[1])):
        refused = cocu(*add, *more)
        assert (refused.code, "in the same way" in refused.err) == (2, True)
    refused = cocu("index", "add", index, "--embeddings", halves[1], *named)
    assert (refused.code, "built without --embeddings" in refused.err) == (2, True)
    succeed(*add, "--embeddings", halves[1])
    assert digests(made, *PARTS) == digests(index, *PARTS)
    grown = face.open_index(made).manifest
    assert grown["parameters"]["embeddings"]["folder"] == f"{halves[0]}, {halves[1]}"
    assert (grown["summary"]["embeddings"], grown["summary"]["unused_embeddings"]) == (grown["summary"]["pairs"], 0)
    again = succeed(*add, "--embeddings", halves[0])
    assert "nothing is new" in again.err
    curated = tmp_path / "curated"
    succeed("curate", "run", made, "--out", curated)
    assert manifest(curated)["summary"]["pairs"] == grown["summary"]["pairs"]


def test_an_index_of_shards_with_vectors_grows_in_the_same_way(
    world: World, index: Path, folder: Path, tmp_path: Path
) -> None:
    first, second = (world.shards / f"{name}.tar" for name in SHARDS)
    beside, named = ("--embeddings", folder), ("--model", world.model)
    made = tmp_path / "index"
    succeed("index", "build", first, *beside, *named, "--out", made, *OPTIONS)
    refused = cocu("index", "add", made, second, *named)
    assert (refused.code, "in the same way" in refused.err) == (2, True)
    succeed("index", "add", made, second, *beside, *named)
    assert digests(made, *PARTS) == digests(index, *PARTS)


def test_what_does_not_fit_is_told_with_its_file(world: World, folder: Path, tmp_path: Path) -> None:
    def refused(change: Callable[[Path], object], code: int, said: str) -> None:
        made = tmp_path / "made"
        shutil.copytree(folder, made)
        change(made)
        answer = cocu(*given(world, made, tmp_path / "index"))
        assert (answer.code, said in answer.err.replace(f"{made}/", "")) == (code, True), answer.err
        shutil.rmtree(made)

    image = "img_emb/img_emb_1.npy"
    wide, short = np.ones((30, 33), np.float16), np.ones((29, 32), np.float16)
    refused(lambda made: np.save(made / image, wide), 2, f"{image}: holds no vectors of 32 dimensions")
    refused(lambda made: np.save(made / image, short), 1, f"{image}: holds 29 vectors, and")
    refused(lambda made: np.save(made / image, np.array([{}])), 1, f"{image}: cannot be read as vectors")
    refused(lambda made: (made / image).unlink(), 1, "there is no img_emb/*_1.npy")
    table = "metadata/metadata_1.parquet"
    refused(lambda made: (made / table).unlink(), 1, f"{image}: there is no")
    refused(lambda made: (made / table).write_bytes(b"PAR1"), 1, f"{table}: cannot be read as Parquet")
    refused(lambda made: pq.write_table(pa.table({"key": ["a"] * 30}), made / table), 2, "no caption column")
    refused(lambda made: shutil.rmtree(made / "img_emb"), 2, "holds neither img_emb/*.npy")
    answer = cocu("index", "build", "--model", world.model, "--out", tmp_path / "index")
    assert (answer.code, "no SHARDS" in answer.err) == (2, True)
