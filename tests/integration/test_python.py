"""The Python face at work: what it gives is what the commands wrote, and the folders are theirs."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import cocu
from tests.integration.commands import World, digests, manifest, succeed
from tests.integration.commands import cocu as command


def test_an_index_is_the_commands_and_each_goes_on_with_the_others(
    world: World, index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = sorted(world.shards.glob("*.tar"))
    made = cocu.build_index(shards, tmp_path / "index", model=world.model, extra_captions=world.extra, quiet=True)
    assert tuple(capsys.readouterr()) == ("", "")
    parts = ("embeddings", "rows", "concepts.parquet", "images.faiss", "captions.faiss")
    assert digests(made.path, *parts) == digests(index, *parts)
    assert made.summary["pairs"] == manifest(index)["summary"]["pairs"] == 60
    assert repr(made).startswith(f"<index {made.path}: 60 pairs, ")
    again = world.build(made.path, "--extra-captions", world.extra)
    assert "already finished" in again.err


def test_a_search_finds_what_the_command_finds(index: Path, world: World, tmp_path: Path) -> None:
    opened = cocu.open_index(index, model=world.model)
    (tmp_path / "query.jpg").write_bytes(next(iter(pictures(world))))
    for query, words in (("a red car", ["a red car"]), (tmp_path / "query.jpg", ["--image", tmp_path / "query.jpg"])):
        printed = succeed("index", "search", index, *words, "--top", 4, "--model", world.model).out.splitlines()[1:]
        found = opened.search(query, top=4)
        assert [f"{one.similarity:.4f}\t{one.shard}\t{one.key}\t{one.caption}" for one in found] == printed
    with pytest.raises(cocu.MisuseError, match="--top 0: give a number from 1"):
        opened.search("a red car", top=0)


def pictures(world: World) -> list[bytes]:
    from tests.integration.commands import members_of

    return [data for name, data in members_of(world.shards / "00000.tar") if name.endswith(".jpg")]


def test_tables_are_the_files(curated: Path) -> None:
    opened = cocu.open_curated(str(curated))
    for name in ("pairs", "archives"):
        files = sorted((curated / "tables" / name).glob("*.parquet"))
        whole = pa.concat_tables([pq.read_table(file) for file in files])
        relation = getattr(opened, name)
        order = [(column, "ascending") for column in ("shard", "key", *(["rank"] if name == "archives" else []))]
        assert relation.to_arrow_table().sort_by(order).equals(whole.sort_by(order))
        assert len(relation.df()) == whole.num_rows
    words = pq.read_table(curated / "tables" / "concepts.parquet").num_rows
    assert opened.concepts.count("*").fetchall() == [(words,)]
    assert opened.sql("SELECT count(*) FROM concepts").fetchall() == [(words,)]
    assert f"<curated {curated}: 60 pairs, " in repr(opened)
    for sql, said in (("DROP VIEW pairs", "DROP statements are not run"), ("SELECT nothing FROM pairs", "There is:")):
        with pytest.raises(cocu.MisuseError, match=said):
            opened.sql(sql)


def test_a_relation_outlives_the_folder_object(curated: Path) -> None:
    assert cocu.open_curated(curated).pairs.filter("true").count("*").fetchall() == [(60,)]


def test_pairs_are_shown_as_the_command_shows_them(curated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = cocu.open_curated(curated).pairs.select("key").order("key").limit(1).fetchall()[0][0]
    cocu.open_curated(curated).show(key)
    assert capsys.readouterr().out == command("curate", "show", curated, key).out
    with pytest.raises(cocu.MisuseError, match="no pair has the key"):
        cocu.open_curated(curated).show("nobody")


def test_a_curation_is_the_commands(index: Path, curated: Path, tmp_path: Path) -> None:
    made = cocu.curate(cocu.open_index(index), tmp_path / "curated", neighbours=8, quiet=True)
    assert digests(made.path, "tables", "shards") == digests(curated, "tables", "shards")
    assert made.manifest["parameters"] == manifest(curated)["parameters"]
