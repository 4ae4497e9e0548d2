"""Captions of the anchor's own picture stay out of its archive, by whatever name they come; nobody else's do."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.speed.tiny_pairs import write_tar
from tests.integration.commands import UNFILTERED, World, manifest, succeed
from tests.tiny_world import pair_members, picture

TEXTS = {
    "a": "a brown dog sleeps on the wooden floor of a large empty kitchen",
    "b": "two boys throw a yellow frisbee across a field under a blue sky",
}

EXTRA = {"zebra", "fountain", "guitar", "castle", "tiger"}


def curated(world: World, pairs: Path, extra: Path | None, folder: Path, *options: object) -> dict[str, set[str]]:
    """What the archive of each pair holds where all captions but its own are retrieved."""
    index, out = folder / "index", folder / "curated"
    more = ["--extra-captions", extra] if extra else []
    succeed("index", "build", pairs, "--model", world.model, "--out", index, "--min-count", 1, *more)
    method = ("--ranking", "similarity", "--neighbours", 60, "--keep", 0, *UNFILTERED)
    said = succeed("curate", "run", index, "--out", out, *method, *options)
    found: dict[str, set[str]] = {}
    for path in (out / "tables" / "archives").iterdir():
        for row in pq.read_table(path, columns=["shard", "key", "concept"]).to_pylist():
            found.setdefault(f"{row['shard']}/{row['key']}", set()).add(row["concept"])
    left_out = manifest(out)["summary"]["left_out"]
    assert (f"{left_out:,} left out of what was retrieved" in said.out) == bool(left_out)
    return found | {"left out": {str(left_out)}}


@pytest.mark.parametrize("expansion", ["mixed", "caption", "language", "caption+mixed"])
def test_pictures_in_folders_and_under_other_names(world: World, tmp_path: Path, expansion: str) -> None:
    lines = ["image,caption"]
    for folder, text in TEXTS.items():
        (tmp_path / "pictures" / folder).mkdir(parents=True)
        (tmp_path / "pictures" / folder / "1.png").write_bytes(picture(ord(folder), form="PNG"))
        lines.append(f"pictures/{folder}/1.png,{text}")
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
    rows = [
        ("a/1.png", "a zebra"),  # by the end of the path
        ("https://x.org/pictures/b/1.jpg", "a fountain"),
        ("copy-of-a.jpg", TEXTS["a"].replace("wooden", "woden").title() + "!"),  # nearly the text of a
        ("copy-of-a.jpg", "a guitar"),  # and so this is a's, too
        ("else.jpg", "a castle"),
        (None, "a tiger"),
    ]
    table = {"image": [image for image, _ in rows], "caption": [text for _, text in rows]}
    pq.write_table(pa.table(table), tmp_path / "extra.parquet")
    found = curated(world, tmp_path / "pairs.csv", tmp_path / "extra.parquet", tmp_path, "--expansion", expansion)
    one, other = found["pairs-00000/pictures/a/1"], found["pairs-00000/pictures/b/1"]
    assert one & EXTRA == {"fountain", "castle", "tiger"}
    assert "frisbee" in one
    assert other & EXTRA == {"zebra", "guitar", "castle", "tiger"}
    assert "dog" in other
    assert found["left out"] == {"4"}


def test_a_key_in_two_shards_names_two_pictures(world: World, tmp_path: Path) -> None:
    said = {"s0": ("a zebra", "a fountain"), "s1": ("a guitar", "a castle")}
    for place, (name, texts) in enumerate(said.items()):
        members = []
        for i, text in enumerate(texts):
            members += [(field, text.encode() if field.endswith(".txt") else data) for field, data in named(i, place)]
        write_tar(tmp_path / "pairs" / f"{name}.tar", members)
    found = curated(world, tmp_path / "pairs", None, tmp_path)
    everything = {"zebra", "fountain", "guitar", "castle"}
    assert {key: concepts for key, concepts in found.items() if key != "left out"} == {
        f"{shard}/000{i}": everything for shard in said for i in range(2)
    }
    assert found["left out"] == {"0"}


def named(i: int, place: int) -> list[tuple[str, bytes]]:
    """The members of one pair."""
    return pair_members(f"000{i}", 10 * place + i)
