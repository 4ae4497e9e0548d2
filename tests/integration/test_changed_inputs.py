"""What changes between two commands: shards that go or change, another model, other parameters, damaged folders."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.commands import Answer, World, cocu
from tests.integration.faults import SHARDS, Undisturbed, WarmCommand, build, contents, curate, same
from tests.tiny_world import make_shards, make_tiny_clip, picture


def refused(answer: Answer, code: int, *said: object) -> None:
    """Assert that a command ended with this code and one message, which says all this."""
    assert answer.code == code, answer.err + answer.out
    assert "Traceback" not in answer.err
    assert "This is a bug" not in answer.err
    assert "\nerror: " in f"\n{answer.err}"
    for part in said:
        assert str(part) in answer.err, answer.err


@contextmanager
def replaced(path: Path, data: bytes | None) -> Iterator[None]:
    """Other bytes in a file, or no file, for a while."""
    before = path.read_bytes()
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(before)


def other_picture(data: bytes) -> bytes:
    at = data.index(b"JFIF") + 200
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


CHANGES: dict[str, tuple[Callable[[bytes], bytes | None], str]] = {
    "gone": (lambda data: None, "is no longer there; put it back and run the same command again"),
    "longer": (lambda data: data + bytes(10_240), "it has changed; put the old one back"),
    "another picture": (other_picture, "other pictures or captions than the index was built from"),
    "another key": (lambda data: data.replace(b"000070001", b"x00070001"), "the shard has changed"),
    "no tar any more": (lambda data: b"\0" * len(data), "pair '000070000' is in the index but no longer in the shard"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_shard_that_changes_before_curate(change: str, undisturbed: Undisturbed, tmp_path: Path) -> None:
    out, path = tmp_path / "curated", undisturbed.shards / "00007.tar"
    make, said = CHANGES[change]
    with replaced(path, make(path.read_bytes())):
        for _ in range(2):
            refused(cocu(*curate(undisturbed.index, out)), 1, f"1 of {SHARDS} shards could not be curated", path, said)
            assert len(list((out / "shards").iterdir())) == SHARDS - 1
            assert {path.parent.name for path in out.rglob("*00007*")} <= {"failed"}  # what was tried stands there
    answer = cocu(*curate(undisturbed.index, out))
    assert answer.code == 0, answer.err
    assert f"{SHARDS - 1} of {SHARDS} shards are done already" in answer.err
    same(out, undisturbed.curated)


def test_a_shard_that_goes_before_an_index_is_done(world: World, warm: WarmCommand, tmp_path: Path) -> None:
    shards, out = tmp_path / "shards", tmp_path / "index"
    paths = make_shards(shards, 3, 8)
    whole = paths[1].read_bytes()
    paths[1].write_bytes(whole[:-100])
    warm.start(build(shards, out, world.model), tmp_path / "log", 4)  # after the manifest: tables and states
    assert warm.wait() == -signal.SIGKILL
    assert [path.name for path in (out / "state").glob("*.json")] == ["00000.json"]
    arguments = build(shards, out, world.model)
    paths[1].unlink()
    refused(cocu(*arguments), 2, out, "input 00001: there, not now")
    refused(cocu(*build(f"{shards}/{{00000..00002}}.tar", out, world.model)), 2, paths[1], "no such file")
    paths[1].write_bytes(whole)
    done = paths[0].read_bytes()
    paths[0].write_bytes(done + bytes(10_240))
    refused(cocu(*arguments), 2, out, f"input 00000: size {len(done)} there, {len(done) + 10_240} now")
    paths[0].write_bytes(done)
    assert cocu(*arguments).code == 0  # nothing was done of the one that has changed
    assert cocu(*build(shards, tmp_path / "anew", world.model)).code == 0
    same(tmp_path / "anew", out)


def test_an_index_of_another_model(world: World, tmp_path: Path) -> None:
    model, out = make_tiny_clip(tmp_path / "clip", seed=1), tmp_path / "index"
    arguments = build(world.shards, out, model)
    assert cocu(*arguments).code == 0
    weights = json.loads((out / "manifest.json").read_text())["parameters"]["weights"]
    make_tiny_clip(tmp_path / "clip", seed=2)
    image = tmp_path / "a.jpg"
    image.write_bytes(picture(0))
    for command in (
        ("index", "search", out, "a dog"),
        ("index", "search", out, "--image", image),
        curate(out, tmp_path / "curated", "--anchors", world.shards),
    ):
        refused(cocu(*command), 2, f"{out}: was built with --model {model}", "where you trust that model, name it")
        refused(
            cocu(*command, "--model", model),
            2,
            f"{out} was built with another model",
            model,
            "name the model that built the index",
        )
    refused(cocu(*arguments), 2, out, f'weights: "{weights}" there, "', "another --out")
    assert cocu(*curate(out, tmp_path / "curated-2")).code == 0, "without anchors no model is needed"


def test_other_parameters_are_refused_with_both_values(undisturbed: Undisturbed, tmp_path: Path) -> None:
    index, curated = undisturbed.index, undisturbed.curated
    before = contents(index), contents(curated)
    arguments = build(undisturbed.shards, index, undisturbed.model)
    refused(cocu(*arguments, "--min-count", 3), 2, index, "min_count: 2 there, 3 now")
    refused(cocu(*arguments, "--caption-field", "x"), 2, index, 'caption_field: null there, "x" now')
    refused(
        cocu(*arguments[:2], *make_shards(tmp_path, 1, 1), *arguments[3:]), 2, index, "there, not now", " more such"
    )
    refused(cocu(*curate(index, curated), "--neighbours", 9), 2, curated, "neighbours: 8 there, 9 now")
    refused(cocu(*curate(index, curated, "--write-caption", "c")), 2, curated, 'write_caption: null there, "c" now')
    refused(cocu(*curate(index, curated, "--anchors", tmp_path)), 2, curated, "anchors: false there, true now")
    assert list(map(list, before)) == [list(contents(index)), list(contents(curated))]


def test_options_of_the_last_steps_may_change_until_the_end(undisturbed: Undisturbed, tmp_path: Path) -> None:
    out = tmp_path / "index"
    arguments = build(undisturbed.shards, out, undisturbed.model)
    refused(cocu(*arguments, "--min-count", 1000), 1, "no concept is named by 1000 captions or more; lower --min-count")
    coarse = ("--min-count", 15, "--factory", "PQ2x4", "--min-recall", 1)
    refused(cocu(*arguments, *coarse), 1, out / "images.faiss", "under --min-recall 1", "another --factory", "are kept")
    answer = cocu(*arguments)
    assert answer.code == 0, answer.err
    assert f"{SHARDS} of {SHARDS} shards are done already" in answer.err
    same(out, undisturbed.index)


def test_an_index_that_was_built_anew_is_another(world: World, index: Path, curated: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shutil.copytree(world.shards, shards)
    data = (shards / "00000.tar").read_bytes()
    answers = []
    for _ in range(2):
        shutil.rmtree(tmp_path / "index", ignore_errors=True)
        assert cocu(*build(shards, tmp_path / "index", world.model)).code == 0
        answers.append(cocu(*curate(tmp_path / "index", tmp_path / "curated")))
        (shards / "00000.tar").write_bytes(other_picture(data))
    assert answers[0].code == 0
    refused(answers[1], 2, tmp_path / "curated", 'index_content: "')


def test_two_runs_at_once(undisturbed: Undisturbed, warm: WarmCommand, tmp_path: Path) -> None:
    for out, arguments in (
        (tmp_path / "index", build(undisturbed.shards, tmp_path / "index", undisturbed.model)),
        (tmp_path / "curated", curate(undisturbed.index, tmp_path / "curated")),
    ):
        process = warm.start(arguments, tmp_path / "log", 5, signal.SIGSTOP)
        assert warm.stands(), (tmp_path / "log").read_text()
        refused(cocu(*arguments), 1, f"{out}: another run is at work on this folder (process {process} on ", "wait for")
        os.kill(process, signal.SIGCONT)
        assert warm.wait() == 0, (tmp_path / "log").read_text()


def test_folders_in_each_others_place(undisturbed: Undisturbed, tmp_path: Path) -> None:
    index, curated = undisturbed.index, undisturbed.curated
    indexing = build(undisturbed.shards, curated, undisturbed.model)
    out = tmp_path / "out"
    for answer, folder, kind in (
        (cocu(*curate(curated, out)), curated, "curated"),
        (cocu("index", "info", curated), curated, "curated"),
        (cocu("index", "search", curated, "a dog"), curated, "curated"),
        (cocu("curate", "query", index, "SELECT 1"), index, "index"),
        (cocu("curate", "report", index, "--out", tmp_path / "r.html"), index, "index"),
        (cocu(*indexing), curated, "curated"),
        (cocu(*curate(index, index)), index, "index"),
    ):
        refused(answer, 2, folder, repr(kind))
    refused(cocu(*curate(tmp_path / "none", out)), 2, tmp_path / "none", "expected a folder made by `cocu index build`")
    assert not out.exists()


@pytest.mark.parametrize("text", ["", '{"kind": "index", "format": 1', "null", '{"kind": "index", "format": 1}'])
def test_a_damaged_manifest(text: str, undisturbed: Undisturbed, tmp_path: Path) -> None:
    index, curated = undisturbed.index, undisturbed.curated
    for folder, commands in (
        (
            index,
            (
                ("index", "info", index),
                ("index", "search", index, "a dog"),
                curate(index, tmp_path / "out"),
                build(undisturbed.shards, index, undisturbed.model),
            ),
        ),
        (curated, (("curate", "query", curated, "SELECT 1"), curate(index, curated))),
    ):
        path = folder / "manifest.json"
        with replaced(path, text.replace("index", folder.name).encode()):
            for command in commands:
                answer = cocu(*command)
                if text.endswith("1}"):  # whole, but of nothing
                    assert answer.code in (1, 2)
                    refused(answer, answer.code, folder)
                else:
                    refused(answer, 1, path, "broken (", "put back a copy of it")
    same(curated, undisturbed.curated)


DAMAGES = [
    "concepts.parquet",
    "captions.faiss",
    "images.faiss",
    "rows/offsets.npy",
    "rows/concept_ids.npy",
    "rows/text_vectors.npy",
    "rows/image_hash.npy",
    "embeddings/00003.parquet",
    "rejects.parquet",
]


@pytest.mark.parametrize("damage", ["gone", "cut", "empty"])
def test_a_damaged_index(damage: str, undisturbed: Undisturbed, tmp_path: Path) -> None:
    arguments = curate(undisturbed.index, tmp_path / "curated")
    for name in DAMAGES:
        path = undisturbed.index / name
        with replaced(path, {"gone": None, "cut": path.read_bytes()[:-30], "empty": b""}[damage]):
            refused(cocu(*arguments), 1, f"{path}: {'missing' if damage == 'gone' else 'broken ('}", "put ")
    assert cocu(*arguments).code == 0
    same(tmp_path / "curated", undisturbed.curated)


def test_damaged_embeddings_of_an_index_that_is_not_done(undisturbed: Undisturbed, tmp_path: Path) -> None:
    out = tmp_path / "index"
    arguments = build(undisturbed.shards, out, undisturbed.model)
    refused(cocu(*arguments, "--min-count", 1000), 1, "lower --min-count")
    path = out / "embeddings" / "00003.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    refused(cocu(*arguments), 1, path)
    path.write_bytes(whole)
    assert cocu(*arguments).code == 0
    same(out, undisturbed.index)
