"""What closing summaries say of what was left out."""

from pathlib import Path

import pytest

from cli.printing.summaries import _training, rejects_told


@pytest.mark.parametrize(
    ("summary", "told"),
    [
        ({"pairs": 5, "rejects": {}}, "0"),
        ({"pairs": 0, "rejects": {"no image": 0}}, "0"),
        ({"pairs": 3, "rejects": {"no image": 1}}, "1 (1 no image), 25.0% of what was read"),
        ({"pairs": 0, "rejects": {"a": 1, "b": 2_000}}, "2,001 (1 a, 2,000 b), 100.0% of what was read"),
        ({"pairs": 2, "extra_captions": 5, "rejects": {"a": 1}}, "1 (1 a), 12.5% of what was read"),
    ],
)
def test_rejects_are_told_with_their_share(summary: dict[str, object], told: str) -> None:
    assert rejects_told(summary) == told


@pytest.mark.parametrize(
    ("lies", "told"),
    [
        ("/data/cu", "--data /data/cu/shards --out RUN"),
        ("gs://bucket/cu", "--data gs://bucket/cu/shards data.samples=160 --out RUN"),
        ("sftp://host/cu", "a copy of these shards on a disk"),
    ],
)
def test_what_trains_on_a_curation(lies: str, told: str) -> None:
    manifest = {"parameters": {}, "summary": {"pairs": 160}}
    assert told in _training(Path(lies), manifest, "shards").replace(":/b", "://b")
