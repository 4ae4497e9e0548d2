"""`cocu curate run --localise` as a whole command: where concepts show, in tables and shards; nothing else changed."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from tests.integration.commands import SHARDS, World, cocu, concepts_of, make_table, manifest, members_of, succeed

WHERE = ["x0", "y0", "x1", "y1", "area", "peak"]


def rows_of(folder: Path) -> list[dict]:
    return [row for name in SHARDS for row in pq.read_table(folder / f"tables/archives/{name}.parquet").to_pylist()]


def localise(world: World, index: Path, out: Path, *options: object) -> str:
    given = ("--localise", "--model", world.model, "--neighbours", 8, "--batch-size", 7)
    return succeed("curate", "run", index, "--out", out, *given, *options).out


def test_concepts_have_boxes_in_tables_and_shards(world: World, index: Path, curated: Path, tmp_path: Path) -> None:
    out = tmp_path / "curated"
    said = localise(world, index, out)
    rows = rows_of(out)
    assert f"{len(rows):,} concepts looked for" in said
    plain = rows_of(curated)
    for row, before in zip(rows, plain, strict=True):
        assert list(row)[-6:] == WHERE
        assert 0 <= row["x0"] < row["x1"] <= 1
        assert 0 <= row["y0"] < row["y1"] <= 1
        assert 0 < row["area"] <= (row["x1"] - row["x0"]) * (row["y1"] - row["y0"]) + 1e-6
        assert -1 <= row["peak"] <= 1
        assert {name: row[name] for name in ("key", "rank", "concept", "cluster", "in_caption")} == {
            name: before[name] for name in ("key", "rank", "concept", "cluster", "in_caption")
        }
    assert len({row["x0"] for row in rows}) > 1
    by_key: dict[str, list[dict]] = {}
    for row in rows:
        by_key.setdefault(row["key"], []).append(row)
    for name in SHARDS:
        assert [m for m in members_of(out / f"shards/{name}.tar") if ".concepts.json" not in m[0]] == [
            m for m in members_of(curated / f"shards/{name}.tar") if ".concepts.json" not in m[0]
        ]
        for key, listed in concepts_of(out / f"shards/{name}.tar").items():
            assert [one["box"] for one in listed] == [[round(r[c], 3) for c in WHERE[:4]] for r in by_key[key]]
            assert [(one["area"], one["peak"]) for one in listed] == [
                (round(r["area"], 4), round(r["peak"], 4)) for r in by_key[key]
            ]
    assert pq.ParquetFile(out / f"tables/archives/{SHARDS[0]}.parquet").num_row_groups == 1
    asked = "SELECT concept FROM archives WHERE peak > 0.1 AND area < 0.5 AND NOT in_caption"
    succeed("curate", "query", out, asked)


def test_what_lights_up_nowhere_is_left_out_and_counted(world: World, index: Path, tmp_path: Path) -> None:
    out = tmp_path / "curated"
    said = localise(world, index, out, "--min-peak", 1)
    rows = rows_of(out)
    assert rows
    assert all(row["in_caption"] for row in rows)
    summary = manifest(out)["summary"]
    assert summary["localised"]["looked for"] - summary["not_kept"]["like no part of the picture"] == len(rows)
    assert "like no part of the picture" in said
    assert "those of a peak below 1 left out" in said
    assert (
        "already finished"
        in localise(world, index, out, "--min-peak", 1)
        + cocu(*("curate", "run", index, "--out", out, "--localise", "--min-peak", 1, "--neighbours", 8)).err
    )


def test_pairs_of_a_table_are_localised_too(world: World, tmp_path: Path) -> None:
    table = make_table(tmp_path)
    given = ("--out", tmp_path / "index", "--model", world.model, "--min-count", 1)
    succeed("index", "build", table, *given)
    succeed("curate", "run", tmp_path / "index", "--out", tmp_path / "out", "--localise", "--model", world.model)
    counts = manifest(tmp_path / "out")["summary"]["localised"]
    assert counts["looked for"] > 0
    assert counts["unreadable"] == 0


def test_misuse_is_told(world: World, index: Path, tmp_path: Path) -> None:
    answer = cocu("curate", "run", index, "--out", tmp_path / "a", "--min-peak", 0.2)
    assert (answer.code, "give --localise, too" in answer.err) == (2, True)
    answer = cocu("curate", "run", index, "--out", tmp_path / "a", "--localise", "--min-peak", "nan")
    assert (answer.code, "--min-peak nan: give a number from -1 to 1" in answer.err) == (2, True)
    answer = cocu("curate", "run", index, "--out", tmp_path / "b", "--localise")
    assert (answer.code, "name it by these options" in answer.err) == (2, True)
