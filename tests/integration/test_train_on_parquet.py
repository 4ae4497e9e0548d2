"""One index curated into tars and into Parquet: training, weights and pages see the same pairs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.reading.pairs import CaptionOptions, Pair
from curation.reading.shards import find_shards, read_pairs
from files.errors import CocuError
from tests.integration.commands import World, succeed
from tests.integration.test_parquet_shards import SCHEMA, curated, rows
from tests.integration.training_processes import Running, arguments, losses
from tests.training.loader_world import digest, loader, take
from training.batches.check import check_data
from training.batches.loader import Loader
from training.shards.found import Source

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")
# Columns of the source: with keys of its own; with such that tell little; with paths alone; and neither, under names
# that nobody expects.
FORMS = {"keys": SCHEMA.names, "odd": SCHEMA.names, "paths": ["image", "caption"], "bytes": ["data", "words"]}


@dataclass(frozen=True)
class Both:
    """The two curations, and the folder that they were made of."""

    tars: Path
    tables: Path
    source: Path

    @property
    def pairs(self) -> list[Path]:
        return [self.tars, self.tables]


def odd(some: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of which keys are missing or come twice, once of a reject; and a picture again, with a reject between."""
    broken = {"image": {"bytes": b"\x00 no picture", "path": None}, "caption": "broken", "id": 8}
    again = {**some[9], "id": 5, "caption": "a dog behind a reject"}
    keys = {0: None, 1: 7, 2: 7, 7: 8}
    return [
        broken,
        *({**row, "id": keys.get(i, row["id"])} for i, row in enumerate(some[:10])),
        broken,
        again,
        *some[10:],
    ]


def made(folder: Path, model: str, form: str, *options: object) -> Both:
    source = folder / "hub" / "data"
    source.mkdir(parents=True)
    named: Sequence[object] = ()
    for part in range(2):
        table = pa.Table.from_pylist(odd(rows(part)) if form == "odd" else rows(part), SCHEMA)
        if form == "bytes":
            data = [row["image"]["bytes"] for row in rows(part)]
            table = pa.table(
                {"data": pa.array(data), "words": table["caption"], "caption": table["day"].cast("string")}
            )
            named = ("--image-column", "data", "--caption-column", "words")
        else:
            table = table.select(FORMS[form])
        pq.write_table(table, source / f"train-{part:05d}-of-00002.parquet", row_group_size=7)
    index = folder / "index"
    given = (source.parent, "--model", model, "--min-count", 1, "--max-rejects", 0.2, *named)
    succeed("index", "build", *given, "--out", index)
    tars = curated(index, folder / "tars", *options)
    return Both(tars, curated(index, folder / "tables", "--shards-format", "parquet", *options), source.parent)


@pytest.fixture(scope="module", params=FORMS)
def both(request: pytest.FixtureRequest, world: World, tmp_path_factory: pytest.TempPathFactory) -> Both:
    folder = tmp_path_factory.mktemp(request.param)
    localised = ("--localise", "--model", world.model) if request.param == "paths" else ()
    return made(folder, world.model, request.param, *localised)


def digests(batches: Loader, count: int) -> list[str]:
    return [digest(batch) for batch in take(batches, count)]


def test_they_are_the_same_tars(both: Both) -> None:
    with loader([str(both.tables)], streams=2) as batches:
        files = batches._files
        for number, shard in enumerate(files.shards):
            files.spans(number)
            whole = (both.tars / "shards" / f"{shard.name}.tar").read_bytes()
            assert Path(files.path(number)).read_bytes() == whole
            assert shard.size == len(whole)


@pytest.mark.parametrize(
    "options", [{}, {"streams": 4}, {"streams": 2, "workers": 2, "rank": 1, "world_size": 2}, {"concepts": "none"}]
)
def test_batches_are_the_same(both: Both, options: dict[str, object]) -> None:
    found = []
    for folder in (*both.pairs, both.tables / "shards", both.tables / "shards" / "*.parquet"):
        with loader([str(folder)], **options) as batches:
            assert batches.samples == (50 if "odd" in str(folder) else 48)
            found.append(digests(batches, 20))
    assert found[0] == found[1] == found[2] == found[3]


@pytest.mark.parametrize("streams", [1, 2])
def test_a_place_in_the_one_is_a_place_in_the_other(both: Both, streams: int) -> None:
    with loader([str(both.tars)], streams=streams) as batches:
        expected = digests(batches, 16)[10:]
    for first, then in (both.pairs, both.pairs[::-1]):
        with loader([str(first)], streams=streams) as batches:
            take(batches, 10)
            state = batches.state()
        with loader([str(then)], streams=streams, resume=state) as batches:
            assert digests(batches, 6) == expected


def test_it_is_read_again_under_the_same_keys(both: Both) -> None:
    found = []
    for folder in both.pairs:
        shards = find_shards([str(folder)])
        named = (
            CaptionOptions(image_column="data", caption_column="words") if "bytes" in str(folder) else CaptionOptions()
        )
        items = [item for shard in shards for item in read_pairs(shard, named)]
        found.append([(item.key, item.image, item.captions[0]) for item in items if isinstance(item, Pair)])
    assert found[0] == found[1]


def test_weights_are_of_the_same_pairs(both: Both, tmp_path: Path) -> None:
    found = []
    for folder in both.pairs:
        weights = tmp_path / f"{folder.name}.parquet"
        succeed("curate", "balance", folder, "--out", weights, "--cap", 2)
        with loader([str(folder)], weights=weights) as batches:
            found.append(digests(batches, 20))
            assert batches.counts.not_drawn
            assert not batches.counts.unweighted
    assert found[0] == found[1]


@pytest.mark.parametrize("output", ["sidecar", "tables"])
def test_concepts_beside_the_source_give_the_same_batches(output: str, both: Both, tmp_path: Path) -> None:
    """Where its rows tell the keys and captions that they were indexed by; else it is told, and nothing is mixed up."""
    beside = curated(both.source.parent / "index", tmp_path / output, "--output", output)
    sources = [Source((str(both.source),), None, (beside,))]
    if "bytes" in str(both.source):  # under names that nobody expects
        with pytest.raises(CocuError, match=r"is not in .*parquet, or not in this order"), loader(sources) as batches:
            digests(batches, 30)
        return
    check_data(sources, "curated-top")
    with loader([str(both.tars)]) as tars, loader(sources) as tables:
        assert tables.steps_per_epoch == tars.steps_per_epoch
        assert digests(tables, 30) == digests(tars, 30)


def test_a_pair_left_out_is_not_taken_for_another_of_its_key(world: World, tmp_path: Path) -> None:
    """Curation gives the key of a row that it leaves out to the next; here it is the sample of the row left out."""
    some = [{**row, "id": 7 if i in (2, 3) else row["id"], "caption": "" if i == 2 else row["caption"]}
            for i, row in enumerate(rows(0))]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(some, SCHEMA), tmp_path / "pairs.parquet")
    index = tmp_path / "index"
    given = ("--model", world.model, "--min-count", 1, "--max-rejects", 1)
    succeed("index", "build", tmp_path / "pairs.parquet", *given, "--out", index)
    beside = curated(index, tmp_path / "curated", "--output", "tables")
    sources = [Source((str(tmp_path / "pairs.parquet"),), None, (beside,))]
    with pytest.raises(CocuError, match=r"its pair '7' is not in .*, or not in this order"), loader(sources) as batches:
        digests(batches, 1)


def test_a_balanced_folder_is_of_the_same_tars(both: Both, tmp_path: Path) -> None:
    for pairs in both.pairs:
        for cap in (1, 3):
            out = tmp_path / f"{pairs.name}-{cap}"
            succeed("curate", "balance", pairs, "--cap", cap, "--out", out)
            assert "already finished" in succeed("curate", "balance", pairs, "--cap", cap, "--out", out).err
    for cap in (1, 3):
        tars, tables = (tmp_path / f"{pairs.name}-{cap}" / "shards" for pairs in both.pairs)
        assert [path.name for path in sorted(tars.iterdir())] == [path.name for path in sorted(tables.iterdir())]
        for path in tars.iterdir():
            assert path.read_bytes() == (tables / path.name).read_bytes()


@pytest.mark.parametrize("both", ["odd"], indirect=True)
def test_the_command_trains_alike_and_goes_on(both: Both, tmp_path: Path) -> None:
    for name, folder in (("tars", both.tars), ("tables", both.tables)):
        succeed(*arguments(tmp_path / name, folder, "steps=5", "data.streams=2"))
    assert losses(tmp_path / "tables") == losses(tmp_path / "tars")
    assert list(losses(tmp_path / "tables")) == [1, 2, 3, 4, 5]
    ranks = Running(tmp_path / "ranks", both.tables, "steps=5", "data.streams=2", ranks=2)
    ranks.end()
    assert losses(tmp_path / "ranks") == pytest.approx(losses(tmp_path / "tars"), rel=1e-4)


def test_pages_show_pictures_though_the_source_is_gone(both: Both, tmp_path: Path) -> None:
    pages = []
    moved = both.source.with_name("moved")
    shutil.move(both.source, moved)
    try:
        for folder in both.pairs:
            succeed("curate", "report", folder, "--out", tmp_path / "report.html")
            pages.append((tmp_path / "report.html").read_text().count("data:image/jpeg"))
    finally:
        shutil.move(moved, both.source)
    assert pages[0] == pages[1] > 0
