"""A parser and formats that the house does not know, through their doors into whole commands."""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmarks.speed.tiny_pairs import THINGS, caption
from curation.concepts import extractor
from curation.concepts.noun_phrases import NounOptions
from curation.concepts.parser import PARSERS
from curation.index.opened import index_nouns, open_index
from curation.reading.captioned_tables import BadRow, Row
from curation.reading.formats import FORMATS, Format, NewMembers, Original
from curation.reading.pairs import CaptionOptions, Pair
from curation.reading.tables import Lines, TextTable
from files.registry import Registry
from files.rejects import Reject
from files.workers import WorkerPool
from tests.integration.commands import World, cocu, concepts_of, manifest, members_of, succeed
from tests.strangers_package import install
from tests.tiny_world import picture


class ListedWords:
    """A parser without a grammar."""

    help = "words [of a list]"
    needs_torch = False

    def __init__(self, options: NounOptions) -> None:
        self.listed = {"dog", "cat", "horse", "boat", "car", "tree"}

    def concepts(self, captions: Sequence[str]) -> list[list[str]]:
        return [[word for word in caption.split() if word in self.listed] for caption in captions]


@pytest.fixture
def doors(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the doors hold is as it was when the test ends."""
    door: Registry[Any]
    for door in (PARSERS, FORMATS):
        list(door)  # the house's own are there
        for held in ("_added", "_packages"):
            monkeypatch.setattr(door, held, dict(getattr(door, held)))


def enter(way: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "by hand":
        PARSERS.add("listed", ListedWords)
    else:
        code = f"class NounOptions: ...\nclass Sequence(list): ...\n\n{inspect.getsource(ListedWords)}"
        install(monkeypatch, folder, "[cocu.parsers]\nlisted = stranger:ListedWords\nodd = stranger:len\n", code)


@pytest.mark.usefixtures("doors")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("way", ["by hand", "as a package"])
def test_a_parser_enters(
    way: str, workers: int, world: World, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("index", "build", world.shards, "--model", world.model, "--parser", "listed", "--min-count", 1)
    early = cocu(*command, "--out", tmp_path / "early")
    assert (early.code, "--parser listed: expected one of spacy" in early.err) == (2, True)
    enter(way, tmp_path / "site", monkeypatch)
    started: list[int] = []

    class Pool(WorkerPool):
        def __init__(self, processes: int, *rest: Any) -> None:
            started.append(processes)
            super().__init__(processes, *rest)

    monkeypatch.setattr(extractor, "WorkerPool", Pool)
    monkeypatch.setattr(extractor, "POOL_THRESHOLD", 1)
    succeed(*command, "--out", tmp_path / "out", "--workers", workers)
    assert started == [workers] * (workers > 1)
    for path in sorted((tmp_path / "out" / "embeddings").iterdir()):
        table = pq.read_table(path)
        found = dict(zip(table["caption"].to_pylist(), table["concepts"].to_pylist(), strict=True))
        assert found == {text: [word for word in text.split() if word in THINGS[:6]] for text in found}
        assert any(found.values())
    assert index_nouns(open_index(tmp_path / "out")).parser == "listed"
    assert index_nouns(open_index(index)).parser == "spacy"
    assert "noun_parser" not in manifest(index)["parameters"]
    other = cocu(*command[:-4], "--out", tmp_path / "out", "--min-count", 1)
    assert (other.code, 'noun_parser: "listed" there, null now' in other.err) == (2, True)


@pytest.mark.usefixtures("doors")
def test_help_lists_the_parsers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter("as a package", tmp_path / "site", monkeypatch)
    words = " ".join(succeed("index", "build", "--help").out.replace("│", " ").split())
    assert "spacy: noun phrases, as spaCy's grammar finds them" in words
    assert "listed: words [of a list] (package cocu-stranger)" in words
    assert "odd: cannot be used (package cocu-stranger)" in words


class Piped(TextTable):
    """A table: image|caption on each line, under no header."""

    suffixes = (".piped",)

    def columns(self) -> list[str]:
        return ["image", "caption"]

    def rows(self, lines: Lines, offset: int) -> Iterator[tuple[int, Row]]:
        lines.seek(offset)
        start = lines.offset
        for line in lines:
            image, bar, text = line.rstrip("\n").partition("|")
            yield start, {"image": image, "caption": text} if bar else BadRow("broken row: no bar")
            start = lines.offset


class HexLines(Format):
    """Pairs: key, picture in hexadecimal digits and caption on each line."""

    suffixes = (".hex",)

    def pairs(self, options: CaptionOptions) -> Iterator[Pair | Reject]:
        for line in Path(self.url).read_text().splitlines():
            key, image, text = line.split(" ", 2)
            data = bytes.fromhex(image)
            yield Pair(key, data, (text,), zlib.crc32(data)) if text else Reject(key, "empty caption")

    @contextmanager
    def originals(self, options: CaptionOptions) -> Iterator[Iterator[Original]]:
        found = (pair for pair in self.pairs(options) if isinstance(pair, Pair))
        yield (
            NewMembers(pair.key, pair.checksum, [("png", pair.image), ("txt", pair.captions[0].encode())])
            for pair in found
        )

    def weight(self, pairs: Sequence[Pair]) -> int:
        return sum(2 * len(pair.image) for pair in pairs)


def written(folder: Path, form: str, count: int = 12) -> Path:
    """Pairs in a form of their own; what is to be given to the command."""
    pictures = [picture(i, form="PNG") for i in range(count)]
    if form == "piped":
        for i, data in enumerate(pictures):
            (folder / f"p{i}.png").write_bytes(data)
        lines = [f"p{i}.png|{caption(i)}\n" for i in range(count)]
        (folder / "t.piped").write_text("".join([*lines, "no bar\n"]))
    else:
        for shard in range(2):
            lines = [f"p{i} {pictures[i].hex()} {caption(i)}\n" for i in range(shard, count, 2)]
            (folder / f"{shard}.hex").write_text("".join([*lines, f"e{shard} 00 \n"]))
    return folder


@pytest.mark.usefixtures("doors")
@pytest.mark.parametrize(("form", "known"), [("piped", Piped), ("hex", HexLines)])
def test_a_format_enters(
    form: str, known: type[Format], world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curation.reading.shards.ROWS_PER_TABLE_SHARD", 5)
    (tmp_path / "data").mkdir()
    data = written(tmp_path / "data", form)
    out = tmp_path / "index"
    command = ("index", "build", data, "--model", world.model, "--out", out, "--max-rejects", 0.5, "--min-count", 1)
    assert "holds neither tars nor a table" in cocu(*command).err
    FORMATS.add(form, known)
    succeed(*command)
    inputs = manifest(out)["inputs"]
    assert all(list(item) == ["name", "url", "size", "rows", "offset"] for item in inputs)
    names = ["t-00000", "t-00001", "t-00002"] if form == "piped" else ["0", "1"]
    assert [item["name"] for item in inputs] == names
    succeed("curate", "run", out, "--out", tmp_path / "curated", "--neighbours", 3)
    found: dict[str, bytes] = {}
    for name in names:
        shard = tmp_path / "curated" / "shards" / f"{name}.tar"
        found |= dict(members_of(shard))
        assert concepts_of(shard)
    found = {name: content for name, content in found.items() if not name.endswith(".concepts.json")}
    assert found == {
        **{f"p{i}.png": picture(i, form="PNG") for i in range(12)},
        **{f"p{i}.txt": caption(i).encode() for i in range(12)},
    }
    assert pq.read_table(out / "rejects.parquet").num_rows == (1 if form == "piped" else 2)


@pytest.mark.usefixtures("doors")
def test_an_index_of_a_format_that_is_gone_says_so(world: World, tmp_path: Path) -> None:
    FORMATS.add("hex", HexLines)
    data = written(tmp_path, "hex")
    succeed("index", "build", data, "--model", world.model, "--out", tmp_path / "index", "--max-rejects", 0.5)
    del FORMATS._added["hex"]
    answer = cocu("curate", "run", tmp_path / "index", "--out", tmp_path / "curated", "--neighbours", 3)
    assert (answer.code, "0.hex: no shard; its name ends in none of .csv, " in answer.err) == (2, True), answer.err
