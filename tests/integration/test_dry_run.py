"""`--dry-run`: what is estimated is what a run then finds, and nothing of it is left."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli.dry_run import duration
from curation.reading.pairs import Pair
from curation.reading.shards import Shard
from curation.runs import trial
from curation.runs.shard_stage import ShardStage
from curation.runs.trial import SAMPLED_PAIRS, SAMPLED_SHARDS, Trial, TrialEnded
from tests.integration.commands import PAIRS, SHARDS, World, cocu, make_table, succeed


def told(out: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in out.splitlines():
        name, _, words = line.strip().partition("  ")
        found.setdefault(name, []).append(words.strip())
    return found


@pytest.fixture(autouse=True)
def own_folder_of_temporary_files(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_an_index_and_a_curation_are_tried_and_nothing_stays(
    world: World, tmp_path: Path, own_folder_of_temporary_files: Path
) -> None:
    options = ("--min-count", 1, "--device", "cpu", "--workers", 1)
    build = ("index", "build", world.shards, "--model", world.model, *options)
    pairs = PAIRS * len(SHARDS)
    answer = succeed(*build, "--out", tmp_path / "index", "--dry-run")
    assert not list(tmp_path.iterdir())
    assert not [path for path in own_folder_of_temporary_files.iterdir() if path.name.startswith("cocu-trial-")]
    size = sum(path.stat().st_size for path in Path(world.shards).glob("*.tar"))
    said = told(answer.out)
    assert said["reads"][0].startswith(f"{len(list(Path(world.shards).glob('*.tar')))} tars, {size / 1000:,.1f} kB")
    assert said["pairs"][0].startswith(f"about {pairs}, by {pairs} that were read")
    assert re.match(r"about \d+ s: \d+ s until the first, then [\d,]+ a second", said["time"][0])
    assert "FAISS indexes (Flat)" in said["disk"][0]
    succeed(*build, "--out", tmp_path / "index")
    answer = succeed("curate", "run", tmp_path / "index", "--out", tmp_path / "curated", "--dry-run", "--processes", 2)
    assert told(answer.out)["pairs"] == [str(pairs)]
    assert "for each process" in told(answer.out)["memory"][0]
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    anchors = ("--anchors", world.shards, "--model", world.model, "--device", "cpu")
    answer = succeed("curate", "run", tmp_path / "index", "--out", tmp_path / "curated", "--dry-run", *anchors)
    assert "embed pairs" in answer.out
    assert "Curating the --anchors comes on top" in answer.out


def test_rows_of_a_table_are_known_and_its_pictures_are_measured(world: World, tmp_path: Path) -> None:
    table = make_table(tmp_path / "table")
    given = ("--model", world.model, "--out", tmp_path / "out", "--device", "cpu", "--workers", 1)
    said = told(succeed("index", "build", table, *given, "--dry-run").out)
    assert said["reads"][0].startswith(f"1 table, {table.stat().st_size:,} bytes; pictures of ")
    assert said["pairs"][0].startswith("about 12, by 12 that were read")


def test_what_a_run_refuses_a_trial_refuses(world: World, tmp_path: Path) -> None:
    answer = cocu("index", "build", tmp_path / "nowhere.tar", "--out", tmp_path / "out", "--dry-run")
    assert answer.code == 2
    assert "nowhere.tar" in answer.err
    answer = cocu("curate", "run", tmp_path / "nowhere", "--out", tmp_path / "out", "--dry-run")
    assert (answer.code, "no manifest.json there" in answer.err) == (2, True)
    for options, message in (
        (("--part", "finish"), "--dry-run --part finish: it does none of the shards"),
        (("--part", "train"), "--dry-run --part train: it does none of the shards"),
        (("--retry-failed",), "--dry-run --retry-failed: a trial does not look at what has failed"),
    ):
        answer = cocu("index", "build", world.shards, "--out", tmp_path / "out", "--dry-run", *options)
        assert (answer.code, message in answer.err) == (2, True), answer.err
    assert not list(tmp_path.iterdir())


class Reader:
    """Of shards whose pairs weigh as many bytes as the shard is wide."""

    def __init__(self, width: int) -> None:
        self.width = width

    def weight(self, pairs: list[Pair]) -> int:
        return self.width * len(pairs)


class Made(Shard):
    @property
    def reader(self) -> Reader:  # type: ignore[override]
        return Reader(int(self.url))


def made(counts: list[int], width: int = 1000) -> list[Shard]:
    return [Made(str(n), str(width), count * width) for n, count in enumerate(counts)]


def pairs_of(shard: Shard) -> list[Pair]:
    return [Pair(str(n), b"x" * 10, (f"caption {n}",)) for n in range(shard.size // int(shard.url))]


def tried(stages: list[ShardStage], seconds: float) -> Trial:
    trial = Trial(seconds)
    with pytest.raises(TrialEnded):
        trial.run(stages)
    return trial


def test_pairs_are_estimated_from_some_shards_by_their_bytes() -> None:
    shards = made([1000] * 40 + [50] * 40)
    read: list[str] = []

    def reading(shard: Shard) -> list[Pair]:
        read.append(shard.name)
        return pairs_of(shard)

    stage = ShardStage("s", "pairs", shards, lambda shard, advance: ({}, ()), pairs=reading)  # type: ignore[arg-type]
    (one,) = tried([stage], 5).stages
    assert one.pairs == pytest.approx(42_000, rel=0.02)
    assert len(read) == SAMPLED_SHARDS
    assert (read[0], read[-1]) == ("0", "79")
    assert one.sampled <= SAMPLED_SHARDS * SAMPLED_PAIRS
    assert one.picture_bytes == 10


def test_a_trial_ends_when_its_time_is_over_and_measures_without_the_first_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(trial, "time", SimpleNamespace(monotonic=lambda: now))

    def work(shard: Shard, advance) -> tuple[dict, tuple]:
        nonlocal now
        for n in range(1000):
            now += 0.3 if n == 0 else 0.02  # the first is slow, as things are loaded
            advance(10, 1.0)
        return {}, ()

    stages = [ShardStage(name, "pairs", made([5, 5]), work, known=lambda shard: 5) for name in "ab"]
    found = Trial(3, _begun=now)
    with pytest.raises(TrialEnded):
        found.run(stages)
    assert 103 <= now < 103.5
    for stage in found.stages:
        assert stage.pairs == 10
        assert stage.tried / stage.seconds == pytest.approx(500)  # never the 33 of the slow batch alone


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(3.2, "3 s"), (89, "89 s"), (600, "10 min"), (4000, "1 h 7 min"), (7200, "2 h 0 min"), (400_000, "4.6 days")],
)
def test_time_is_told_as_people_say_it(seconds: float, said: str) -> None:
    assert duration(seconds) == said
