"""JSON files of captions: COCO's, and lists of objects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.reading import shards
from curation.reading.pairs import Pair
from curation.reading.shards import find_caption_tables, find_shards
from files.errors import MisuseError
from tests.curation.reading.written_tables import caption_rows, read, reasons
from tests.tiny_world import picture


def coco(path: Path, images: list[Any], annotations: list[Any], **others: Any) -> Path:
    whole = {"info": {"year": 2017}, "licenses": [{"id": 1}], "images": images, **others, "annotations": annotations}
    path.write_text(json.dumps(whole))
    return path


def test_captions_of_coco_are_grouped_by_picture(images: Path) -> None:
    named = [{"id": 10 * i, "file_name": f"{i}.jpg", "width": 5} for i in (2, 0, 1, 7)]
    texts = [(0, "a"), (10, "b"), (20, "c"), (0, "d"), (99, "e"), (20, " "), (10, None), (20, "f")]
    annotations = [{"id": n, "image_id": i, "caption": text} for n, (i, text) in enumerate(texts)]
    found = read(coco(images / "captions_val2017.json", named, annotations), images=str(images / "images"))
    assert [(p.key, p.image, p.captions) for p in found if isinstance(p, Pair)] == [
        ("2", picture(2), ("c", "f")),
        ("0", picture(0), ("a", "d")),
        ("1", picture(1), ("b",)),
    ]
    assert reasons(found) == {"7": "no caption", "row 9": "no image: a caption of an image_id that is not there"}


@given(
    st.lists(st.tuples(st.integers(0, 4), st.text('ab"é\ud83d', min_size=1)), min_size=1, max_size=9),
    st.integers(9, 12),
)
def test_parts_of_coco_are_those_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[int, str]], part: int
) -> None:
    folder = tmp_path_factory.mktemp("coco")
    for i in range(5):
        (folder / f"{i}.jpg").write_bytes(picture(i))
    annotations = [{"image_id": f"i{i}", "caption": text} for i, text in texts]
    # The annotations first: the order of the lists does not matter.
    (folder / "c.json").write_text(
        json.dumps({"annotations": annotations, "images": [{"id": f"i{i}", "file_name": f"{i}.jpg"} for i in range(5)]})
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "ROWS_PER_TABLE_SHARD", part)
        found = read(folder / "c.json")
    plain = {i: [text for j, text in texts if i == j and "\ud83d" not in text] for i in range(5)}
    assert {p.key: p.captions for p in found if isinstance(p, Pair)} == {
        str(i): tuple(t) for i, t in plain.items() if t
    }


def test_the_folder_of_pictures_is_asked_for(images: Path) -> None:
    named, texts = [{"id": 1, "file_name": "1.jpg"}], [{"image_id": 1, "caption": "a"}]
    with pytest.raises(MisuseError, match="--images DIR"):
        read(coco(images / "c.json", named, texts))
    (images / "1.jpg").write_bytes(picture(1))
    assert len(read(images / "c.json")) == 1
    assert list(reasons(read(images / "c.json", images=str(images / "nowhere")))) == ["1"]


def test_lists_of_objects(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Any] = [{"image": f"images/{i // 2}.jpg", "caption": f"dög {i}", "n": [i]} for i in range(6)]
    rows[4:4] = ["no object", {"image": "images/7.jpg", "caption": ["one", "two"]}]
    for text in (json.dumps(rows), "\ufeff" + json.dumps(rows, ensure_ascii=False, indent=1)):
        (images / "a.json").write_text(text, encoding="utf-8")
        for part in (2, 3, 100):
            monkeypatch.setattr(shards, "ROWS_PER_TABLE_SHARD", part)
            found = read(images / "a.json")
            assert [(p.key, p.image, p.captions) for p in found if isinstance(p, Pair)] == [
                ("images/0", picture(0), ("dög 0", "dög 1")),
                ("images/1", picture(1), ("dög 2", "dög 3")),
                ("images/7", picture(7), ("one",)),
                ("images/2", picture(2), ("dög 4", "dög 5")),
            ]
            assert reasons(found) == {"row 5": "broken row: not a JSON object"}


def test_captions_alone(tmp_path: Path) -> None:
    path = coco(tmp_path / "c.json", [{"id": 1, "file_name": "a.jpg"}], [{"image_id": 1, "caption": t} for t in "ab"])
    (shard,) = find_caption_tables([str(path)])
    assert [(row.caption, row.image) for row in caption_rows(shard)] == [(b"a", "a.jpg"), (b"b", "a.jpg")]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"images": [], "categories": []}', r"holds no captions as COCO has them.*captions_\*\.json"),
        (
            '{"images": [{"id": 1}], "annotations": [{"image_id": 1, "bbox": [0]}]}',
            "holds no captions as COCO has them",
        ),
        ('{"images": [{"id": 1}', "cannot be read as a table"),
        ('[{"image": "a.jpg", "caption": "a"}, ', "cannot be read as a table"),
        ("", "cannot be read as a table"),
        ('[{"a": 1}]', "no image column"),
    ],
)
def test_what_is_no_table_is_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(MisuseError, match=said):
        read(tmp_path / "a.json")


def test_a_folder_passes_over_json(images: Path) -> None:
    (images / "stats.json").write_text("{}")
    (images / "a.csv").write_text("image,caption\nimages/0.jpg,a dog\n")
    assert [shard.name for shard in find_shards([str(images)])] == ["a-00000"]
