"""Batches: what is in them, each good pair once an epoch, validation in one pass."""

import random
from collections import Counter
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip import OPENAI_IMAGENET_TEMPLATES
from open_clip.tokenizer import SimpleTokenizer

from benchmarks.speed.tiny_pairs import caption, write_tar
from tests.tiny_world import picture
from tests.training.loader_world import GOOD, SMALL, concepts_of, digest, loader, make_shards, members, take
from training.batches.augment import Augmentation
from training.batches.batch import Batch, SampleCounts
from training.batches.loader import BatchOptions, repeated, validation_batches
from training.batches.tokens import text_id
from training.shards.files import ShardFiles
from training.shards.found import Source, find_data
from training.shards.order import Slot
from training.shards.stream import Stream

# More workers than cores.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")
TOKENIZER = SimpleTokenizer(context_length=24)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("curated"))


@pytest.fixture(scope="module")
def whole(folder: Path) -> list[Batch]:
    """The first 40 batches of the undisturbed run: three epochs and a half."""
    with loader(folder) as undisturbed:
        return take(undisturbed, 40)


def test_shapes_types_and_keys(whole: list[Batch]) -> None:
    for batch in whole:
        assert len(batch) == 4
        assert (batch.pixels.shape, batch.pixels.dtype) == ((4, 3, 16, 16), torch.uint8)
        assert (batch.captions.shape, batch.captions.dtype) == ((4, 24), torch.int64)
        assert (batch.concepts.shape, batch.concepts.dtype) == ((4, 3, 24), torch.int64)
        assert batch.concept_ids.shape == (4, 3)
        assert batch.caption_ids.shape == (4,)
        assert batch.erase.shape == (4, 4)
        assert set(batch.keys) <= GOOD


def seed_of(key: str) -> int:
    return 100 * int(key[:5]) + int(key[-3:])


@pytest.mark.parametrize("mode", ["caption", "curated-top", "curated-cluster"])
def test_texts_are_those_of_the_pair(folder: Path, mode: str) -> None:
    templates = {template("|") for template in OPENAI_IMAGENET_TEMPLATES}
    prompts = Counter[str]()
    with loader(folder, concepts=mode) as batches:
        for batch in take(batches, 12):
            for i, key in enumerate(batch.keys):
                text, listed = caption(seed_of(key)), concepts_of(seed_of(key))
                assert torch.equal(batch.captions[i], TOKENIZER(text)[0])
                assert batch.caption_ids[i] == text_id("caption", text)
                allowed = [c["concept"] for c in listed if c["in_caption"] or mode != "caption"]
                due = min(3, len(allowed))
                by_id = {text_id("concept", name): name for name in allowed}
                names = [by_id[j] for j in batch.concept_ids[i, :due].tolist()]
                assert len(set(names)) == due
                if mode == "curated-top":
                    assert names == allowed[:3]
                for k, name in enumerate(names):
                    tokens = batch.concepts[i, k].tolist()
                    shown = TOKENIZER.decode(tokens[1 : tokens.index(TOKENIZER.eot_token_id)]).strip()
                    matching = [
                        t for t in templates if torch.equal(TOKENIZER(t.replace("|", name))[0], batch.concepts[i, k])
                    ]
                    assert len(matching) == 1, shown
                    prompts.update(matching)
                for k in range(due, 3):  # short archives are filled with the caption
                    assert torch.equal(batch.concepts[i, k], batch.captions[i])
                    assert batch.concept_ids[i, k] == batch.caption_ids[i]
    assert len(prompts) > 30


def test_without_concepts_plain_shards_do(tmp_path: Path) -> None:
    pairs = [members(f"{i:03d}", i, concepts=None) for i in range(9)]
    path = write_tar(tmp_path / "0.tar", list(chain.from_iterable(pairs)))
    with loader([str(path)], concepts="none") as batches:
        batch = next(batches)
        assert batch.concepts.shape == (4, 0, 24)
        assert batch.concept_ids.shape == (4, 0)
        assert batches.counts.bad == 0


def test_pixels_are_those_of_the_augmentation(folder: Path) -> None:
    with loader(folder, augment="none") as batches:
        for batch in take(batches, 3):
            for key, pixels in zip(batch.keys, batch.pixels, strict=True):
                expected, _ = Augmentation(16, "none")(picture(seed_of(key)), random.Random(0))
                assert torch.equal(pixels, expected)
            assert not batch.erase.any()
    with loader(folder, augment=True) as deit, loader(folder) as default:
        assert digest(next(deit)) == digest(next(default))


def test_a_picture_looks_different_in_every_epoch(whole: list[Batch]) -> None:
    seen: dict[str, list[bytes]] = {}
    for batch in whole:
        for key, pixels in zip(batch.keys, batch.pixels, strict=True):
            seen.setdefault(key, []).append(pixels.numpy().tobytes())
    assert all(len(set(looks)) == len(looks) >= 3 for looks in seen.values())


def places_of_first_epoch(name: str, stream: int, streams: int) -> int:
    shards, collections = find_data([name])
    slot = Slot(SMALL["seed"], stream, streams, SMALL["shuffle_buffer"])
    return len(Stream(collections, ShardFiles(shards), slot, epochs=1).take(1000))


@pytest.mark.parametrize("workers", [0, 2, 3])
@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("shards", ["*", "00001"])
def test_every_epoch_gives_every_good_pair_once(folder: Path, ranks: int, workers: int, shards: str) -> None:
    name, found = str(folder / f"{shards}.tar"), []
    for rank in range(ranks):
        share = places_of_first_epoch(name, rank, ranks)
        given = {"batch_size": 1, "rank": rank, "world_size": ranks, "streams": ranks, "workers": workers}
        with loader([name], **given) as batches:
            for batch in batches:
                if batch.position[rank]["stream"]["taken"] + batch.position[rank]["skip"] > share:
                    break
                found += batch.keys
    expected = [key for key in GOOD if shards == "*" or key.startswith(shards)]
    assert sorted(found) == sorted(expected)


def test_sources_with_weights_are_mixed(folder: Path) -> None:
    sources = [Source((str(folder / "00001.tar"),), 3), Source((str(folder / "00003.tar"),), 1)]
    with loader(sources, augment="none", concepts="none") as batches:
        keys = [key for batch in take(batches, 250) for key in batch.keys]
    share = np.mean([key.startswith("00001") for key in keys])
    assert share == pytest.approx(0.75, abs=0.05)
    counts = Counter(key for key in keys if key.startswith("00003"))
    assert max(counts.values()) - min(counts.values()) <= 1  # epochs of its own


@pytest.mark.parametrize("workers", [0, 2])
def test_validation_is_one_pass_in_order(folder: Path, workers: int) -> None:
    counts = SampleCounts()
    options = BatchOptions(8, 16, "curated-cluster", context_length=24, workers=workers)
    passes = [list(validation_batches([str(folder)], options, counts)) for _ in range(2)]
    keys = [key for batch in passes[0] for key in batch.keys]
    assert keys == sorted(GOOD)
    assert [len(batch) for batch in passes[0]] == [8, 8, 8, 8, 8, 4]
    assert [digest(batch) for batch in passes[0]] == [digest(batch) for batch in passes[1]]
    assert not any(batch.erase.any() for batch in passes[0])
    assert (counts.good, counts.bad) == (88, 16)
    weighed = [Source((str(folder),), 2.0)]
    assert [digest(batch) for batch in validation_batches(weighed, replace(options, workers=0))] == [
        digest(b) for b in passes[0]
    ]


def test_validation_is_the_same_on_every_rank(folder: Path) -> None:
    options = BatchOptions(8, 16, "curated-cluster", context_length=24)
    one, other = (validation_batches([str(folder)], o) for o in (options, replace(options, rank=2, world_size=3)))
    assert [digest(batch) for batch in one] == [digest(batch) for batch in other]


def test_pairs_that_repeat_in_a_batch_are_told_of_where_there_are_no_others(folder: Path, tmp_path: Path) -> None:
    for size, different in ((44, 0), (45, 44), (200, 44)):
        with loader(folder, batch_size=size) as batches:
            said = repeated(next(batches).keys, batches)
            assert (f"{different} different" in said and f"data.batch {size} " in said) if different else not said
    # One key may name several pairs.
    write_tar(tmp_path / "0.tar", [file for i in range(6) for file in members("same", i)])
    with loader(tmp_path, batch_size=6) as batches:
        assert not repeated(next(batches).keys, batches)


@pytest.mark.parametrize("mode", ["caption", "curated-cluster"])
def test_whole_lists_come_with_weights_in_one_prompt(folder: Path, mode: str) -> None:
    with loader(folder, concepts=mode, concepts_per_image=9, whole_lists=True) as batches:
        for batch in take(batches, 12):
            for key, ids, weights, tokens in zip(
                batch.keys, batch.concept_ids, batch.concept_weights, batch.concepts, strict=True
            ):
                wanted = [one for one in concepts_of(seed_of(key)) if one["in_caption"] or mode != "caption"]
                count = len(wanted)
                assert ids.tolist() == [text_id("concept", one["concept"]) for one in wanted] + [0] * (9 - count)
                scores = [np.clip(one["score"], 0.01, 1) for one in wanted] + [0] * (9 - count)
                np.testing.assert_allclose(weights, scores, rtol=1e-6)
                said = TOKENIZER([f"a photo of a {one['concept']}." for one in wanted] or [caption(seed_of(key))])
                assert torch.equal(tokens[: len(said)], said)
                assert (tokens[count:] == said[0]).all()
