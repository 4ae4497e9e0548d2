"""The benchmarks of size: which stage a line begins, by which power a stage grows, what a billion pairs take."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from benchmarks.speed import on_paper, scale


@pytest.mark.parametrize(
    ("line", "stage"),
    [
        ("vocabulary: counting concepts named by at least 2 captions, and encoding them", "vocabulary"),
        ("rows: 10,000 captions and 1,764 concepts into arrays for retrieval", "rows"),
        ("images.faiss: 10,000 vectors of 512, factory Flat, about 20.5 MB", "images: train and add"),
        ("captions.faiss: 20.5 MB; recall@8 1.0000 against exact search on 1,000 queries", "captions: recall"),
        ("images.faiss: 10,000 vectors added to lists trained on 100,000", "images: recall"),
        ("ranking evidence: fitting it to held-out captions of the index", "fits"),
        ("take embeddings:  13%, 13,312 pairs, 1,285/s, 67 s left", ""),
    ],
)
def test_a_stage_begins_where_the_command_says_so(line: str, stage: str) -> None:
    assert scale.stage_of(line) == stage


def test_a_stage_that_takes_four_times_as_long_for_twice_the_pairs_is_square() -> None:
    one = {"command": "build", "name": "rows", "wall": 9.0, "cpu": 1.0, "peak": 2e9, "resident": 3e9, "pairs": 1000}
    two = {**one, "cpu": 4.0, "pairs": 2000}
    assert scale.exponent(one, two) == "2.00"
    assert (
        scale.as_table([one, two])
        .splitlines()[-1]
        .endswith("| 1.0 / 9.0 / 2.00 / 3.00 | 4.0 / 9.0 / 2.00 / 3.00 |     2.00 |")
    )


def test_captions_of_a_topic_are_near_it() -> None:
    ordered = [f"{chr(97 + i // 40)} word{i} and more" for i in range(400)]
    topics = np.repeat(np.arange(10), 20)
    made = scale.joined(ordered, topics, 10, np.random.default_rng(0))
    assert len(made) == 200
    assert {text[0] for text in made[:20]} <= {"a", "b", "c"}
    assert all(text.endswith("more") for text in made)


def test_memory_and_time_of_a_process_and_those_below_it_are_counted() -> None:
    held = "x = bytearray(200_000_000); print(flush=True); input()"
    below = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {held!r}])"
    process = subprocess.Popen([sys.executable, "-c", below], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()
    own, resident, cpu = scale.usage(process.pid)
    process.communicate(b"\n")
    assert 200e6 < own < resident
    assert cpu >= 0


def test_what_a_billion_pairs_take_follows_from_one() -> None:
    one, two = on_paper.files(100_000_000), on_paper.files(200_000_000)
    assert one["rows/*_vectors.npy"] == "204.8 GB"
    assert two["rows/*_vectors.npy"] == "409.6 GB"
    assert on_paper.hours(100_000_000, 10.0)["ViT-L/14: GPU-hours"] == f"{1e8 * (1 / 2535 + 1 / 15779) / 3600:,.0f}"
