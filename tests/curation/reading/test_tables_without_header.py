"""Tables that begin with no names of columns, as CC3M and CC12M do, and pictures in a folder of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation.reading import shards
from curation.reading.pairs import CaptionOptions, Pair, image_folder, table_columns
from curation.reading.shards import find_shards
from files.errors import MisuseError
from tests.curation.reading.written_tables import read, reasons, write
from tests.tiny_world import picture

LINES = [("a dog, and a ball", "images/0.jpg"), ('a "cat"', "images/1.jpg"), ("in the rain", "images/2.jpg")]


@pytest.mark.parametrize("part", [1, 2, 100])
@pytest.mark.parametrize(
    ("name", "separator"), [("a.tsv", "\t"), ("a.csv", "\t"), ("a.txt", "\t"), ("a.csv", ","), ("a.tsv", ",")]
)
def test_the_first_line_is_a_pair(
    name: str, separator: str, part: int, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "ROWS_PER_TABLE_SHARD", part)
    lines = [(caption.replace(separator, ";"), image) for caption, image in LINES]
    (images / name).write_text("\ufeff" + "".join(f"{c}{separator}{i}\n" for c, i in lines), encoding="utf-8")
    found = read(images / name, columns=("caption", "url"))
    expected = [
        caption.replace('"', "") if separator == "," and caption.startswith('"') else caption for caption, _ in lines
    ]
    assert [(p.captions[0], p.image) for p in found if isinstance(p, Pair)] == [
        (caption, picture(i)) for i, caption in enumerate(expected)
    ]


def test_the_message_names_the_option(images: Path) -> None:
    (images / "a.tsv").write_text("a very typical station\thttp://host/a.jpg\n" * 2)
    with pytest.raises(MisuseError, match=r"no header, name the columns: --no-header --columns caption,image"):
        read(images / "a.tsv")


def test_rows_of_other_lengths_and_addresses_are_rejects(images: Path) -> None:
    (images / "a.tsv").write_text("images/0.jpg\ta dog\nimages/1.jpg\nhttp://host/a.jpg\ta cat\n")
    found = read(images / "a.tsv", columns=("url", "caption"))
    assert reasons(found) == {
        "row 2": "broken row: 1 cells under a header of 2",
        "a": "image is no file: http://host/a.jpg is an address; download it first",
    }
    assert sum(isinstance(one, Pair) for one in found) == 1


def test_what_names_its_columns_itself_takes_no_others(images: Path) -> None:
    for name in ("a.jsonl", "a.parquet"):
        path = write(images / name, [{"image": "images/0.jpg", "caption": "a dog"}])
        with pytest.raises(MisuseError, match="names its columns itself"):
            find_shards([str(path)], CaptionOptions(columns=("a", "b")))


def test_names_of_columns() -> None:
    assert table_columns(True, "caption, url") == table_columns(True, ["caption", "url"]) == ("caption", "url")
    assert table_columns(False, None) is None
    for header, names in ((False, "a,b"), (True, None), (True, "a,"), (True, "a,a"), (True, [])):
        with pytest.raises(MisuseError, match="--columns"):
            table_columns(header, names)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_pictures_in_a_folder_of_their_own(form: str, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (images / "tables").mkdir()
    rows = [{"image": f"{i // 2}.jpg", "caption": f"dog {i}"} for i in range(6)]
    path = write(images / "tables" / f"a.{form}", rows)
    monkeypatch.chdir(images)
    folder = image_folder("images")
    assert folder == str(images / "images")
    found = read(path, images=folder)
    assert [(p.key, p.image, p.captions) for p in found if isinstance(p, Pair)] == [
        (str(i), picture(i), (f"dog {2 * i}", f"dog {2 * i + 1}")) for i in range(3)
    ]
    assert len(reasons(read(path))) == 3
    with pytest.raises(MisuseError, match="--images nowhere: no such folder"):
        image_folder("nowhere")


def test_manifests_name_these_options_where_they_are_given() -> None:
    assert list(CaptionOptions().parameters()) == [
        f"caption_{name}" for name in ("field", "all_captions", "image_column", "caption_column")
    ]
    given = CaptionOptions(images="/x", columns=("a", "b"))
    again = CaptionOptions(**{k.removeprefix("caption_"): v for k, v in given.parameters().items()})
    assert again == given == CaptionOptions(images="/x", columns=["a", "b"])  # type: ignore[arg-type]
