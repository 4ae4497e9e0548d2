"""The benchmark of the loader runs, at sizes too small to tell anything."""

import io
import itertools
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.speed import loader_speed
from training.batches.loader import BatchOptions, validation_batches


def test_it_measures_stages_and_ratios(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = loader_speed.draw_shards(tmp_path, shards=2, pairs=12)
    monkeypatch.setattr(loader_speed, "TURNS", 1)
    small = ["--pairs", "20", "--repeats", "1", "--size", "32", "--workers", "1", "--batch", "4", "--seconds", "0.2"]
    found = loader_speed.main([str(shards), *small])
    assert {"one process", "whole", *loader_speed.Stages.names} == set(found)
    # Augmenting is told by a difference, which twenty pairs on a busy machine can turn.
    assert all(value > 0 for name, value in found.items() if name != "augment")
    assert "webdataset + torchvision" in capsys.readouterr().out


def test_its_pairs_are_good_and_as_large_as_photographs(tmp_path: Path) -> None:
    shards = loader_speed.draw_shards(tmp_path, shards=1, pairs=6)
    batches = validation_batches([str(shards)], BatchOptions(4, 16, "curated-cluster"))
    assert sum(map(len, batches)) == 6
    data = loader_speed.photograph(0)
    assert Image.open(io.BytesIO(data)).size == (500, 375)
    assert 20_000 < len(data) < 60_000


def test_the_peer_makes_the_same_of_a_pair(tmp_path: Path) -> None:
    shards = loader_speed.draw_shards(tmp_path, shards=1, pairs=6)
    peer = loader_speed.PeerPipeline([str(path) for path in shards.glob("*.tar")], 32, "deit")
    for pixels, tokens in itertools.islice(peer.pairs(), 8):
        assert pixels.shape == (3, 32, 32)
        assert tokens.shape == (4, 77)
        assert len({tuple(row) for row in tokens.tolist()}) == 4
