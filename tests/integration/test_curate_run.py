"""`cocu curate run` as a whole command: tables and shards by contract, every expansion, ranking and option."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import open_clip
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import spacy
import webdataset

import cocu as cocu_face
from benchmarks.speed.tiny_pairs import caption, write_tar
from curation.concepts.lexicon import resolve_pipeline
from curation.ranking.relevance import RANKINGS
from tests.integration.commands import (
    PAIRS,
    SHARDS,
    UNFILTERED,
    World,
    cocu,
    concepts_of,
    digests,
    make_table,
    manifest,
    members_of,
    succeed,
    vectors,
)
from tests.tiny_world import pair_members, picture


def archives_of(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted((folder / "tables" / "archives").iterdir())])


def by_key(folder: Path) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for row in archives_of(folder).to_pylist():
        found.setdefault(row["key"], []).append(row)
    return found


def run(index: Path, out: Path, *options: object) -> Path:
    succeed("curate", "run", index, "--out", out, *options)
    return out


def test_the_archives_table(curated: Path, index: Path) -> None:
    types = {
        "key": pa.string(),
        "shard": pa.string(),
        "rank": pa.int32(),
        "concept_id": pa.int32(),
        "concept": pa.string(),
        "score": pa.float32(),
        "global": pa.float32(),
        "local": pa.float32(),
        "support": pa.int32(),
        "cluster": pa.int32(),
        "in_caption": pa.bool_(),
        "confidence": pa.float32(),
    }
    concepts = pq.read_table(index / "concepts.parquet")["concept"].to_pylist()
    named: dict[str, set[str]] = {}
    for name in SHARDS:
        assert dict(zip(types, pq.read_schema(curated / f"tables/archives/{name}.parquet").types, strict=True)) == types
        table = pq.read_table(index / "embeddings" / f"{name}.parquet", columns=["key", "concepts"])
        named |= {row["key"]: set(row["concepts"]) for row in table.to_pylist()}
    found = by_key(curated)
    assert list(found) == sorted(named)
    for key, rows in found.items():
        assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
        assert len(rows) <= 16
        assert all(row["concept"] == concepts[row["concept_id"]] for row in rows)
        assert all(row["in_caption"] == (row["concept"] in named[key]) for row in rows)
        assert len({row["concept"] for row in rows}) == len(rows)
        scores = [row["score"] for row in rows]
        assert scores == sorted(scores, reverse=True)
        clusters = {row["cluster"] for row in rows}
        assert clusters == set(range(len(clusters)))
        assert len(clusters) <= max(1, -(-len(rows) // 2))


def test_curated_shards_hold_every_member_untouched(curated: Path, world: World) -> None:
    found = by_key(curated)
    for name in SHARDS:
        before = members_of(world.shards / f"{name}.tar")
        after = members_of(curated / "shards" / f"{name}.tar")
        assert [member for member in after if not member[0].endswith(".concepts.json")] == before
        assert [key for key, _ in after if key.endswith(".concepts.json")] == [
            f"{name}{i:04d}.concepts.json" for i in range(PAIRS)
        ]
        for key, listed in concepts_of(curated / "shards" / f"{name}.tar").items():
            wanted = ["concept", "score", "cluster", "in_caption"]
            assert [list(entry)[:4] for entry in listed] == [wanted] * len(listed)
            assert all(list(entry)[4:] == ["confidence"] * (not entry["in_caption"]) for entry in listed)
            rows = found[key]
            for column in ("concept", "cluster", "in_caption"):
                assert [entry[column] for entry in listed] == [row[column] for row in rows]
            np.testing.assert_allclose([e["score"] for e in listed], [r["score"] for r in rows], atol=1e-4)


def test_any_loader_reads_curated_shards(curated: Path) -> None:
    dataset = webdataset.WebDataset(
        [str(curated / "shards" / f"{name}.tar") for name in SHARDS], shardshuffle=False
    ).decode("pilrgb")
    samples = list(dataset)
    assert [sample["__key__"] for sample in samples] == [f"{name}{i:04d}" for name in SHARDS for i in range(PAIRS)]
    assert samples[3]["txt"] == caption(3)
    assert samples[3]["jpg"].size == (48, 40)
    assert samples[3]["concepts.json"]["version"] == 1
    assert samples[3]["json"]["id"] == 3


def test_open_clips_training_loader_streams_them(
    index: Path, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip_train.data
    from open_clip_train.data import get_wds_dataset

    # The loader is older than webdataset's marks of a shard's end and falls over them, on any shard.
    unmarked = functools.partial(open_clip_train.data.tar_file_expander, eof_value=None)
    monkeypatch.setattr(open_clip_train.data, "tar_file_expander", unmarked)
    out = run(index, tmp_path / "curated", "--write-caption", "rich", "--neighbours", 8)
    args = SimpleNamespace(
        train_data=str(out / "shards" / "{00000..00001}.tar"),
        train_num_samples=2 * PAIRS,
        train_data_upsampling_factors=None,
        dataset_resampled=False,
        seed=0,
        workers=0,
        batch_size=10,
        world_size=1,
    )
    _, preprocess, _ = open_clip.create_model_and_transforms(world.model)
    info = get_wds_dataset(args, preprocess, is_train=True, tokenizer=open_clip.get_tokenizer(world.model))
    batches = list(info.dataloader)
    assert [tuple(images.shape) for images, _ in batches] == [(10, 3, 32, 32)] * 6
    decoded = " ".join(open_clip.decode(text) for _, texts in batches for text in texts)
    assert all(caption(1000 * s + i).lower() in decoded for s in range(2) for i in range(PAIRS))

    # And trainers that take the caption from the .json member find the enriched one there.
    paths = [str(out / "shards" / f"{name}.tar") for name in SHARDS]
    rich = webdataset.WebDataset(paths, shardshuffle=False).decode("pilrgb").to_tuple("jpg", "json")
    listed = {key: found for name in paths for key, found in concepts_of(Path(name)).items()}
    for (_, described), (key, found) in zip(rich, listed.items(), strict=True):
        new = [entry["concept"] for entry in found if not entry["in_caption"]][:3]
        added = {0: "", 1: ", with {}", 2: ", with {} and {}", 3: ", with {}, {} and {}"}[len(new)].format(*new)
        assert described["rich"] == described["captions"][0] + added, key


@pytest.mark.parametrize("expansion", ["image", "caption", "language", "mixed", "image+mixed"])
def test_every_expansion_with_every_ranking(index: Path, tmp_path: Path, expansion: str) -> None:
    for ranking in RANKINGS:
        out = tmp_path / ranking
        answer = succeed(
            "curate", "run", index, "--out", out, "--expansion", expansion, "--ranking", ranking, "--neighbours", 4
        )
        assert f"expansion {expansion}, 4 neighbours, ranking {ranking}" in answer.out
        table = archives_of(out)
        assert table.num_rows > 2 * PAIRS
        assert not np.isnan(table["score"].to_numpy()).any()
        for rows in by_key(out).values():
            scores = [row["score"] for row in rows]
            assert scores == sorted(scores, reverse=True)


def test_the_papers_preset_is_the_papers_formulas(index: Path, tmp_path: Path) -> None:
    """Every archive again, from the files alone, by the formulas as they are printed."""
    out = run(index, tmp_path / "paper", "--preset", "paper")
    parameters = manifest(out)["parameters"]
    assert [parameters[name] for name in ("expansion", "neighbours", "ranking", "keep", "merge")] == [
        "image",
        8,
        "paper",
        0,
        False,
    ]
    tables = [pq.read_table(index / "embeddings" / f"{name}.parquet") for name in SHARDS]
    pairs = pa.concat_tables(tables)
    v, keys, named = vectors(pairs, "image_vec"), pairs["key"].to_pylist(), pairs["concepts"].to_pylist()
    words = pq.read_table(index / "concepts.parquet")
    t = dict(zip(words["concept"].to_pylist(), vectors(words, "text_vec"), strict=True))
    similar = v @ v.T
    for x, key in enumerate(keys):
        nearest = np.argsort(-similar[x], kind="stable")[:8]
        archive = sorted({concept for y in nearest for concept in named[y] if concept in t} | set(named[x]) & set(t))
        fits = {c: np.maximum(v @ t[c], 0) for c in archive}
        members = {c: [fits[c][y] for y in nearest if c in named[y]] + [fits[c][x]] for c in archive}
        highest = max(max(similarities) for similarities in members.values())
        expected = {c: fits[c][x] and fits[c][x] / highest + fits[c][x] / np.mean(members[c]) for c in archive}
        found = {row["concept"]: row["score"] for row in by_key_cached(out)[key]}
        assert set(found) == set(expected), key
        for concept, score in found.items():
            assert score == pytest.approx(expected[concept], rel=2e-3), (key, concept)


_cache: dict[Path, dict[str, list[dict]]] = {}


def by_key_cached(folder: Path) -> dict[str, list[dict]]:
    return _cache.setdefault(folder, by_key(folder))


def test_keep_min_score_and_merge(index: Path, tmp_path: Path) -> None:
    options = ("--neighbours", 8, "--ranking", "paper")
    whole = by_key(run(index, tmp_path / "whole", *options, "--keep", 0, "--no-merge"))
    three = by_key(run(index, tmp_path / "three", *options, "--keep", 3, "--no-merge"))
    for key, rows in three.items():
        best = [row["concept"] for row in whole[key] if row["rank"] <= 3 or row["in_caption"]]
        assert [row["concept"] for row in rows] == best
    limit = float(np.median([row["score"] for rows in whole.values() for row in rows]))
    out = tmp_path / "over"
    answer = succeed(
        "curate", "run", index, "--out", out, *options, "--keep", 0, "--no-merge", "--min-score", f"{limit:.6f}"
    )
    assert f"all from score {limit:g} and the caption's own" in answer.out
    over = by_key(out)
    for key, rows in over.items():
        assert all(row["score"] >= limit - 1e-5 or row["in_caption"] for row in rows), key


def test_an_anchors_own_captions_are_not_retrieved(index: Path, tmp_path: Path) -> None:
    """The extra captions name a fountain for six of our own pictures, and for no other."""
    options = ("--expansion", "language", "--neighbours", 91, "--ranking", "paper", "--keep", 0, *UNFILTERED)
    out = run(index, tmp_path / "curated", *options)
    support = {row["key"]: row["support"] for row in archives_of(out).to_pylist() if row["concept"] == "fountain"}
    for name in SHARDS:
        for i in range(PAIRS):
            owned = name == SHARDS[0] and i < 6
            assert support[f"{name}{i:04d}"] == (5 if owned else 6)
    own = {row["key"]: row["support"] for row in archives_of(out).to_pylist() if row["in_caption"]}
    counts = pq.read_table(index / "concepts.parquet").to_pydict()
    assert max(own.values()) < max(counts["count"])


def test_anchors_from_outside_the_index(index: Path, world: World, tmp_path: Path) -> None:
    members = [m for i in range(9) for m in pair_members(f"new{i}", 7000 + i)]
    members += [("bad.jpg", picture(1)[:300]), ("bad.txt", b"a dog")]
    write_tar(tmp_path / "anchors" / "a.tar", members)
    named = ("--model", world.model)
    answer = succeed("curate", "run", index, "--out", tmp_path / "out", "--anchors", tmp_path / "anchors", *named)
    assert "rejects            1 (1 truncated picture)" in answer.out
    assert list(concepts_of(tmp_path / "out" / "shards" / "a.tar")) == [f"new{i}" for i in range(9)]
    rejects = pq.read_table(tmp_path / "out" / "rejects.parquet").to_pylist()
    assert [row["key"] for row in rejects] == ["bad"]
    again = succeed("curate", "run", index, "--out", tmp_path / "out", "--anchors", tmp_path / "anchors")
    assert "nothing to do" in again.err
    table = make_table(tmp_path / "table")
    run(index, tmp_path / "table-out", "--anchors", table, *named)
    (tar,) = (tmp_path / "table-out" / "shards").iterdir()
    names = dict(members_of(tar))
    assert names["pictures/p3.png"] == picture(3, form="PNG")
    assert names["pictures/p3.txt"] == caption(3).encode()
    assert json.loads(names["pictures/p3.concepts.json"])["version"] == 1
    stray = cocu("curate", "run", index, "--out", tmp_path / "stray", "--all-captions")
    assert (stray.code, "--anchors" in stray.err) == (2, True)


def test_it_goes_without_pytorch(index: Path, tmp_path: Path) -> None:
    """What is embedded needs no tower, and PyTorch a second to load."""
    code = "import sys, cocu; cocu.curate(*sys.argv[1:], output='tables'); print('torch' in sys.modules)"
    command = [sys.executable, "-c", code, str(index), str(tmp_path / "out")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1] == "False"


def test_two_runs_are_equal_to_the_byte(index: Path, curated: Path, tmp_path: Path) -> None:
    again = run(index, tmp_path / "again", "--neighbours", 8)
    assert digests(again, "tables", "shards") == digests(curated, "tables", "shards")
    other = run(index, tmp_path / "seed", "--neighbours", 8, "--ranking", "random", "--seed", 1)
    third = run(index, tmp_path / "third", "--neighbours", 8, "--ranking", "random", "--seed", 2)
    assert digests(other, "tables/archives") != digests(third, "tables/archives")


def test_the_summary_says_what_was_found(index: Path, tmp_path: Path) -> None:
    out = tmp_path / "curated"
    answer = succeed("curate", "run", index, "--out", out, "--neighbours", 8)
    rows = archives_of(out).to_pylist()
    new = [row for row in rows if not row["in_caption"]]
    assert "pairs              60\n" in answer.out
    assert f"concepts per pair  {len(rows) / 60:.1f}" in answer.out
    assert f"{len({row['key'] for row in new}) / 60:.1%} of the pairs" in answer.out
    counts: dict[str, int] = {}
    for row in new:
        counts[row["concept"]] = counts.get(row["concept"], 0) + 1
    top = sorted(counts.values(), reverse=True)[:20]
    listed = manifest(out)["summary"]["top_recovered"]
    assert [count for _, count in listed] == top
    assert all(counts[concept] == count for concept, count in listed)
    assert ", ".join(f"{concept} {count}" for concept, count in listed) in answer.out
    for stage in ("read", "search", "rank", "cluster", "tables", "writing"):
        assert stage in answer.out
    assert "curate: 100%, 60 pairs" in answer.err
    assert "\x1b" not in answer.out + answer.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--preset", "nature"], "expected one of default, paper"),
        (["--expansion", "image+image"], "different ones"),
        (["--expansion", "smell"], "expected image, caption, language, mixed"),
        (["--ranking", "luck"], "expected one of"),
    ],
)
def test_wrong_options_are_told(index: Path, tmp_path: Path, options: list[str], words: str) -> None:
    answer = cocu("curate", "run", index, "--out", tmp_path / "out", *options)
    assert (answer.code, words in " ".join(answer.err.split())) == (2, True), answer.err
    assert not (tmp_path / "out").exists()


def test_other_parameters_on_the_same_folder_are_refused(index: Path, curated: Path) -> None:
    answer = cocu("curate", "run", index, "--out", curated, "--neighbours", 9)
    assert (answer.code, "neighbours: 8 there, 9 now" in answer.err) == (2, True)


def test_a_pipeline_that_only_the_index_names_is_not_loaded(index: Path, tmp_path: Path) -> None:
    theirs, out = tmp_path / "theirs", tmp_path / "out"
    spacy.load(resolve_pipeline()).to_disk(theirs)
    shutil.copytree(index, tmp_path / "index")
    path = tmp_path / "index" / "manifest.json"
    content = json.loads(path.read_text())
    content["parameters"]["noun_pipeline"] = str(theirs)
    path.write_text(json.dumps(content))
    answer = cocu("curate", "run", tmp_path / "index", "--out", out)
    assert (answer.code, f"--spacy-pipeline {theirs}" in answer.err, out.exists()) == (2, True, False)
    run(tmp_path / "index", out, "--spacy-pipeline", theirs)
    assert by_key(out) == by_key(run(index, tmp_path / "ours"))


def unfitted(index: Path, tmp_path: Path) -> Path:
    """A copy of an index with which no fits are kept, for a test that fits otherwise."""
    return Path(shutil.copytree(index, tmp_path / "unfitted", ignore=shutil.ignore_patterns("fits")))


def test_confidence_is_told_and_the_doubtful_left_out(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curation.ranking.confidence.FIT_MENTIONS", 5)
    index = unfitted(index, tmp_path)
    unfiltered = {"merge": False, "synonyms": False, "grounded": False}
    options = {"ranking": "support", "keep": 0, "quiet": True, **unfiltered}
    whole = by_key(cocu_face.curate(index, tmp_path / "whole", **options).path)
    told = [row["confidence"] for rows in whole.values() for row in rows if not row["in_caption"]]
    assert 0 <= min(told) < max(told) <= 1
    assert all(row["confidence"] is None for rows in whole.values() for row in rows if row["in_caption"])
    least = float(np.median(told))
    sure = cocu_face.curate(index, tmp_path / "sure", confidence=least, **options)
    rows = by_key(sure.path)
    for key, all_of_it in whole.items():
        left = [row["concept"] for row in all_of_it if row["in_caption"] or row["confidence"] >= least]
        assert [row["concept"] for row in rows.get(key, [])] == left
    fitted = manifest(sure.path)["confidence"]
    assert sum(entries for _, _, entries in fitted["diagram"]) > 100
    members = concepts_of(sure.path / "shards" / f"{SHARDS[0]}.tar")
    for key, concepts in members.items():
        listed = [row["confidence"] for row in rows[key]]
        assert [concept.get("confidence") for concept in concepts] == pytest.approx(listed, abs=1e-4)


def test_without_enough_to_fit_it_to_there_is_no_confidence(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curation.ranking.confidence.FIT_MENTIONS", 10_000)
    index = unfitted(index, tmp_path)
    out = run(index, tmp_path / "without")
    assert all(row["confidence"] is None for row in archives_of(out).to_pylist())
    assert not any(
        "confidence" in row for rows in concepts_of(out / "shards" / f"{SHARDS[0]}.tar").values() for row in rows
    )
    answer = cocu("curate", "run", index, "--out", tmp_path / "out", "--confidence", 0.5)
    assert answer.code == 2
    assert "--confidence 0.5" in answer.err
    assert "too few pairs" in answer.err
