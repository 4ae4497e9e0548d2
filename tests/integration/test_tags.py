"""`cocu curate run --tags` and `cocu curate score --against`: another model's tags join, and are scored beside."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import cocu as face
from tests.curation.curated_fixture import MadePair, make_curated
from tests.integration.commands import SHARDS, World, cocu, digests, manifest, succeed


@pytest.fixture(scope="module")
def tags(curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of every pair what its caption names, surely, and one thing more; and some of no use."""
    rows = []
    for path in sorted((curated / "tables" / "pairs").iterdir()):
        for row in pq.read_table(path).to_pylist():
            rows += [(row["key"], concept, 0.9) for concept in row["caption_concepts"]]
            rows += [(row["key"], "zebras" if len(rows) % 2 else "fountain", 0.4)]
    rows += [("of no pair", "zebra", 0.5), (rows[0][0], "a thing unheard of", 0.5), rows[0]]
    path = tmp_path_factory.mktemp("tags") / "tags.parquet"
    pq.write_table(pa.table(dict(zip(("key", "concept", "score"), zip(*rows, strict=True), strict=True))), path)
    return path


@pytest.fixture(scope="module")
def tagged(index: Path, tags: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    out = tmp_path_factory.mktemp("tagged") / "curated"
    answer = succeed("curate", "run", index, "--out", out, "--neighbours", 8, "--tags", tags, "--keep", 40)
    return out, answer.out, answer.err


def test_tags_join_and_what_is_left_out_is_told(tagged: tuple[Path, str, str], tags: Path) -> None:
    out, said, warned = tagged
    summary, fit = manifest(out)["summary"]["tags"], manifest(out)["tags"]
    rows = pq.read_metadata(tags).num_rows
    assert summary["joined"] + summary["of_no_pair"] + summary["unknown"] + summary["repeated"] == rows
    assert (summary["of_no_pair"], summary["unknown"], summary["repeated"]) == (1, 1, 1)
    assert "1 of no pair, 1 given twice, 1 of no concept (a thing unheard of 1)" in said
    assert fit["of_them_named"] >= 50
    assert fit["log_odds"] == sorted(fit["log_odds"])
    assert fit["log_odds"][-1] > 0 > fit["silent"]
    assert "if they are made of captions" in warned  # these are


def test_the_model_is_what_moves_the_scores(index: Path, tags: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pq.read_table(tags)
    table = table.filter(pa.array(rng.random(len(table)) < 0.7))
    scores = table["score"].to_numpy() + rng.normal(0, 0.4, len(table))
    tags = tmp_path / "noisy.parquet"
    pq.write_table(table.set_column(2, "score", [scores]), tags)
    options = ("curate", "run", index, "--neighbours", 8, "--keep", 0, "--ranking", "posterior", "--no-merge")
    succeed(*options, "--out", tmp_path / "plain")
    succeed(*options, "--out", tmp_path / "tagged", "--tags", tags)

    def scores_of(folder: Path) -> dict[tuple[str, str], float]:
        tables = [pq.read_table(path) for path in sorted((folder / "tables" / "archives").iterdir())]
        return {(row["key"], row["concept"]): row["score"] for row in pa.concat_tables(tables).to_pylist()}

    before, after = scores_of(tmp_path / "plain"), scores_of(tmp_path / "tagged")
    rows = sorted(pq.read_table(tags).to_pylist(), key=lambda row: row["score"])  # the highest counts
    given = {(row["key"], row["concept"].replace("zebras", "zebra")): row["score"] for row in rows}
    fit = manifest(tmp_path / "tagged")["tags"]
    spoken_of = {concept for _, concept in given}
    assert not after.keys() - before.keys() - given.keys()
    assert before.keys() <= after.keys()
    kinds = set()
    for one, score in before.items():
        if one in given:
            shift = fit["log_odds"][int(np.searchsorted(fit["edges"], given[one], "right"))]
        else:
            shift = fit["silent"] if one[1] in spoken_of else 0.0
        odds = score / (1 - score) * np.exp(shift)
        assert after[one] == pytest.approx(odds / (1 + odds), rel=2e-3, abs=1e-5)
        kinds.add(shift)
    assert len(kinds) >= 3


def test_other_tags_are_another_run(tagged: tuple[Path, str, str], index: Path, tags: Path, tmp_path: Path) -> None:
    before = digests(tagged[0], "tables", "shards")
    table = pq.read_table(tags)
    pq.write_table(table, tmp_path / "moved.parquet")
    options = ("curate", "run", index, "--out", tagged[0], "--neighbours", 8, "--keep", 40)
    assert succeed(*options, "--tags", tmp_path / "moved.parquet").code == 0
    pq.write_table(table.slice(1), tmp_path / "other.parquet")
    for wrong in (("--tags", tmp_path / "other.parquet"), ()):
        answer = cocu(*options, *wrong)
        assert answer.code == 2
        assert "tags: " in answer.err
    assert digests(tagged[0], "tables", "shards") == before


def test_tags_join_anchors_of_other_pictures(
    world: World, index: Path, tags: Path, tagged: tuple[Path, str, str], tmp_path: Path
) -> None:
    shard = world.shards / f"{SHARDS[1]}.tar"
    named = ("--model", world.model)
    out = tmp_path / "anchors"
    succeed("curate", "run", index, "--out", out, "--neighbours", 8, "--tags", tags, "--anchors", shard, *named)
    assert manifest(out)["summary"]["tags"]["joined"] > 30
    assert manifest(out)["tags"]["fitted_on_pairs"] == 30


def test_rankings_that_are_no_probabilities_take_no_tags(index: Path, tags: Path, tmp_path: Path) -> None:
    answer = cocu("curate", "run", index, "--out", tmp_path / "out", "--preset", "paper", "--tags", tags)
    assert answer.code == 2
    assert "--ranking paper is none; give --ranking evidence or support or" in answer.err
    assert not (tmp_path / "out").exists()


def test_tags_are_scored_beside(tmp_path: Path) -> None:
    pairs = [MadePair(f"{i}", "A man", ("man",), (("dog", 0.9, False), ("man", 0.8, True))) for i in range(4)]
    folder = make_curated(tmp_path / "curated", {"s0": pairs})
    (tmp_path / "synonyms.json").write_text('{"person": ["man"], "dog": ["dog"], "kite": ["kite"]}')
    truth = [(f"{i}", "dog" if i < 2 else "kite", 0.2) for i in range(4)]
    keys = ("key", "object", "area")
    (tmp_path / "truth.jsonl").write_text(
        "".join(json.dumps(dict(zip(keys, row, strict=True))) + "\n" for row in truth)
    )
    tags = [
        ("0", "dogs", 0.5),
        ("0", "men", 0.9),
        ("1", "kite", 0.7),
        ("1", "dog", 0.6),
        ("2", "kites", 0.1),
        ("z", "dog", 1),
    ]
    lines = ["key,concept,score", *(",".join(map(str, row)) for row in tags)]
    (tmp_path / "tags.csv").write_text("\n".join(lines) + "\n")
    arguments = (tmp_path / "truth.jsonl", tmp_path / "synonyms.json")
    card = face.score(folder, *arguments, top=[1, 2], against=tmp_path / "tags.csv")
    ours, theirs = card.scores["curated"], card.scores["tags.csv"]
    assert [figure.value for figure in ours.recall] == [0.5, 0.5]
    # Of the four gaps theirs finds the dog of 0, the kite of 2, and at 2 the dog of 1.
    assert [figure.value for figure in theirs.recall] == [0.5, 0.75]
    assert [figure.value for figure in theirs.precision_new] == pytest.approx([2 / 3, 3 / 4])
    assert any("says nothing of 1 of 4 pairs" in note for note in card.notes)
    assert any("1 keys are of no pair with truth: z" in note for note in card.notes)

    options = ("curate", "score", folder, "--truth", arguments[0], "--synonyms", arguments[1])
    assert "tags.csv" in succeed(*options, "--against", tmp_path / "tags.csv").out
    (tmp_path / "tags.csv").write_text("key,concept\nz,dog\n")
    answer = cocu(*options, "--against", tmp_path / "tags.csv")
    assert answer.code == 2
    assert "none of its keys (z) is that of a pair with truth" in answer.err
    assert np.isfinite(ours.mean_average_precision.value)
