"""`cocu index build`, `info` and `search` as whole commands: every file by its contract, and what is printed."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.speed.tiny_pairs import caption, write_tar
from tests.integration.commands import (
    PAIRS,
    SHARDS,
    World,
    cocu,
    digests,
    make_table,
    manifest,
    succeed,
    vectors,
)
from tests.tiny_world import pair_members, picture


def test_every_file_is_there_and_no_other(index: Path) -> None:
    names = {str(path.relative_to(index)) for path in index.rglob("*") if path.is_file()}
    plain = {name for name in names if not name.startswith((".", "rows/", "fits/"))}
    embeddings = {f"embeddings/{name}.parquet" for name in (*SHARDS, "extra-00000")}
    assert plain == embeddings | {
        "manifest.json",
        "captions.faiss",
        "images.faiss",
        "concepts.parquet",
        "rejects.parquet",
    }


def test_embeddings(index: Path) -> None:
    vector = pa.list_(pa.float16(), 32)
    for s, name in enumerate(SHARDS):
        table = pq.read_table(index / "embeddings" / f"{name}.parquet")
        assert {"key", "caption", "concepts", "image_vec", "text_vec"} <= set(table.column_names)
        assert table.schema.field("image_vec").type == table.schema.field("text_vec").type == vector
        assert table["key"].to_pylist() == [f"{name}{i:04d}" for i in range(PAIRS)]
        assert table["caption"].to_pylist() == [caption(1000 * s + i) for i in range(PAIRS)]
        for column in ("image_vec", "text_vec"):
            np.testing.assert_allclose(np.linalg.norm(vectors(table, column), axis=1), 1, atol=2e-3)
    extra = pq.read_table(index / "embeddings" / "extra-00000.parquet")
    assert (len(extra), extra["image_vec"].null_count) == (31, 31)


def test_concepts(index: Path) -> None:
    table = pq.read_table(index / "concepts.parquet")
    assert table.column_names == ["concept_id", "concept", "count", "text_vec"]
    assert table["concept_id"].to_pylist() == list(range(len(table)))
    counts: dict[str, int] = {}
    for path in (index / "embeddings").iterdir():
        for named in pq.read_table(path)["concepts"].to_pylist():
            for concept in named:
                counts[concept] = counts.get(concept, 0) + 1
    expected = {concept: count for concept, count in counts.items() if count >= 2}
    assert dict(zip(table["concept"].to_pylist(), table["count"].to_pylist(), strict=True)) == expected
    assert table["count"].to_pylist() == sorted(table["count"].to_pylist(), reverse=True)


def test_faiss_files_hold_the_vectors_in_order(index: Path) -> None:
    tables = [pq.read_table(index / "embeddings" / f"{name}.parquet") for name in (*SHARDS, "extra-00000")]
    for name, column, used in (("images", "image_vec", tables[:2]), ("captions", "text_vec", tables)):
        found = faiss.read_index(str(index / f"{name}.faiss"))
        expected = np.concatenate([vectors(table, column) for table in used])
        assert found.metric_type == faiss.METRIC_INNER_PRODUCT
        assert found.ntotal == len(expected)
        np.testing.assert_allclose(found.reconstruct_n(0, found.ntotal), expected, atol=1e-3)


def test_manifest_and_rejects(index: Path, world: World) -> None:
    found = manifest(index)
    assert found["finished"] is True
    assert found["parameters"]["model"] == world.model
    assert [Path(item["url"]).name for item in found["inputs"]] == ["00000.tar", "00001.tar", "extra.parquet"]
    assert {"python", "cocu", "torch", "spacy"} <= set(found["versions"])
    assert found["summary"]["pairs"] == 2 * PAIRS
    assert found["summary"]["extra_captions"] == 31
    assert {
        "read",
        "concepts",
        "encode",
        "forward",
        "write",
        "vocabulary",
        "rows",
        "faiss",
        "encoder knowledge",
    } == set(found["summary"]["stage_seconds"])
    assert pq.read_table(index / "rejects.parquet").schema.names == ["shard", "key", "reason"]
    assert pq.read_table(index / "rejects.parquet").num_rows == 0


def test_the_summary_says_what_there_is(index: Path) -> None:
    out = succeed("index", "info", index).out
    assert "\x1b" not in out
    for words in (
        "60 in 2 shards",
        "31",
        "rejects         0",
        "each named by at least 2 captions",
        "32 dimensions",
        "en_core_web_sm",
        "60 vectors, Flat, 7.7 kB, recall@8 1.0000",
        "forward passes",
        "vocabulary",
    ):
        assert words in out


def test_a_second_build_has_nothing_to_do(index: Path, world: World) -> None:
    before = digests(index, "")
    again = world.build(index, "--extra-captions", world.extra)
    assert "already finished; nothing to do" in again.err
    assert digests(index, "") == before


def test_other_parameters_are_refused_with_both_values(index: Path, world: World) -> None:
    options = ["--model", world.model, "--out", index, "--extra-captions", world.extra, "--min-count", 3]
    answer = cocu("index", "build", world.shards, *options)
    assert answer.code == 2
    assert "min_count: 2 there, 3 now" in answer.err


def test_two_builds_are_equal(index: Path, world: World, tmp_path: Path) -> None:
    """With one worker and with two, batches of another size too, vectors aside where batching moves a last bit."""
    world.build(tmp_path / "one", "--extra-captions", world.extra, "--workers", 1)
    world.build(tmp_path / "two", "--extra-captions", world.extra, "--workers", 2)
    parts = ("embeddings", "concepts.parquet", "captions.faiss", "images.faiss", "rows")
    assert digests(tmp_path / "one", *parts) == digests(tmp_path / "two", *parts) == digests(index, *parts)


def test_search_by_text_and_by_picture(index: Path, world: World, tmp_path: Path) -> None:
    words = caption(7)
    lines = succeed("index", "search", index, words, "--top", 3, "--model", world.model).out.splitlines()
    assert lines[0].split("\t") == ["similarity", "shard", "key", "caption"]
    similarity, shard, key, text = lines[1].split("\t")
    assert (shard, key, text) == ("00000", "000000007", words)
    assert float(similarity) == pytest.approx(1, abs=0.01)
    assert len(lines) == 4
    values = [float(line.split("\t")[0]) for line in lines[1:]]
    assert values == sorted(values, reverse=True)

    (tmp_path / "query.png").write_bytes(picture(3, form="PNG"))
    by_picture = ("--image", tmp_path / "query.png", "--model", world.model)
    lines = succeed("index", "search", index, *by_picture, "-k", 2).out.splitlines()[1:]
    tables = [pq.read_table(index / "embeddings" / f"{name}.parquet") for name in (*SHARDS, "extra-00000")]
    texts = np.concatenate([vectors(table, "text_vec") for table in tables])
    image = vectors(tables[0], "image_vec")[3]
    assert float(lines[0].split("\t")[0]) == pytest.approx(float((texts @ image).max()), abs=0.01)


def test_search_says_what_is_wrong(index: Path, world: World, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    neither = cocu("index", "search", index)
    assert (neither.code, "either a text" in neither.err) == (2, True)
    broken = cocu("index", "search", index, "--image", tmp_path / "text.jpg", "--model", world.model)
    assert (broken.code, "not in a known format" in broken.err) == (2, True)
    missing = cocu("index", "search", index, "--image", tmp_path / "none.jpg", "--model", world.model)
    assert (missing.code, "none.jpg" in missing.err) == (2, True)
    nothing = cocu("index", "search", tmp_path, "a dog")
    assert (nothing.code, "cocu index build" in nothing.err) == (2, True)


def test_a_vocabulary_adjectives_and_all_captions(world: World, tmp_path: Path) -> None:
    listed = tmp_path / "words.txt"
    listed.write_text("Dogs\ncat\nbeach\n")
    world.build(tmp_path / "listed", "--vocabulary", listed)
    assert set(pq.read_table(tmp_path / "listed" / "concepts.parquet")["concept"].to_pylist()) == {
        "dog",
        "cat",
        "beach",
    }
    assert f"only those listed in {listed}" in succeed("index", "info", tmp_path / "listed").out

    world.build(tmp_path / "all", "--caption-field", "captions", "--all-captions", "--adjectives")
    table = pq.read_table(tmp_path / "all" / "embeddings" / "00000.parquet")
    assert table["caption"].to_pylist()[:3] == [caption(i) for i in range(3)]
    for i, named in enumerate(table["concepts"].to_pylist()):
        said = f"{caption(i)} {caption(i + 500)}".lower().split()
        assert set(named) == {word for word in said if word not in ("a", "and", "the", "in")}
    out = succeed("index", "info", tmp_path / "all").out
    assert "from the .json field captions; of several, all of them for concepts" in out
    assert "with adjectives" in out


def test_rejects_are_counted_by_reason(world: World, tmp_path: Path) -> None:
    good = [m for i in range(20) for m in pair_members(f"g{i}", i)]
    bad = [("b0.jpg", picture(1)[:300]), ("b0.txt", b"a dog"), ("b1.jpg", picture(2)), ("b1.txt", b"")]
    write_tar(tmp_path / "in" / "00000.tar", [*good, *bad])
    answer = succeed("index", "build", tmp_path / "in", "--model", world.model, "--out", tmp_path / "index")
    assert "rejects         2 (" in answer.out
    assert "1 truncated picture" in answer.out
    assert str(tmp_path / "index" / "rejects.parquet") in answer.out
    rows = pq.read_table(tmp_path / "index" / "rejects.parquet").to_pylist()
    assert {(row["shard"], row["key"]) for row in rows} == {("00000", "b0"), ("00000", "b1")}
    strict = ["--model", world.model, "--out", tmp_path / "strict", "--max-rejects", 0.05]
    answer = cocu("index", "build", tmp_path / "in", *strict)
    assert (answer.code, "over --max-rejects 5%" in answer.err) == (1, True)
    assert manifest(tmp_path / "strict")["finished"] is True


def test_a_table_of_pictures_and_captions(world: World, tmp_path: Path) -> None:
    table = make_table(tmp_path / "table")
    succeed("index", "build", table, "--model", world.model, "--out", tmp_path / "index")
    (path,) = (tmp_path / "index" / "embeddings").iterdir()
    found = pq.read_table(path)
    assert found["key"].to_pylist() == [f"pictures/p{i}" for i in range(12)]
    assert found["caption"].to_pylist() == [caption(i) for i in range(12)]
    succeed("curate", "run", tmp_path / "index", "--out", tmp_path / "curated", "--write-caption", "rich")
    answer = succeed("curate", "query", tmp_path / "curated", "SELECT count(*) AS n FROM pairs", "--format", "json")
    assert json.loads(answer.out) == [{"n": 12}]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--memory", "lots"], "give a size such as 2GB"),
        (["--memory", "0GB"], "give a size such as 2GB"),
        (["--device", "cuda"], "no CUDA device is visible"),
        (["--precision", "fp8"], "expected one of auto, fp32, bf16, fp16"),
        (["--spacy-pipeline", "no_such"], "make install"),
        (["--vocabulary", "nowhere.txt"], "--vocabulary nowhere.txt"),
        (["--factory", "Nonsense"], "Nonsense"),
    ],
)
def test_wrong_options_are_told(world: World, tmp_path: Path, options: list[str], words: str) -> None:
    if "cuda" in options and faiss.get_num_gpus():
        pytest.skip("this machine has a GPU")
    answer = cocu("index", "build", world.shards, "--model", world.model, "--out", tmp_path / "index", *options)
    assert (answer.code, words in answer.err) == (2, True), answer.err
    assert not list(tmp_path.glob("index/embeddings/*"))  # nothing was begun that could not end well


def run_on_a_terminal(arguments: list[str]) -> str:
    """Output of a command on a pseudo-terminal."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "cocu", *arguments]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"}
    process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    seen = b""
    while True:
        try:
            part = os.read(leader, 4096)
        except OSError:  # the terminal is gone with the last process on it
            break
        if not part:
            break
        seen += part
    os.close(leader)
    assert process.wait() == 0, seen.decode()
    return seen.decode()


def test_bars_on_a_terminal_plain_lines_elsewhere(world: World, tmp_path: Path) -> None:
    seen = run_on_a_terminal(
        ["index", "build", str(world.shards), "--model", world.model, "--out", str(tmp_path / "index")]
    )
    assert "\x1b[" in seen
    assert "━" in seen
    assert "100%" in seen
    assert "60 pairs" in seen
    piped = world.build(tmp_path / "again")
    assert "\x1b" not in piped.out + piped.err
    assert "embed pairs: 100%, 60 pairs" in piped.err


def test_a_build_that_never_began_can_be_begun_otherwise(world: World, tmp_path: Path) -> None:
    """Weights that cannot be loaded must not bind the folder to them."""
    empty = tmp_path / "no-weights"
    empty.mkdir()
    config = Path(world.model.removeprefix("local-dir:")) / "open_clip_config.json"
    (empty / "open_clip_config.json").write_bytes(config.read_bytes())
    failed = cocu("index", "build", world.shards, "--model", f"local-dir:{empty}", "--out", tmp_path / "index")
    assert (failed.code, "the weights of" in failed.err) == (1, True)
    world.build(tmp_path / "index")
    assert manifest(tmp_path / "index")["parameters"]["model"] == world.model
