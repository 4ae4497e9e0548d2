"""The commands of README and documentation as they stand, run in a folder where what they name lies.

To what a command says only that is added which makes it quick and needs no download: a model, few and small steps.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.speed.tiny_pairs import caption, write_tar
from cli.examples import EXAMPLES
from tests.data_cards.benchmark_trees import TREES, picture
from tests.integration.commands import cocu, succeed
from tests.tiny_world import make_tiny_clip, pair_members
from tests.tiny_world import picture as pair_picture
from tests.training.curated_world import make_curated

# Commands in which a name in capitals or "..." stands for what the reader has, and those that need several machines.
TEMPLATES = re.compile(r"^torchrun|\.\.\.|\b(RECIPE|SHARDS|INDEX|OUT|CHECKPOINT|IMAGE|FOLDER)\b")
QUICK = {
    "index build": ["--model", "{clip}", "--device", "cpu", "--workers", "1", "--min-count", "1"],
    "index search": ["--model", "{clip}"],
    "index add": ["--model", "{clip}", "--device", "cpu", "--workers", "1"],
    "train": ["--device", "cpu", "--workers", "0", "--no-tensorboard", "steps=2", "data.batch=8", "validation.batch=8"],
    "eval": ["--device", "cpu", "--limit", "4"],
    "eval demo": ["--device", "cpu", "--short-side", "64"],
}


def commands(page: Path) -> list[str]:
    """The commands `cocu ...` of the indented blocks of a page, continued lines joined, comments left out."""
    found: list[str] = []
    lines = iter(page.read_text("utf-8").splitlines())
    for line in lines:
        if not re.match(r"    (cocu|torchrun) ", line):
            continue
        command = line.strip()
        while command.endswith("\\") or command.count('"') % 2:
            command = f"{command.removesuffix(chr(92))} {next(lines).strip()}"
        found.append(command)
    return [command for command in found if not TEMPLATES.search(command)]


def run(command: str, clip: str) -> None:
    words = shlex.split(command, comments=True)[1:]
    group = next((name for name in (" ".join(words[:2]), words[0]) if name in QUICK), "")
    if " ".join(words[:2]) == "eval compare":
        group = ""
    answer = cocu(*words, *(word.format(clip=clip) for word in QUICK.get(group, [])))
    assert answer.code == 0, f"{command}\n{answer.err}{answer.out}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readme(root: Path, folder: Path) -> None:
    clip = make_tiny_clip(folder / "clip")
    for shard in range(110):
        pairs = [f"{shard * 1000 + i:09d}" for i in range(345, 347)] if shard == 12 else [f"{shard:09d}"]
        write_tar(folder / f"shards/train-{shard:05d}.tar", [m for key in pairs for m in pair_members(key, shard)])
    (folder / "hub" / "photos" / "data").mkdir(parents=True)
    photos = [{"image": {"bytes": pair_picture(i), "path": f"{i}.jpg"}, "caption": caption(i)} for i in range(9)]
    pq.write_table(pa.Table.from_pylist(photos), folder / "hub/photos/data/train-00000-of-00001.parquet")
    (folder / "runs" / "demo").mkdir(parents=True)
    (folder / "runs" / "demo" / "curated").symlink_to(
        "../curated"
    )  # `make demo`'s, whose commands a test of its own has
    wanted = commands(root / "README.md")
    assert {command.split()[1] for command in wanted} == {"index", "curate", "train", "data", "eval"}
    for command in wanted:
        run(command, clip)
    assert "concepts" in pq.read_schema(next((folder / "runs" / "photos" / "shards").iterdir())).names


def test_the_questions(root: Path, folder: Path) -> None:
    for name, seed in (("shards", 1), ("more", 2)):
        succeed("data", "miniature", "--pairs", 60, "--seed", seed, "--out", folder / name)
    wanted = commands(root / "docs" / "faq.md")
    assert len(wanted) >= 8
    for command in wanted:
        run(command, "miniature")


def test_the_examples_of_help(folder: Path) -> None:
    clip = make_tiny_clip(folder / "clip")
    for name in ("shards", "more", "new"):
        write_tar(folder / name / "0.tar", [m for i in range(12) for m in pair_members(f"{name}{i:04d}", i)])
    (folder / "photo.jpg").write_bytes(pair_picture(1))
    (folder / "photos.csv").write_text("file,caption\nphoto.jpg,a dog on the grass\n")
    (folder / "captions.csv").write_text("key,caption\na,a dog on the grass\n")
    keys = {"000000000": "shards0000", "000000001": "shards0001"}
    wanted = {path: [line for line, _ in lines] for path, lines in EXAMPLES.items() if path.startswith("cocu curate")}
    build, table = (line for line, _ in EXAMPLES["cocu index build"])
    for path in ("cocu index add", "cocu index search", "cocu index info"):
        wanted[path] = [line for line, _ in EXAMPLES[path]]
    run(build, clip)
    run(table.replace("runs/index", "runs/a"), clip)
    for command in (line for path in sorted(wanted, key=list(EXAMPLES).index) for line in wanted[path]):
        if any(word in command for word in ("score", "--truth", "|")):  # want a truth, judgements or a shell
            continue
        for key, ours in keys.items():
            command = command.replace(key, ours)
        run(command.replace("--anchors", f"--model {clip} --device cpu --workers 1 --anchors"), clip)


@pytest.mark.parametrize("page", ["training", "evaluation"])
def test_a_page(page: str, root: Path, folder: Path) -> None:
    for name in ("curated/shards", "val/shards", "validation/shards"):
        make_curated(folder / name, shards=1, pairs=12, side=20)
    succeed("data", "miniature", "--split", "val", "--seed", 2, "--pairs", 6, "--out", folder / "truth")
    for name in ("val", "validation"):  # what a page calls so is both: pairs, and pictures with their truth
        for file in (folder / "truth").iterdir():
            (folder / name / file.name).write_bytes(file.read_bytes())
    TREES["voc2012"].make(folder / "data")
    picture(folder / "photo.jpg", 40, 60)
    make_tiny_clip(folder / "clip")
    if page == "evaluation":
        small = ["model.image_size=16", "model.width=16", "model.text.width=16"]
        succeed("train", "miniature", "--data", "curated", "--val", "curated", "--out", "RUN", *QUICK["train"], *small)
        for name in ("baseline", "mine"):
            measure = ("--benchmark", "miniature=val", "--out", f"results/{name}", *QUICK["eval"])
            succeed("eval", "RUN/best", *measure)
        for file in (folder / "results" / "mine").rglob("*"):
            file.unlink() if file.is_file() else None
        wanted = commands(root / "docs" / "evaluation.md")
    else:
        wanted = commands(root / "docs" / "training.md")
    assert len(wanted) >= 2
    for command in wanted:
        run(command, "")
