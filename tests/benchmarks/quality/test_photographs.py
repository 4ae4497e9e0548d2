"""The experiment on photographs: what speaks for a concept, what the head is taught, how windows are measured."""

import io
import json
import tarfile
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional as F

from benchmarks.quality import photographs
from benchmarks.quality.photographs import FrozenTower, Listed, Seen, evidence, measured, read_pairs, train_head
from curation.index.vocabulary import Vocabulary
from training.models.learner import DenseFeatures

# sea and ocean are near (cosine 0.9), dog and tree are near to nothing.
VECTORS = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0.9, 0, 0, 0.19**0.5], [0, 0, 1, 0]], np.float32)
VOCABULARY = Vocabulary(pa.array(["sea", "dog", "ocean", "tree"]), np.array([9, 8, 7, 6]), VECTORS)
PAIRS = [Listed(b"", (("sea", 1.0, True), ("tree", 0.3, False))), Listed(b"", (("dog", 1.0, True),)), Listed(b"", ())]


@pytest.mark.parametrize(
    ("arm", "first"),
    [("curated", [1, 0, 1, 0.3]), ("captions", [1, 0, 1, 0]), ("nothing", [0, 0, 0, 0])],
)
def test_what_speaks_for_a_concept_is_the_arms_own_and_spreads_to_near_texts(arm, first):
    found = evidence(PAIRS, VOCABULARY, arm, seed=0)
    torch.testing.assert_close(found[0], torch.tensor(first, dtype=torch.float32), atol=1e-5, rtol=0)
    assert not found[2].any()


def test_shuffled_lists_are_those_of_other_pictures():
    found, right = evidence(PAIRS * 20, VOCABULARY, "shuffled", 0), evidence(PAIRS * 20, VOCABULARY, "curated", 0)
    assert not torch.equal(found, right)
    torch.testing.assert_close(found.sum(0), right.sum(0))


def test_pairs_come_in_order_with_what_their_lists_say(tmp_path):
    (tmp_path / "shards").mkdir()
    listed = [
        {"concept": "sea", "score": 1, "cluster": 0, "in_caption": True},
        {"concept": "tree", "score": 1, "cluster": 0, "in_caption": False, "confidence": 0.3},
    ]
    with tarfile.open(tmp_path / "shards" / "train-00000.tar", "w") as tar:
        for name, content in (("a.jpg", b"picture"), ("a.concepts.json", json.dumps({"concepts": listed}).encode())):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    assert list(read_pairs(tmp_path)) == [Listed(b"picture", (("sea", 1.0, True), ("tree", 0.3, False)))]


def test_a_head_learns_what_lists_say_of_cells_that_look_alike():
    """Cells between sea and tree, in pictures that list the tree: the head says tree, without lists it cannot."""
    texts = torch.tensor(VECTORS)
    cells = F.normalize(torch.tensor([0.5, 0.0, 0.5, 0.0]) + 0.01 * torch.randn(256, 70, 4), dim=-1)
    cells = torch.cat([cells, torch.randn(256, 70, 3)], dim=-1)
    shown = torch.zeros(256, 4)
    shown[:, 3] = 1
    lifted = {name: train_head(cells, w, texts, 10.0, 0) for name, w in (("tree", shown), ("nothing", shown * 0))}
    gain = {name: (head(cells) @ texts.mT).mean((0, 1)) for name, head in lifted.items()}
    assert gain["tree"][3] - gain["tree"][0] > gain["nothing"][3] - gain["nothing"][0] + 0.015


def test_a_tower_gives_what_enters_its_last_convolution():
    class Clip(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = torch.nn.Conv2d(3, 2, 1), torch.nn.Conv2d(2, 3, 1)

        def dense(self, pixels):
            vectors = F.normalize(self.last(self.first(pixels)).flatten(2).mT, dim=-1)
            return DenseFeatures(vectors, (2, 2), maps=None, whole=F.normalize(vectors.mean(1), dim=-1))

    clip, pixels = Clip(), torch.rand(1, 3, 2, 2)
    found, cells = FrozenTower(SimpleNamespace(module=clip, dense=clip.dense)).see(pixels)
    torch.testing.assert_close(cells, torch.cat([found.vectors, clip.first(pixels).flatten(2).mT], dim=-1))


def test_windows_are_labelled_by_their_cells():
    """Two cells, two classes: each place takes its cell's class; pixels without a truth count nowhere."""
    card = SimpleNamespace(classes=("a", "b"), ignore_index=255)
    truth = torch.tensor([[0, 0, 1, 1], [0, 255, 0, 1]])
    one = Seen(torch.eye(2), (1, 2), torch.tensor([1.0, 1.0]), truth, 0)
    for pooled in (False, True):
        counts = measured([one], card, torch.eye(2), 10.0, None, pooled)
        np.testing.assert_array_equal(counts, [[[3, 3], [4, 3], [3, 4]]])


def test_without_photographs_it_says_so(tmp_path, monkeypatch):
    given = ["photographs", str(tmp_path / "none"), "--index", str(tmp_path), "--model", "miniature"]
    monkeypatch.setattr("sys.argv", [*given, "--benchmark", f"coco-mini-panoptic={tmp_path}", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"skipped: .*none is not there"):
        photographs.main()
