"""The cards that ship with the package: classes, orders, label numbers and sizes, against facts from elsewhere."""

from __future__ import annotations

import json
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import pytest

from data_cards.cards import Card, card_names, card_text, read_card

CLASSES = {
    "ade20k": 150,
    "camvid": 11,
    "cityscapes": 19,
    "coco-mini": 81,
    "coco-mini-panoptic": 133,
    "coco-object": 81,
    "coco-stuff": 171,
    "context59": 59,
    "context60": 60,
    "imagenet-s-300": 301,
    "imagenet-s-50": 51,
    "miniature": 52,
    "voc20": 20,
    "voc2012": 21,
}
BACKGROUND = {
    "coco-mini": 0.95,
    "coco-object": 0.95,
    "context60": 0.35,
    "imagenet-s-300": 0.75,
    "imagenet-s-50": 0.95,
    "voc2012": 0.95,
}
# Short side, window, stride.
SIZES = {
    "ade20k": (512, 224, 112),
    "camvid": (448, 448, 224),
    "cityscapes": (1024, 448, 224),
    "coco-mini": (448, 448, 224),
    "coco-mini-panoptic": (448, 448, 224),
    "coco-object": (448, 448, 224),
    "coco-stuff": (512, 224, 112),
    "context59": (448, 448, 224),
    "context60": (448, 448, 224),
    "imagenet-s-300": (448, 448, 224),
    "imagenet-s-50": (448, 448, 224),
    "miniature": (64, 64, 64),
    "voc20": (448, 448, 224),
    "voc2012": (448, 448, 224),
}
KINDS = {
    "ade20k": (100, 50),
    "cityscapes": (8, 11),
    "coco-mini": (80, 0),
    "coco-mini-panoptic": (80, 53),
    "coco-object": (80, 0),
    "coco-stuff": (80, 91),
    "miniature": (32, 20),
    "voc20": (20, 0),
    "voc2012": (20, 0),
}
# Under the protocol clip: short side, logit scale, threshold, least area, words of the background, of all classes.
CLIP = {
    "ade20k": (336, 40, 0, None, 0, 150),
    "cityscapes": (560, 40, 0, None, 0, 19),
    "coco-mini": (336, 50, 0.1, None, 26, 87),
    "coco-object": (336, 50, 0.1, None, 26, 87),
    "coco-stuff": (448, 40, 0, None, 0, 171),
    "context59": (336, 40, 0, None, 0, 59),
    "context60": (336, 50, 0.1, None, 1, 59),
    "voc20": (336, 40, 0, None, 0, 30),
    "voc2012": (336, 65, 0.1, 0.1, 26, 30),
}
# What a hub takes for a licence; "other" comes with its name and a link.
LICENCES = {"apache-2.0", "cc-by-4.0", "other", "unknown"}


def names(card: str) -> list[str]:
    return [one.name for one in read_card(card).classes]


def values(card: str, kind: int = 0) -> dict[int, str]:
    """Value in the masks -> class, or "ignored"."""
    found = read_card(card)
    mapping = found.mapping(found.masks[kind]).classes
    return {
        value: "ignored" if index == found.ignore_index else found.classes[index].name
        for value, index in mapping.items()
    }


def test_every_card_is_accounted_for() -> None:
    assert set(card_names()) == set(CLASSES) == set(SIZES)


@pytest.mark.parametrize("name", CLASSES)
def test_a_card_says_what_readers_and_hubs_ask(name: str) -> None:
    card = read_card(name)
    assert card.name == name
    assert len(set(names(name))) == len(card.classes) == CLASSES[name]
    assert card.license in LICENCES
    assert (card.license == "other") == (card.license_name is not None)
    assert card.license != "other" or card.license_link
    assert "image-segmentation" in card.task_categories
    assert card.language == ("en",)
    assert card.homepage or name == "miniature"
    assert card.pictures or name == "miniature"
    things = list(card.kinds().values()).count("thing")
    assert (things, len(card.kinds()) - things) == KINDS.get(name, (0, 0))


@pytest.mark.parametrize("name", CLASSES)
def test_sizes_and_thresholds_are_those_of_the_release(name: str) -> None:
    card = read_card(name)
    assert card.resize is not None
    assert card.window is not None
    assert (card.resize.short_side, card.window.size, card.window.stride) == SIZES[name]
    assert (card.background.threshold if card.background else None) == BACKGROUND.get(name)
    assert card.background_index == (0 if name in BACKGROUND else None)


@pytest.mark.parametrize("name", CLIP)
def test_the_protocol_clip_is_that_of_the_public_configuration(name: str) -> None:
    card = read_card(name).under("clip")
    assert card.clip is not None
    assert card.resize is not None
    assert card.window is not None
    words = sum(map(len, card.prompts()))
    assert (card.resize.short_side, card.clip.logit_scale, card.clip.threshold, card.clip.least_area) == CLIP[name][:4]
    assert (len(card.clip.background), words) == CLIP[name][4:]
    assert (card.window.size, card.window.stride, card.clip.templates) == (224, 112, "full")
    assert (card.background.threshold if card.background else 0) == CLIP[name][2]
    assert "SCLIP" in card.clip.source
    assert len(set(chain.from_iterable(card.prompts()))) == words


def test_words_of_the_protocol_clip() -> None:
    voc, twenty, context = (read_card(name).under("clip") for name in ("voc2012", "voc20", "context60"))
    assert voc.prompts() == twenty.prompts()
    said = dict(zip(voc.text_classes(), voc.prompts(), strict=True))
    assert said["person"][:2] == ("person", "person in shirt")
    assert (said["boat"], said["pottedplant"], said["diningtable"]) == (("ship",), ("pottedplant",), ("table",))
    assert said["tvmonitor"] == ("television monitor", "tv monitor", "monitor", "television", "screen")
    assert voc.clip is not None
    assert context.clip is not None
    assert (voc.clip.background[:3], voc.clip.background[-1]) == (("sky", "wall", "tree"), "fence")
    assert context.clip.background == ("background",)
    ade = read_card("ade20k").under("clip").prompts()
    assert (("chestofdrawers",) in ade, ("chest of drawers",) in ade) == (True, False)
    stuff = [words for (words,) in read_card("coco-stuff").under("clip").prompts()]
    assert {"trafficlight", "building-other", "wall-brick", "teddybear"} <= set(stuff)


def test_voc20_is_voc2012_without_its_background() -> None:
    assert names("voc20") == names("voc2012")[1:]
    assert values("voc20") == {**values("voc2012"), 0: "ignored"}


@pytest.mark.parametrize("name", CLASSES)
def test_each_prompt_names_one_class(name: str) -> None:
    card = read_card(name)
    prompts = list(chain.from_iterable(card.prompts()))
    assert len(set(prompts)) == len(prompts)
    assert len(card.prompts()) == len(card.text_classes()) == CLASSES[name] - (name in BACKGROUND)
    assert "background" not in prompts
    assert all(prompt == prompt.strip() and "  " not in prompt for prompt in prompts)


@pytest.mark.parametrize("name", CLASSES)
def test_the_text_of_a_card_tells_where_and_how(name: str) -> None:
    text = card_text(name)
    assert text.startswith("# ")
    for heading in ("Labels", "Traps"):
        assert f"\n## {heading}\n" in text
    assert "\n## Folders\n" in text or "\n## Files\n" in text
    homepage = read_card(name).homepage
    assert homepage is None or homepage in text


# Orders and label numbers.


def test_pascal_voc_and_context_are_in_alphabetical_order() -> None:
    assert names("voc2012")[1:] == sorted(names("voc2012")[1:])
    assert names("context60")[1:] == names("context59") == sorted(names("context59"))
    # PASCAL Context has all classes of PASCAL VOC, one of them under a shorter name.
    assert set(names("voc2012")) - set(names("context60")) == {"diningtable"}
    assert values("context59") == {0: "ignored", 255: "ignored", **dict(enumerate(names("context59"), 1))}


def test_ade20k_begins_at_1_with_0_unlabelled() -> None:
    assert values("ade20k") == {0: "ignored", **dict(enumerate(names("ade20k"), 1))}
    assert {1: "wall", 3: "sky", 13: "person", 21: "car", 22: "water", 67: "flower", 150: "flag"}.items() <= values(
        "ade20k"
    ).items()


def test_cityscapes_accounts_for_all_34_labels() -> None:
    published = values("cityscapes", 1)
    assert sorted(published) == list(range(34))
    assert [name for name in (published[value] for value in range(34)) if name != "ignored"] == names("cityscapes")
    assert {7: "road", 11: "building", 17: "pole", 23: "sky", 24: "person", 26: "car", 33: "bicycle"}.items() <= (
        published.items()
    )
    assert values("cityscapes") == {255: "ignored", **dict(enumerate(names("cityscapes")))}


def test_coco_stuff_leaves_out_the_eleven_ids_that_are_never_used() -> None:
    published = values("coco-stuff", 1)
    # COCO's ids of street sign, hat, shoe, eye glasses, plate, mirror, window, desk, door, blender, hair brush.
    unused = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}
    assert set(published) == {value for value in range(182) if value + 1 not in unused} | {255}
    assert [published[value] for value in sorted(published)] == [*names("coco-stuff"), "ignored"]


def test_coco_object_is_coco_stuff_with_its_stuff_as_background() -> None:
    stuff, objects = values("coco-stuff", 1), values("coco-object", 1)
    things = {name for name, kind in read_card("coco-stuff").kinds().items() if kind == "thing"}
    assert objects == {value: name if name in things else "background" for value, name in stuff.items()}
    assert names("coco-object")[1:] == names("coco-stuff")[:80]
    assert names("coco-object") == names("coco-mini")


def test_coco_mini_has_the_names_and_numbers_that_come_with_it(shared: Path) -> None:
    path = shared / "data" / "coco_mini" / "classes.json"
    if not path.is_file():
        pytest.skip(f"needs {path}; it is not there")
    told = json.loads(path.read_text())
    assert names("coco-mini") == told["coco_object"]
    assert values("coco-mini-panoptic") == {0: "ignored"} | {
        int(value): name for value, name in told["panoptic"].items()
    }


def test_imagenet_s_is_in_the_order_of_wordnet_ids() -> None:
    spec = find_spec("timm")  # found, not imported: its lists are enough
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs the lists of ImageNet's classes that come with timm; it is not there")
    lists = Path(spec.submodule_search_locations[0]) / "data" / "_info"
    words = dict(line.split("\t", 1) for line in (lists / "imagenet_synset_to_lemma.txt").read_text().splitlines())
    ids = sorted((lists / "imagenet_synsets.txt").read_text().split())
    assert len(ids) == 1000
    for card in ("imagenet-s-50", "imagenet-s-300"):
        before = ""
        for name in names(card)[1:]:
            # Some names are those of two ids, such as crane: the next in order is meant.
            before = next(one for one in ids if one > before and words[one].split(",")[0].lower() == name)
    assert set(names("imagenet-s-50")) <= set(names("imagenet-s-300"))


def test_camvid_gives_each_of_the_32_colours_a_class_or_void() -> None:
    found = values("camvid", 1)
    assert len(found) == 32
    assert found[0] == "ignored"
    assert {0x808080: "sky", 0x800000: "building", 0x804080: "road", 0x0000C0: "pavement", 0x400080: "car"}.items() <= (
        found.items()
    )
    assert values("camvid") == {11: "ignored", **dict(enumerate(names("camvid")))}


def test_the_first_prompt_is_the_word_of_the_published_figures() -> None:
    def first(card: Card) -> list[str]:
        return [prompts[0] for prompts in card.prompts()]

    voc = first(read_card("voc2012"))
    assert [voc[index] for index in (0, 10, 13, 15, 19)] == ["aeroplane", "table", "motorbike", "plant", "monitor"]
    context = first(read_card("context60"))
    assert [context[index] for index in (0, 39, 54)] == ["airplane", "plant", "monitor"]
    for name in ("ade20k", "cityscapes", "coco-object", "coco-stuff", "imagenet-s-50", "imagenet-s-300"):
        assert first(read_card(name)) == list(read_card(name).text_classes())
