"""Cards: what is read, and what is said about one that is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curation.recovery.truth import read_synonyms
from data_cards.cards import Card, card_text, read_card
from files.errors import MisuseError

GOOD = """---
name: tiny
pretty_name: Tiny
license: mit
layout: webdataset
split: val
ignore_index: 255
resize: {short_side: 448}
window: {size: 448, stride: 224}
classes:
  - {name: dog, kind: thing, synonyms: [puppy]}
  - {name: grass, kind: stuff}
---

# Tiny

---
after a line the text goes on
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tiny.md"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_card_is_read(tmp_path: Path) -> None:
    card = read_card(written(tmp_path, GOOD))
    assert isinstance(card, Card)
    assert (card.name, card.license, card.homepage, card.background) == ("tiny", "mit", None, None)
    assert card.resize is not None
    assert card.window is not None
    assert (card.resize.short_side, card.window.size, card.window.stride) == (448, 448, 224)
    assert [(one.name, one.kind) for one in card.classes] == [("dog", "thing"), ("grass", "stuff")]
    assert card.kinds() == {"dog": "thing", "grass": "stuff"}
    assert card.synonyms() == {"dog": ["dog", "puppy"], "grass": ["grass"]}


FULL = """---
name: tiny
pretty_name: Tiny
license: other
license_name: terms
license_link: https://example.org/terms
layout: folders
split: val
pictures: 7
top: data/tiny
keys: lists/{split}.txt
images: images/{key}.jpg
masks:
  - {path: "masks/{key}.png", values: [0, [3, 5], "7-8"], ignored: ["10-12", 20]}
  - {path: "colours/{key}.png", form: colours, values: ["#000000", ["#ff0000", "#800000"], "#00ff00", "#0000ff"]}
ignore_index: 1000
background: {name: background, threshold: 0.9}
resize: {short_side: 448, long_side: 2048}
classes:
  - {name: background}
  - {name: tvmonitor, prompts: [monitor, television], synonyms: [tv]}
  - {name: cup}
  - {name: sky, kind: stuff}
---
text
"""


def test_all_that_a_benchmarks_card_can_say_is_read(tmp_path: Path) -> None:
    card = read_card(written(tmp_path, FULL))
    assert (card.pictures, card.top, card.keys, card.images) == (
        7,
        "data/tiny",
        "lists/{split}.txt",
        "images/{key}.jpg",
    )
    assert card.mapping(card.masks[0]).classes == (
        {0: 0, 3: 1, 5: 1, 7: 2, 8: 3} | dict.fromkeys((10, 11, 12, 20), 1000)
    )
    assert card.mapping(card.masks[1]).classes == {0: 0, 0xFF0000: 1, 0x800000: 1, 0x00FF00: 2, 0x0000FF: 3}
    assert card.background is not None
    assert (card.background_index, card.background.threshold) == (0, 0.9)
    assert card.text_classes() == ("tvmonitor", "cup", "sky")
    assert card.prompts() == (("monitor", "television"), ("cup",), ("sky",))
    assert card.synonyms() == {
        "tvmonitor": ["tvmonitor", "monitor", "television", "tv"],
        "cup": ["cup"],
        "sky": ["sky"],
    }
    assert card.kinds() == {"sky": "stuff"}
    assert card.resize is not None
    assert card.resize.long_side == 2048


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('values: [0, [3, 5], "7-8"]', "values: [0, [3, 5], 7]", "values are given for 3 classes, the card has 4"),
        ('values: [0, [3, 5], "7-8"]', 'values: [0, [3, 7], "7-8"]', "7 stands for 'tvmonitor' and 'cup'"),
        (
            'values: [0, [3, 5], "7-8"]',
            'values: [0, [3, 5], "8-7"]',
            "masks[0].values: [0, [3, 5], '8-7']: '8-7': give",
        ),
        ('values: [0, [3, 5], "7-8"]', "values: [0, [], 7, 8]", "masks[0].values"),
        ('values: [0, [3, 5], "7-8"]', "values: 3", "masks[0].values: 3: give a list"),
        ('values: [0, [3, 5], "7-8"]', 'values: [0, [3, 5], 7, "#ff0000"]', "value 16711680 is larger than a mask"),
        ('ignored: ["10-12", 20]', "ignored: [-1]", "-1: give a number from 0, a range"),
        ('ignored: ["10-12", 20]', "ignored: [3]", "ignores 3, the value of 'tvmonitor'"),
        ("ignore_index: 1000\n", "", "ignores 10, but the card has no ignore_index"),
        ('"#00ff00", "#0000ff"]', '"#00ff00", "#ff0000"]', "#ff0000 stands for 'tvmonitor' and 'sky'"),
        (', values: ["#000000", ["#ff0000", "#800000"], "#00ff00", "#0000ff"]', "", "need the colours of each class"),
        ("{name: background, threshold", "{name: nothing, threshold", "background: 'nothing' is none of the classes"),
        ("threshold: 0.9", "threshold: 1.9", "background.threshold: 1.9: input should be less than or equal to 1"),
        ("[monitor, television]", "[monitor, cup]", "'cup' names both 'tvmonitor' and 'cup'"),
        ("{name: background}", "{name: background, clip: [air]}", "give the background's words as clip: background"),
        ("long_side: 2048", "long_side: 20", "long_side 20 is smaller than short_side 448"),
    ],
)
def test_what_is_wrong_with_masks_and_background_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in FULL
    with pytest.raises(MisuseError) as raised:
        read_card(written(tmp_path, FULL.replace(old, new, 1)))
    assert said in str(raised.value)
    assert raised.value.exit_code == 2


def test_the_text_after_the_front_matter_is_kept_whole(tmp_path: Path) -> None:
    assert card_text(written(tmp_path, GOOD)) == "# Tiny\n\n---\nafter a line the text goes on\n"


def test_a_card_that_changed_is_read_again(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    assert read_card(path).pretty_name == "Tiny"
    path.write_text(GOOD.replace("pretty_name: Tiny", "pretty_name: Larger"))
    assert read_card(path).pretty_name == "Larger"


def test_a_card_cannot_be_changed_by_who_reads_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        read_card(written(tmp_path, GOOD)).name = "other"  # type: ignore[misc]


def test_the_miniature_has_its_classes_in_order() -> None:
    card = read_card("miniature")
    assert len(card.classes) == 52
    assert card.classes[0].name == "sky"
    assert [one.kind for one in card.classes] == ["stuff"] * 20 + ["thing"] * 32
    assert card.ignore_index == 255


def test_synonyms_are_what_the_scoring_reads(tmp_path: Path) -> None:
    said = read_card("miniature").synonyms()
    path = tmp_path / "synonyms.json"
    path.write_text(json.dumps(said), encoding="utf-8")
    assert read_synonyms(path) == {name: tuple(words) for name, words in said.items()}
    assert all(words[0] == name for name, words in said.items())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("license: mit\n", "", "license is missing"),
        ("layout:", "lay_out:", "layout is missing (and 1 more)"),
        ("split: val", "split: val\nfolds: 5", "folds is no key of a card"),
        ("kind: stuff", "kind: place", "classes[1].kind: 'place': input should be 'stuff', 'thing' or 'unsaid'"),
        ("name: grass", "name: dog", "classes: 'dog' occurs more than once"),
        ("[puppy]", "[grass]", "classes: 'grass' names both 'dog' and 'grass'"),
        (
            "ignore_index: 255",
            "ignore_index: 1",
            "ignore_index 1 is the value of class 'grass'; give one from 2",
        ),
        (
            "ignore_index: 255",
            "ignore_index: 70000",
            "ignore_index: 70000: input should be less than or equal to 65534",
        ),
        ("stride: 224", "stride: 500", "stride 500 is larger than size 448"),
        ("short_side: 448", "short_side: 0", "resize.short_side: 0: input should be greater than or equal to 1"),
        ("pretty_name: Tiny", "pretty_name: ''", "pretty_name: '': string should have at least 1 character"),
        ("name: tiny\n", "name: 3\n", "name: 3: input should be a valid string"),
        ("name: tiny\n", "name: [\n", "front matter cannot be read in line 4: did not find expected"),
        ("kind: stuff}", "clip: [puppy, dog]}", "classes: 'dog' names both 'dog' and 'grass'"),
        ("classes:", "clip: {logit_scale: 50}\nclasses:", "clip.source is missing"),
        ("classes:", "clip: {source: here, logit_scale: 0}\nclasses:", "clip.logit_scale: 0: input should be greater"),
        ("classes:", "clip: {source: here, templates: many}\nclasses:", "clip.templates: 'many': input should be"),
        ("classes:", "clip: {source: here, background: [sky]}\nclasses:", "background, and the card has none"),
        ("---\nname", "name", "no front matter; begin the file with YAML between two lines of ---"),
    ],
)
def test_what_is_wrong_is_named_with_file_key_and_value(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(MisuseError) as raised:
        read_card(path)
    assert said in str(raised.value)
    assert str(path) in str(raised.value)
    assert raised.value.exit_code == 2
    assert "\n" not in str(raised.value)


def test_front_matter_that_is_a_list_or_never_ends_is_named(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="is a list; give keys and values"):
        read_card(written(tmp_path, "---\n- 1\n---\n"))
    with pytest.raises(MisuseError, match="no front matter"):
        read_card(written(tmp_path, "---\nname: tiny\n"))


def test_a_card_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"card 'absent': there is none of this name; give one of .*miniature"):
        read_card("absent")
    with pytest.raises(MisuseError, match=r"absent\.md: cannot be read"):
        read_card(tmp_path / "absent.md")
    (tmp_path / "latin.md").write_bytes(b"---\nname: \xe9\n---\n")
    with pytest.raises(MisuseError, match="cannot be read"):
        read_card(tmp_path / "latin.md")


@pytest.mark.parametrize("name", ["../../up", "/tmp/x", "..", "a\\tb", "\\e[31mred", "x" * 200])
def test_a_name_that_could_not_be_a_folder_of_results(tmp_path: Path, name: str) -> None:
    with pytest.raises(MisuseError, match=r"tiny\.md: name: .* cannot name a file; give a name"):
        read_card(written(tmp_path, GOOD.replace("name: tiny", f'name: "{name}"', 1)))
