"""Weights and subsets against loops over the formula, and files against what reads them elsewhere."""

from __future__ import annotations

import io
import json
import math
import tarfile
from collections import Counter
from collections.abc import Sequence
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import curation.curated.balanced
import curation.curated.shown
from curation.curated.balance import count_concepts, drawn, pair_weights, tail_cap
from curation.curated.balanced import balance_curated
from files.errors import CocuError, MisuseError
from tests.curation.curated_fixture import MadePair, make_curated

NAMES = ["sky", "grass", "dog", "cat", "boat", "owl", "kite"]


def made_pairs(count: int, seed: int, key: str = "{:04d}") -> list[MadePair]:
    """Pairs of 0 to 5 concepts, the first of NAMES the most frequent; some are named, and one is no concept."""
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(count):
        some = [NAMES[n] for n in range(len(NAMES)) if rng.random() < 0.7 / (n + 1)]
        rng.shuffle(some)
        ranked = [(name, 1.0 - place / 10, bool(rng.random() < 0.5)) for place, name in enumerate(some)]
        said = [name for name, _, named in ranked if named] + (["owl"] if rng.random() < 0.05 else [])
        pairs.append(MadePair(key.format(i), "a caption", said, ranked))
    return pairs


def shown_by(pair: MadePair, which: str) -> set[str]:
    recovered = {name for name, _, named in pair.concepts if not named}
    named = {name for name, _, named in pair.concepts if named} | set(pair.caption_concepts)
    return {"shown": recovered | named, "recovered": recovered, "named": named}[which]


def loop(pairs: Sequence[MadePair], cap: int, which: str) -> list[float]:
    """The formula as it stands."""
    counts = Counter(name for pair in pairs for name in shown_by(pair, which))
    return [1 - math.prod(1 - min(1, cap / counts[name]) for name in shown_by(pair, which)) for pair in pairs]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[MadePair]]]:
    shards = {"a": made_pairs(90, 1), "b": made_pairs(40, 2), "c": []}
    return make_curated(tmp_path_factory.mktemp("world") / "curated", shards), shards


@pytest.mark.parametrize("which", ["shown", "recovered", "named"])
@pytest.mark.parametrize("at_once", [(1 << 16, 1 << 18), (7, 5), (1, 1)])
def test_weights_are_the_formula_of_a_loop(
    world: tuple[Path, dict[str, list[MadePair]]],
    tmp_path: Path,
    which: str,
    at_once: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(curation.curated.shown, "PAIRS_AT_ONCE", at_once[0])
    monkeypatch.setattr(curation.curated.shown, "ROWS_AT_ONCE", at_once[1])
    folder, shards = world
    pairs = [pair for some in shards.values() for pair in some]
    out = tmp_path / "weights.parquet"
    made = balance_curated(folder, out, cap=12, concepts=which)
    table = pq.read_table(out)
    assert table.schema.names == ["shard", "key", "weight"]
    assert table["key"].to_pylist() == [pair.key for pair in pairs]
    assert table["shard"].to_pylist() == [shard for shard, some in shards.items() for _ in some]
    expected = np.array(loop(pairs, 12, which))
    assert table["weight"].to_numpy() == pytest.approx(expected, abs=1e-6)
    assert made.kept == pytest.approx(expected.sum())
    assert made.without == sum(not shown_by(pair, which) for pair in pairs) > 0
    for i, name in enumerate(made.concepts.words.to_pylist()):
        left = sum(weight for weight, pair in zip(expected, pairs, strict=True) if name in shown_by(pair, which))
        assert made.after[i] == pytest.approx(left)
    rarest, *_, commonest = made.curve()
    assert (rarest[2], commonest[2]) == (min(made.concepts.counts[made.concepts.counts > 0]), max(made.concepts.counts))


def test_rare_concepts_rise(world: tuple[Path, dict[str, list[MadePair]]], tmp_path: Path) -> None:
    made = balance_curated(world[0], tmp_path / "weights.parquet", cap=20)
    before, after = made.shares
    assert after > 1.1 * before > 0


@given(st.lists(st.integers(0, 50), min_size=1).filter(any), st.floats(0, 1))
def test_the_tail_has_the_share_nearest_to_the_one_wanted(counts: list[int], tail: float) -> None:
    cap = tail_cap(np.array(counts), tail)

    def distance(most: int) -> float:
        return abs(sum(count for count in counts if count <= most) / sum(counts) - tail)

    assert cap in counts
    assert distance(cap) == pytest.approx(min(distance(count) for count in counts if count))


def test_a_pair_of_a_rare_concept_is_kept_for_sure() -> None:
    weights = pair_weights(4, np.array([0, 0, 2, 3, 3]), np.array([1.0, 0.1, 0.25, 0.5, 0.5]))
    assert weights == pytest.approx([1, 0, 0.25, 0.75])


def test_a_draw_depends_on_seed_shard_and_key_alone() -> None:
    keys = [f"{i:05d}" for i in range(4000)]
    weights = np.linspace(0, 1, 4000)
    mine = drawn(weights, keys, "a", 0)
    order = np.random.default_rng(0).permutation(4000)
    assert (drawn(weights[order], [keys[i] for i in order], "a", 0) == mine[order]).all()
    assert not mine[0]
    assert drawn(np.ones(4000), keys, "a", 0).all()
    for half in (slice(0, 2000), slice(2000, 4000)):
        expected, spread = weights[half].sum(), math.sqrt((weights[half] * (1 - weights[half])).sum())
        assert abs(mine[half].sum() - expected) < 4 * spread
    assert (drawn(weights, keys, "a", 1) != mine).any()
    assert (drawn(weights, keys, "b", 0) != mine).any()


def test_keys_and_shards_are_one_subset(world: tuple[Path, dict[str, list[MadePair]]], tmp_path: Path) -> None:
    folder, shards = world
    made = balance_curated(folder, tmp_path / "keys.parquet", cap=12, subset=True)
    table = pq.read_table(tmp_path / "keys.parquet")
    assert table.schema.names == ["shard", "key"]
    wanted = list(zip(*table.to_pydict().values(), strict=True))
    assert 0 < len(wanted) == made.kept < 130
    again = balance_curated(folder, tmp_path / "shards", cap=12)
    assert again.kept == made.kept
    assert again.notes == ["1 of 3 shards keep no pair and are not written"]
    found = []
    for path in sorted((tmp_path / "shards" / "shards").iterdir()):
        with tarfile.open(path) as tar, tarfile.open(folder / "shards" / path.name) as before:
            for name in tar.getnames():
                copied, original = tar.extractfile(name), before.extractfile(name)
                assert copied
                assert original
                assert copied.read() == original.read()
            keys = dict.fromkeys(name.partition(".")[0] for name in tar.getnames())
            assert len(tar.getnames()) == 3 * len(keys)
            found += [(path.stem, key) for key in keys]
    assert found == wanted
    assert {shard for shard, _ in wanted} == set(shards) - {"c"}


def test_a_folder_goes_on_where_it_stopped(
    world: tuple[Path, dict[str, list[MadePair]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, whole, broken = world[0], tmp_path / "whole", tmp_path / "broken"
    balance_curated(folder, whole, cap=12)
    write = curation.curated.balanced._write_shard

    def fails(shard: Any, *rest: Any) -> int:
        if shard.name == "b":
            raise CocuError("the disk is full")
        return write(shard, *rest)

    monkeypatch.setattr(curation.curated.balanced, "_write_shard", fails)
    with pytest.raises(CocuError, match="full"):
        balance_curated(folder, broken, cap=12)
    first = (broken / "shards" / "a.tar").stat().st_mtime_ns
    monkeypatch.setattr(curation.curated.balanced, "_write_shard", write)
    with pytest.raises(MisuseError, match="cap: 12 there, 13 now"):
        balance_curated(folder, broken, cap=13)
    made = balance_curated(folder, broken, cap=12)
    assert (broken / "shards" / "a.tar").stat().st_mtime_ns == first
    for name in ("a.tar", "b.tar"):
        assert (broken / "shards" / name).read_bytes() == (whole / "shards" / name).read_bytes()
    assert json.loads((broken / "manifest.json").read_text())["summary"]["pairs"] == made.kept


def uid(i: int) -> str:
    return md5(str(i).encode()).hexdigest()


def test_uids_are_as_datacomp_reads_them(tmp_path: Path) -> None:
    pairs = [MadePair(uid(i), concepts=[("sky" if i % 10 else "owl", 1.0, False)]) for i in range(200)]
    folder = make_curated(tmp_path / "curated", {"a": pairs})
    balance_curated(folder, tmp_path / "k.parquet", cap=20, subset=True)
    balance_curated(folder, tmp_path / "u.npy", cap=20)
    (folder / "shards" / "a.tar").unlink()  # keys that are uids need no shards
    balance_curated(folder, tmp_path / "again.NPY", cap=20)
    assert (tmp_path / "again.NPY").read_bytes() == (tmp_path / "u.npy").read_bytes()
    keys = pq.read_table(tmp_path / "k.parquet")["key"].to_pylist()
    found = np.load(tmp_path / "u.npy")
    expected = np.array([(int(key[:16], 16), int(key[16:32], 16)) for key in keys], np.dtype("u8,u8"))
    expected.sort()
    assert found.dtype == np.dtype("u8,u8")
    assert (found == expected).all()
    assert 20 < len(found) < 200
    assert [divmod(int(key, 16), 1 << 64) for key in sorted(keys)] == [tuple(map(int, one)) for one in found]


def test_uids_may_stand_in_the_json(tmp_path: Path) -> None:
    pairs = [MadePair(f"{i:04d}", concepts=[("sky", 1.0, False)]) for i in range(8)]
    folder = make_curated(tmp_path / "curated", {"a": pairs})
    with pytest.raises(CocuError, match="shard a, pair '0000': has no uid"):
        balance_curated(folder, tmp_path / "u.npy", cap=100)
    assert not (tmp_path / "u.npy").exists()
    described = [MadePair(p.key, json.dumps({"uid": uid(i // 2)}), (), p.concepts) for i, p in enumerate(pairs)]
    folder = make_curated(tmp_path / "again", {"a": described})
    rename_texts(folder / "shards" / "a.tar")
    made = balance_curated(folder, tmp_path / "u.npy", cap=100)
    assert made.notes == ["4 pairs have the uid of another; it is there once"]
    assert {f"{a:016x}{b:016x}" for a, b in np.load(tmp_path / "u.npy").tolist()} == {uid(i) for i in range(4)}


def rename_texts(path: Path) -> None:
    """The .txt members become .json."""
    with tarfile.open(path) as tar:
        members = [(info.name, tar.extractfile(info)) for info in tar.getmembers()]
        contents = [(name, file.read()) for name, file in members if file]
    with tarfile.open(path, "w") as tar:
        for name, data in contents:
            info = tarfile.TarInfo(name.replace(".txt", ".json"))
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_what_cannot_be_balanced_is_told(world: tuple[Path, dict[str, list[MadePair]]], tmp_path: Path) -> None:
    folder = world[0]
    with pytest.raises(MisuseError, match="--concepts seen: give one of shown, recovered, named"):
        balance_curated(folder, tmp_path / "w.parquet", concepts="seen")
    with pytest.raises(MisuseError, match=r"w.csv: is written as .parquet or .npy"):
        balance_curated(folder, tmp_path / "w.csv")
    with pytest.raises(MisuseError, match="--cap 0"):
        balance_curated(folder, tmp_path / "w.parquet", cap=0)
    bare = make_curated(tmp_path / "bare", {"a": [MadePair("1", "?", (), ())]})
    with pytest.raises(CocuError, match="none of 1 pairs has a concept"):
        balance_curated(bare, tmp_path / "w.parquet")
    missing = make_curated(tmp_path / "missing", {"a": made_pairs(9, 0), "b": made_pairs(9, 1)})
    (missing / "tables" / "pairs" / "b.parquet").unlink()
    with pytest.raises(CocuError, match=r"b.parquet: missing"):
        count_concepts(missing, "shown")


@pytest.mark.parametrize(
    ("table", "column"), [("concepts", "concept"), ("pairs/a", "caption_concepts"), ("archives/a", "in_caption")]
)
def test_columns_that_are_missing_or_have_holes_are_told(tmp_path: Path, table: str, column: str) -> None:
    folder = make_curated(tmp_path / "curated", {"a": made_pairs(30, 0)})
    path = folder / "tables" / f"{table}.parquet"
    whole = pq.read_table(path)
    pq.write_table(whole.drop_columns([column]), path)
    with pytest.raises(CocuError, match=f"no column {column}"):
        count_concepts(folder, "shown")
    holes = [None, *whole[column].to_pylist()[1:]]
    place = whole.schema.get_field_index(column)
    pq.write_table(whole.set_column(place, whole.schema.field(place), [holes]), path)
    with pytest.raises(CocuError, match=f"column {column} has empty cells"):
        count_concepts(folder, "shown")


@pytest.mark.parametrize("column", ["key", "concept_id"])
def test_tables_of_other_pairs_are_told(tmp_path: Path, column: str) -> None:
    folder = make_curated(tmp_path / "curated", {"a": made_pairs(30, 0)})
    path = folder / "tables" / "archives" / "a.parquet"
    table = pq.read_table(path)
    other = table[column].to_pylist()
    other[10] = {"key": "0999", "concept_id": 99}[column]
    pq.write_table(table.set_column(table.schema.get_field_index(column), column, [other]), path)
    with pytest.raises(CocuError, match="curate into a new folder"):
        count_concepts(folder, "shown")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CocuError, match=r"a.parquet: broken"):
        count_concepts(folder, "shown")


def test_the_same_options_give_the_same_bytes(world: tuple[Path, dict[str, list[MadePair]]], tmp_path: Path) -> None:
    for name in ("w.parquet", "v.parquet"):
        balance_curated(world[0], tmp_path / name, cap=9)
    assert (tmp_path / "w.parquet").read_bytes() == (tmp_path / "v.parquet").read_bytes()
    said = json.loads(pq.read_schema(tmp_path / "w.parquet").metadata[b"cocu.balance"])
    assert said == {"cap": 9, "concepts": "shown", "seed": None}
