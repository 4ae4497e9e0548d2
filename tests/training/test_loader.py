"""Batches: each good pair once an epoch, the same for any number of workers, and bit for bit after going on."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from open_clip import OPENAI_IMAGENET_TEMPLATES
from open_clip.tokenizer import SimpleTokenizer

import training.augment
import training.batches
import training.loader
from tests.tiny_world import THINGS, caption, picture, write_tar
from training.augment import Augmentation
from training.batches import Batch, Counts
from training.errors import MisuseError, TrainingError
from training.loader import Loader, part_size, validation_batches
from training.shard_files import ShardFiles
from training.shard_order import Slot
from training.shards import Source, find_data
from training.stream import Stream
from training.tokens import text_id

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than cores
TOKENIZER = SimpleTokenizer(context_length=24)
SMALL: dict[str, Any] = {
    "image_size": 16,
    "context_length": 24,
    "concepts": "curated-cluster",
    "shuffle_buffer": 25,
    "seed": 5,
}


def concepts_of(seed: int) -> list[dict[str, Any]]:
    """Up to eight concepts, the first two in the caption."""
    rng = np.random.default_rng(seed)
    names = rng.permutation(THINGS)[: int(rng.integers(0, 9))].tolist()
    scores = sorted(rng.uniform(0, 2, len(names)).round(4).tolist(), reverse=True)
    return [
        {"concept": name, "score": score, "cluster": i // 2, "in_caption": i < 2}
        for i, (name, score) in enumerate(zip(names, scores, strict=True))
    ]


def members(key: str, seed: int, **replaced: bytes | None) -> list[tuple[str, bytes]]:
    """A curated pair; None leaves a member out."""
    described = json.dumps({"version": 1, "concepts": concepts_of(seed)}).encode()
    whole = {"jpg": picture(seed), "txt": caption(seed).encode(), "concepts": described} | replaced
    names = {"jpg": "jpg", "txt": "txt", "concepts": "concepts.json"}
    return [(f"{key}.{names[kind]}", data) for kind, data in whole.items() if data is not None]


BAD: dict[str, dict[str, bytes | None]] = {
    "no image": {"jpg": None},
    "no caption": {"txt": None},
    "no .concepts.json": {"concepts": None},
    "empty caption": {"txt": b" \n"},
    "caption is not UTF-8": {"txt": b"caf\xe9"},
    "broken .concepts.json": {"concepts": b'{"version": 1'},
    "truncated picture": {"jpg": picture(0)[:-200]},
    "unreadable picture": {"jpg": b"<html>"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of 3, 31, 0 and 18 pairs; eight of them are bad, each in a way of its own."""
    folder = tmp_path_factory.mktemp("curated")
    bad = iter(BAD.values())
    for shard, count in enumerate([3, 31, 0, 18]):
        pairs = [members(f"{i:03d}", 100 * shard + i, **(next(bad, {}) if i % 6 == 2 else {})) for i in range(count)]
        write_tar(folder / f"{shard:05d}.tar", list(chain.from_iterable(pairs)))
    assert next(bad, None) is None
    return folder


GOOD = {f"{s:05d}/{i:03d}" for s, count in enumerate([3, 31, 0, 18]) for i in range(count) if i % 6 != 2} | {
    "00003/014"
}


def loader(folder: Path | Sequence[Any], **options: Any) -> Loader:
    sources = [str(folder)] if isinstance(folder, Path) else folder
    return Loader(sources, **{"batch_size": 4, **SMALL, **options})


def take(source: Iterator[Batch], count: int) -> list[Batch]:
    return list(islice(source, count))


def digest(batch: Batch) -> str:
    """Hash of all that training sees of a batch."""
    found = blake2b(str((batch.keys, batch.seed)).encode())
    for tensor in (batch.pixels, batch.erase, batch.captions, batch.caption_ids, batch.concepts, batch.concept_ids):
        found.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()


@pytest.fixture(scope="module")
def whole(folder: Path) -> list[Batch]:
    """The first 40 batches of the undisturbed run: three epochs and a half."""
    with loader(folder) as undisturbed:
        return take(undisturbed, 40)


# --- what is in a batch ---


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


# --- each pair once ---


def places_of_first_epoch(name: str, rank: int, ranks: int) -> int:
    shards, collections = find_data([name])
    slot = Slot(SMALL["seed"], rank, ranks, SMALL["shuffle_buffer"])
    return len(Stream(collections, ShardFiles(shards), slot, epochs=1).take(1000))


@pytest.mark.parametrize("workers", [0, 2, 3])
@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("shards", ["*", "00001"])
def test_every_epoch_gives_every_good_pair_once(folder: Path, ranks: int, workers: int, shards: str) -> None:
    name, found = str(folder / f"{shards}.tar"), []
    for rank in range(ranks):
        share = places_of_first_epoch(name, rank, ranks)
        with loader([name], batch_size=1, rank=rank, world_size=ranks, workers=workers) as batches:
            for batch in batches:
                if batch.position["stream"]["taken"] + batch.position["skip"] > share:
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


# --- the same for any number of workers, and after going on ---


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_batches_do_not_depend_on_the_workers(folder: Path, whole: list[Batch], workers: int) -> None:
    with loader(folder, workers=workers) as batches:
        assert [digest(batch) for batch in take(batches, 40)] == [digest(batch) for batch in whole]
        assert [batch.position for batch in whole][-1] == batches.state()


def test_parts_of_any_size_give_the_same_batches(
    folder: Path, whole: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (1, 3, 4):
        monkeypatch.setattr(training.loader, "PART_BYTES", size * 3 * 16 * 16)
        with loader(folder) as batches:
            assert [digest(batch) for batch in take(batches, 40)] == [digest(batch) for batch in whole]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("step", [0, 1, 2, 5, 10, 11, 12, 23, 33])
def test_it_goes_on_bit_for_bit(folder: Path, whole: list[Batch], tmp_path: Path, step: int, workers: int) -> None:
    with loader(folder, workers=2 - workers) as batches:
        read = take(batches, step)
        state = batches.state()
        assert not read or state == read[-1].position
    torch.save({"position": state}, tmp_path / "trainer.pt")
    state = torch.load(tmp_path / "trainer.pt", weights_only=True)["position"]
    with loader(folder, workers=workers, resume=state) as batches:
        assert batches.state() == state
        assert [digest(batch) for batch in take(batches, 6)] == [digest(batch) for batch in whole[step : step + 6]]


def test_another_batch_size_goes_on_with_the_next_pair(folder: Path, whole: list[Batch]) -> None:
    keys = [key for batch in whole for key in batch.keys]
    with loader(folder, batch_size=5, resume=whole[6].position) as batches:
        assert [key for batch in take(batches, 8) for key in batch.keys] == keys[28:68]


def test_what_is_passed_over_is_not_decoded(folder: Path, whole: list[Batch], monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    decode = training.augment.decode

    def counting(*args: Any) -> torch.Tensor:
        decoded.append(1)
        return decode(*args)

    monkeypatch.setattr(training.augment, "decode", counting)
    with loader(folder, resume=whole[30].position) as batches:
        assert not decoded
        assert digest(next(batches)) == digest(whole[31])
    assert len(decoded) <= 8


def test_another_run_is_refused(folder: Path, whole: list[Batch]) -> None:
    with pytest.raises(MisuseError, match="number of ranks: 1 then, 2 now"):
        loader(folder, world_size=2, resume=whole[0].position)
    with pytest.raises(MisuseError, match="seed: 5 then, 6 now"):
        loader(folder, seed=6, resume=whole[0].position)


def test_the_models_random_states_are_left_alone(folder: Path) -> None:
    for workers in (0, 1):
        torch.manual_seed(1)
        random.seed(1)
        np.random.seed(1)
        before = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
        with loader(folder, workers=workers) as batches:
            take(batches, 3)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert random.getstate() == before[1]
        assert str(np.random.get_state()) == before[2]


# --- what cannot be used ---


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_pairs_are_counted_and_passed_over(folder: Path, workers: int) -> None:
    with loader(folder, workers=workers) as batches:
        take(batches, 11)  # the whole epoch of 52, and little more
        counts = batches.counts
        assert set(counts.reasons) == set(BAD)
        assert counts.good >= 44
        assert counts.bad_share == pytest.approx(8 / 52, abs=0.06)
        assert all(example.startswith("0000") and ": " in example for example in counts.examples)
        assert not counts.broken_shards


def test_an_epoch_without_a_good_pair_goes_by_but_data_without_any_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.batches, "MOST_BAD_IN_A_ROW", 100)
    path = write_tar(tmp_path / "0.tar", list(chain.from_iterable(members(f"{i}", i, jpg=b"?") for i in range(5))))
    for workers in (0, 2):
        with (
            loader([str(path)], workers=workers) as batches,
            pytest.raises(TrainingError, match=r"could not be used: 0/\d: unreadable picture") as caught,
        ):
            next(batches)
        assert caught.value.exit_code == 1
    good = members("good", 9)
    write_tar(path, [*chain.from_iterable(members(f"{i}", i, jpg=b"?") for i in range(5)), *good])
    with loader([str(path)]) as batches:
        assert [batch.keys for batch in take(batches, 3)] == [["0/good"] * 4] * 3
        assert batches.counts.bad > 50


def test_a_shard_cut_short_is_used_as_far_as_it_goes_and_named(folder: Path, tmp_path: Path) -> None:
    data = (folder / "00001.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(data[: len(data) // 2])
    with loader(tmp_path, batch_size=2) as batches:
        keys = {key for batch in take(batches, 30) for key in batch.keys}
        assert 5 < len(keys) < 25
        assert "cut short" in batches.counts.broken_shards["cut"]


def test_a_shard_that_vanishes_is_counted_not_fatal(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.tar").write_bytes((folder / "00003.tar").read_bytes())
    with loader(tmp_path) as batches:
        next(batches)
        (tmp_path / "a.tar").unlink()
        assert all(key.startswith("b/") for batch in take(batches, 20)[1:] for key in batch.keys)
        assert any("No such file" in example for example in batches.counts.examples)


# --- validation ---


@pytest.mark.parametrize("workers", [0, 2])
def test_validation_is_one_pass_in_order(folder: Path, workers: int) -> None:
    counts = Counts()
    options = {"batch_size": 8, "image_size": 16, "context_length": 24, "concepts": "curated-cluster"}
    passes = [list(validation_batches([str(folder)], **options, workers=workers, counts=counts)) for _ in range(2)]
    keys = [key for batch in passes[0] for key in batch.keys]
    assert keys == sorted(GOOD)
    assert [len(batch) for batch in passes[0]] == [8, 8, 8, 8, 8, 4]
    assert [digest(batch) for batch in passes[0]] == [digest(batch) for batch in passes[1]]
    assert not any(batch.erase.any() for batch in passes[0])
    assert (counts.good, counts.bad) == (88, 16)
    weighed = [Source((str(folder),), 2.0)]
    assert [digest(batch) for batch in validation_batches(weighed, **options)] == [digest(b) for b in passes[0]]


def test_ranks_validate_on_parts(folder: Path) -> None:
    options = {"batch_size": 8, "image_size": 16, "world_size": 3}
    parts = [list(validation_batches([str(folder)], rank=rank, **options)) for rank in range(3)]
    keys = [key for part in parts for batch in part for key in batch.keys]
    assert len(keys) == len(set(keys)) == len(GOOD) + 2  # those without good concepts


# --- processes, threads and files ---


def test_remote_shards_are_trained_on_and_copies_removed(
    folder: Path, whole: list[Batch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    memory = fsspec.filesystem("memory")
    for path in sorted(folder.glob("*.tar")):
        memory.pipe(f"/trained/{path.name}", path.read_bytes())
    for workers in (0, 2):
        with loader(["memory://trained/*.tar"], workers=workers, resume=None) as batches:
            assert [digest(batch) for batch in take(batches, 40)] == [digest(batch) for batch in whole]
            assert list(tmp_path.iterdir())
        assert not list(tmp_path.iterdir())
    with loader(["memory://trained/*.tar"], resume=whole[20].position) as batches:
        assert digest(next(batches)) == digest(whole[21])
        with pytest.raises(MisuseError, match="say how many"):
            batches.samples  # noqa: B018


def test_samples_and_steps(folder: Path, tmp_path: Path) -> None:
    with loader(folder, cache=tmp_path) as batches:
        assert (batches.samples, batches.steps_per_epoch) == (52, 13)
        assert len(list((tmp_path / "tar-index").iterdir())) == 4
    with loader(folder, samples=1000, batch_size=7, world_size=2) as batches:
        assert (batches.samples, batches.steps_per_epoch) == (1000, 71)
    with loader(folder, batch_size=100) as batches:
        assert batches.steps_per_epoch == 1
        assert len(next(batches)) == 100


def test_workers_leave_signals_to_the_main_process_and_end_with_it(folder: Path, whole: list[Batch]) -> None:
    batches = loader(folder, workers=2)
    before = {process.pid for process in multiprocessing.active_children()}
    found = [digest(batch) for batch in take(batches, 2)]  # one of each worker: both have begun
    children = [process for process in multiprocessing.active_children() if process.pid not in before]
    assert len(children) == 2
    for child in children:
        assert child.pid is not None
        os.kill(child.pid, signal.SIGTERM)
        os.kill(child.pid, signal.SIGINT)
    found += [digest(batch) for batch in take(batches, 38)]
    assert found == [digest(batch) for batch in whole]
    batches.close()
    for child in children:
        child.join(5)
        assert not child.is_alive()
    assert not [thread for thread in threading.enumerate() if thread.name == "batches"]


def test_a_dead_worker_is_an_error_that_says_so(folder: Path) -> None:
    with loader(folder, workers=2) as batches:
        before = {process.pid for process in multiprocessing.active_children()}
        next(batches)
        for child in multiprocessing.active_children():
            if child.pid not in before and child.pid is not None:
                os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(TrainingError, match="fewer workers") as caught:
            take(batches, 100)
        assert caught.value.exit_code == 1


@pytest.mark.parametrize("failing", [False, True])
def test_a_process_may_end_with_the_loader_open(folder: Path, failing: bool) -> None:
    # A traceback that is kept keeps the frames alive that know the workers.
    kill = (
        "import os, signal, sys, multiprocessing as m\n"
        "os.kill(m.active_children()[0].pid, signal.SIGKILL)\n"
        "try:\n    list(loader)\nexcept Exception as error:\n    kept = error\n"
    )
    code = (
        "from training.loader import Loader\n"
        f"loader = Loader([{str(folder)!r}], batch_size=4, image_size=16, workers=2)\n"
        "print(len(next(loader)))\n"
    ) + kill * failing
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "4", "")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"batch_size": 0}, "batch_size: 0"),
        ({"shuffle_buffer": 0}, "shuffle_buffer: 0"),
        ({"rank": 2, "world_size": 2}, "rank 2 of 2"),
        ({"workers": -1}, "-1 workers"),
        ({"concepts": "curated"}, "concepts: curated; expected one of none, caption"),
        ({"concepts_per_image": 0}, "concepts_per_image: 0"),
        ({"concept_temperature": 0}, "concept_temperature: 0"),
        ({"augment": "heavy"}, "augment: heavy"),
    ],
)
def test_wrong_arguments_are_refused(folder: Path, options: dict[str, Any], what: str) -> None:
    with pytest.raises(MisuseError, match=what):
        loader(folder, **options)


@given(st.integers(1, 5000), st.integers(8, 1024))
def test_parts_divide_a_batch_evenly(batch: int, size: int) -> None:
    part = part_size(batch, size)
    parts = -(-batch // part)
    assert 1 <= part <= batch
    assert part * parts - batch < parts  # none is shorter by more than one on average
    assert part == 1 or (part - 1) * 3 * size * size < training.loader.PART_BYTES
