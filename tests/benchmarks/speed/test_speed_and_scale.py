"""The speed benchmarks run, at sizes too small to tell anything."""

import json
from itertools import pairwise

import numpy as np
import pytest

from benchmarks.speed import (
    balance_scale,
    curate_throughput,
    feed,
    forward_share,
    measure,
    ranking_speed,
    search_scaling,
    synthetic,
    write_speed,
)


def test_ranking_speed_agrees_with_the_loop(capsys):
    pytest.importorskip("sklearn")
    ratios = ranking_speed.main(["--rows", "600", "--dim", "512", "--pairs", "60", "--sample", "6", "--repeats", "1"])
    assert set(ratios) == {"ranking", "with clusters"}
    assert "scores agree" in capsys.readouterr().out


def test_search_scaling_measures_each_size(tmp_path, capsys):
    records = [search_scaling.measure(rows, "auto", 32, 10**7, count=50, repeats=1) for rows in (300, 600)]
    assert [record["factory"] for record in records] == ["Flat", "Flat"]
    assert all(record["recall"] == 1 for record in records)
    assert "600" in search_scaling.as_table(records)
    search_scaling.main(["--inside", "--rows", "300", "--dim", "32", "--queries", "20", "--repeats", "1"])
    assert json.loads(capsys.readouterr().out)["rows"] == 300


def test_search_scaling_draws_its_plot(tmp_path):
    pytest.importorskip("matplotlib")
    record = {"rows": 100, "search": 1e-4, "exact": 2e-4, "bytes": 10**6, "peak": 10**8}
    search_scaling.plot([record, record | {"rows": 1000}], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_curate_throughput_curates_its_corpus(tmp_path, capsys):
    arguments = ["--pairs", "120", "--bytes", "500", "--repeats", "1", "--folder", str(tmp_path)]
    rates = curate_throughput.main(arguments)
    outputs = ("shards", "sidecar", "tables")
    assert list(rates) == [f"{preset}, {output}" for preset in ("paper", "default") for output in outputs]
    assert "| paper, sidecar" in capsys.readouterr().out


def test_write_speed_writes_what_it_copies(monkeypatch, capsys):
    for module in (curate_throughput, write_speed):
        monkeypatch.setattr(module, "PAIRS_PER_SHARD", 60)
    ratios = write_speed.main(["--shards", "2", "--bytes", "500", "--repeats", "1"])
    assert list(ratios) == ["warm", "cold"]
    printed = capsys.readouterr().out
    assert "120 pairs of 500 bytes" in printed
    assert "| writing curated shards, cold |" in printed


@pytest.mark.slow
def test_feed_measures_parts_and_workers(capsys):
    found = feed.main(["--pairs", "40", "--batch-size", "4", "--workers", "1", "--repeats", "1"])
    assert set(found) == {"640 x 480, 1", "256 x 256, 1"}
    assert "noun phrases" in capsys.readouterr().out


@pytest.mark.slow
def test_forward_share_measures_the_stage(tmp_path, capsys):
    from tests.tiny_world import make_tiny_clip

    model = make_tiny_clip(tmp_path / "model")
    share = forward_share.main(["--model", model, "--pairs", "6", "--picture", "64", "48", "--repeats", "1"])
    assert share > 0
    assert "noun phrases" in capsys.readouterr().out


def test_synthetic_vectors_are_unit_and_neighbours_share_topics():
    space = synthetic.make_space(500, 64)
    topics = synthetic.topics_of(500, space)
    vectors = synthetic.vectors_of(topics, space).astype(np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=2e-3)
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -1)
    largest = np.bincount(topics)[topics] > 3
    same = topics[similarity.argmax(1)] == topics
    assert same[largest].mean() > 0.8


def test_synthetic_captions_name_one_to_six_concepts_none_twice():
    space = synthetic.make_space(500, 16)
    offsets, ids = synthetic.named_concepts(synthetic.topics_of(500, space), space, 50)
    assert offsets[-1] == len(ids)
    for start, stop in pairwise(offsets.tolist()):
        assert 1 <= stop - start <= 6
        assert len(set(ids[start:stop].tolist())) == stop - start
    assert (np.bincount(ids, minlength=50)[:5] > np.bincount(ids, minlength=50)[-5:]).all()


def test_a_table_is_markdown():
    assert measure.table(["a", "b"], [["x", "1"]]) == "| a | b |\n|---|--:|\n| x | 1 |"


def test_balance_scale_balances_its_tables(tmp_path):
    balance_scale.write(tmp_path, 170_000)
    record = balance_scale.measure(tmp_path, "uids.npy")
    assert record["pairs"] == 10_625
    assert 0 < len(np.load(tmp_path / "uids.npy")) < 10_625
