"""Cards: what the YAML front matter of a data set's Markdown file says, checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from data_cards.masks import LARGEST, CardPart, LabelMapping, Masks, Text
from files.bounded_text import bounded_text
from files.errors import MisuseError
from files.plain_names import plain_name
from files.strict_yaml import YamlFault, parse_yaml

Protocol = Literal["groupvit", "clip"]
USUAL = "the usual of SCLIP, as the card says nothing of its own"
FOLDER = Path(__file__).resolve().parent
_FENCE = "---"
MOST_BYTES = 8 << 20


class CardClass(CardPart):
    """A class. kind: "stuff" has no instances, "thing" has; "unsaid": the data set does not say.

    prompts: the words put to a text encoder, the one that published figures were measured with first; none given: the
    name. clip: its words under the protocol clip; none given: the first of prompts. synonyms: further words by which
    captions name it. colour: "#rrggbb", in pictures of labels; none given: one that tells it from the others.
    """

    name: Text
    kind: Literal["stuff", "thing", "unsaid"] = "unsaid"
    prompts: tuple[Text, ...] = ()
    clip: tuple[Text, ...] = ()
    synonyms: tuple[Text, ...] = ()
    colour: Annotated[str, Field(pattern="^#[0-9a-f]{6}$")] | None = None

    @property
    def clip_words(self) -> tuple[str, ...]:
        """Its words under the protocol clip."""
        return self.clip or self.prompts[:1] or (self.name,)


class Background(CardPart):
    """The class of pixels of no other class: no text names it, a pixel falls to it by its best probability.

    It does so where that is below min(threshold, the highest of the image).
    """

    name: Text
    threshold: Annotated[float, Field(ge=0, le=1)]


class Resize(CardPart):
    """Pictures are scaled, their ratio kept, so that the short side has `short_side` pixels.

    Where the long side would then have more than `long_side`, it has that, and the short side fewer.
    """

    short_side: Annotated[int, Field(ge=1)]
    long_side: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _sides_in_order(self) -> Resize:
        if self.long_side is not None and self.long_side < self.short_side:
            raise ValueError(f"long_side {self.long_side} is smaller than short_side {self.short_side}")
        return self


class Window(CardPart):
    """Square windows of `size` pixels slide over the picture, `stride` pixels apart."""

    size: Annotated[int, Field(ge=1)]
    stride: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _no_gaps(self) -> Window:
        if self.stride > self.size:
            raise ValueError(f"stride {self.stride} is larger than size {self.size}: pixels between would be left out")
        return self


class ClipProtocol(CardPart):
    """How papers measure that segment with a CLIP as it is; what is not given is the usual of SCLIP (Wang et al. 2024).

    A class has several words, of which the most probable counts; the background has words as well. source: whose public
    configuration says so. background: its words; none: nobody wrote them. threshold: a pixel of no word at least as
    probable is background. logit_scale: multiplies a cosine before the softmax over all words. least_area: classes with
    no larger share of a picture's foreground are taken out of it. templates: the sentences around a word. resize,
    window: as the card's own.
    """

    source: Text
    background: tuple[Text, ...] = ()
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
    logit_scale: Annotated[float, Field(gt=0, le=1000)] = 40.0
    least_area: Annotated[float, Field(ge=0, lt=1)] | None = None
    templates: Literal["simple", "subset", "full"] = "full"
    resize: Resize | None = Resize(short_side=336, long_side=2048)
    window: Window | None = Window(size=224, stride=112)


class Card(CardPart):
    """A data set.

    name: how commands call it, and a folder of results. license: an SPDX identifier, in small letters, or "other"
    with license_name and license_link. layout: which reader reads it, by top, keys, images, masks (see layouts.py):
    top: the folder that the other paths count from, when a folder above it is given; keys: the file that lists the
    split's keys; images: the pattern of the pictures' paths; masks: the kinds of masks it comes with; partly_masked:
    pictures without a mask are left out rather than bad. split: the one that is measured on, and pictures: how many
    it has. classes: in the order of the class indices. ignore_index: the index of pixels that count nowhere, or None.
    background: the rule for pixels of no class, or None where every pixel has one. resize, window: how a picture is
    presented to a model, or None: as it is. clip: how it is measured under the protocol clip; all else says so of the
    protocol groupvit.
    """

    name: Annotated[Text, AfterValidator(plain_name)]
    pretty_name: Text
    license: Text
    license_name: Text | None = None
    license_link: Text | None = None
    homepage: Text | None = None
    task_categories: tuple[Text, ...] = ()
    language: tuple[Text, ...] = ()
    layout: Text
    split: Text
    pictures: Annotated[int, Field(ge=1)] | None = None
    top: Text | None = None
    keys: Text | None = None
    images: Text | None = None
    masks: Annotated[tuple[Masks, ...], Field(min_length=1)] = (Masks(path="mask.png"),)
    partly_masked: bool = False
    ignore_index: Annotated[int, Field(ge=0, le=LARGEST)] | None = None
    background: Background | None = None
    resize: Resize | None = None
    window: Window | None = None
    clip: ClipProtocol | None = None
    classes: Annotated[tuple[CardClass, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _classes_are_told_apart(self) -> Card:
        names = [one.name for one in self.classes]
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise ValueError(f"classes: {twice[0]!r} occurs more than once")
        if self.ignore_index is not None and self.ignore_index < len(names):
            raise ValueError(
                f"ignore_index {self.ignore_index} is the value of class {names[self.ignore_index]!r}; "
                f"give one from {len(names)}"
            )
        if self.background and self.background.name not in names:
            raise ValueError(f"background: {self.background.name!r} is none of the classes")
        for namings in (
            (*self.synonyms().items(), *zip(self.text_classes(), self.prompts(), strict=True)),
            [(one.name, one.clip_words) for one in self.classes],
        ):
            words: dict[str, str] = {}
            for name, said in namings:
                for word in said:
                    if words.setdefault(word, name) != name:
                        raise ValueError(f"classes: {word!r} names both {words[word]!r} and {name!r}")
        if self.background and self.classes[names.index(self.background.name)].clip:
            raise ValueError(f"classes: {self.background.name!r}: give the background's words as clip: background")
        if self.clip and not self.background and (self.clip.background or self.clip.threshold or self.clip.least_area):
            raise ValueError("clip: words, a threshold or a least area of the background, and the card has none")
        for masks in self.masks:
            self.mapping(masks)
        return self

    def mapping(self, masks: Masks) -> LabelMapping:
        """From the values of one of the card's kinds of masks to class indices."""
        return LabelMapping.of(masks, [one.name for one in self.classes], self.ignore_index)

    def under(self, protocol: Protocol) -> Card:
        """The card as a protocol has it: as it is for groupvit; for clip with the sizes, words and threshold of `clip`.

        `clip` is then complete, and what a class's words were is among its synonyms.
        """
        if protocol == "groupvit":
            return self
        clip = self.clip or ClipProtocol(source=USUAL, threshold=0.1 if self.background else 0)
        classes = tuple(
            one.model_copy(update={"prompts": one.clip_words, "synonyms": (*one.prompts, *one.synonyms)})
            for one in self.classes
        )
        background = self.background and self.background.model_copy(update={"threshold": clip.threshold})
        sizes = {"resize": clip.resize, "window": clip.window}
        return self.model_copy(update={"clip": clip, "classes": classes, "background": background, **sizes})

    @property
    def background_index(self) -> int | None:
        """The index of the background's class, or None."""
        names = [one.name for one in self.classes]
        return names.index(self.background.name) if self.background else None

    def text_classes(self) -> tuple[str, ...]:
        """The classes that text names, in order: all but the background."""
        return tuple(one.name for index, one in enumerate(self.classes) if index != self.background_index)

    def prompts(self) -> tuple[tuple[str, ...], ...]:
        """For each class of `text_classes` the words put to a text encoder."""
        by_name = {one.name: one.prompts or (one.name,) for one in self.classes}
        return tuple(by_name[name] for name in self.text_classes())

    def synonyms(self) -> dict[str, list[str]]:
        """Class -> the words that name it, its own name first: what `cocu curate score --synonyms` reads."""
        said = {one.name: (one.name, *one.prompts, *one.synonyms) for one in self.classes}
        return {name: list(dict.fromkeys(said[name])) for name in self.text_classes()}

    def kinds(self) -> dict[str, str]:
        """Class -> "stuff" or "thing", in order; without the classes of which the data set does not say."""
        return {one.name: one.kind for one in self.classes if one.kind != "unsaid"}


def card_names() -> tuple[str, ...]:
    """The names of the cards that ship with the package."""
    return tuple(sorted(one.stem for one in FOLDER.glob("*.md")))


def card_file(card: str | Path) -> Path:
    """The Markdown file of a card that is given by name or is a file already. Raises MisuseError: no such name."""
    path = Path(card)
    if path.suffix == ".md":
        return path
    if str(card) not in card_names():
        known = ", ".join(card_names())
        raise MisuseError(f"card {str(card)!r}: there is none of this name; give one of {known}, or a file (.md)")
    return FOLDER / f"{card}.md"


def read_card(card: str | Path) -> Card:
    """Read a card: a name such as "miniature", which ships with the package, or the path of a Markdown file.

    Raises MisuseError: no such card; no front matter; a key that is missing, unknown, or has a wrong value.
    """
    path = card_file(card)
    return _read(path, path.stat().st_mtime_ns if path.is_file() else 0)


def benchmarks_of(given: str | Sequence[str] | Mapping[str, str | Path]) -> list[tuple[Card, Path]]:
    """Cards, and where their data sets lie, of one "CARD=PATH" or several, or of {card: path}. Raises MisuseError."""
    if isinstance(given, Mapping):
        return [(read_card(name), Path(path)) for name, path in given.items()]
    parted = [one.partition("=") for one in ([given] if isinstance(given, str) else given)]
    if faulty := next(("".join(parts) for parts in parted if not all(parts)), None):
        raise MisuseError(f"{faulty!r}: give NAME=PATH, such as voc2012=VOCdevkit")
    return [(read_card(name), Path(path)) for name, _, path in parted]


def card_text(card: str | Path) -> str:
    """What follows the front matter: the Markdown that people read. Raises MisuseError as `read_card` does."""
    read_card(card)
    lines = card_file(card).read_text(encoding="utf-8-sig").split("\n")
    end = [line.rstrip() for line in lines].index(_FENCE, 1)
    return "\n".join(lines[end + 1 :]).strip() + "\n"


@lru_cache(maxsize=32)
def _read(path: Path, changed: int) -> Card:
    try:
        text = bounded_text(path, MOST_BYTES)
    except (OSError, ValueError) as error:
        raise MisuseError(f"card {path}: cannot be read ({error})") from error
    try:
        return Card.model_validate(_front_matter(path, text), strict=False)
    except ValidationError as error:
        raise MisuseError(f"card {path}: {_first(error)}") from None


def _front_matter(path: Path, text: str) -> dict[str, Any]:
    opening, *lines = text.split("\n")
    if opening.rstrip() != _FENCE or _FENCE not in [line.rstrip() for line in lines]:
        raise MisuseError(f"card {path}: no front matter; begin the file with YAML between two lines of {_FENCE}")
    end = [line.rstrip() for line in lines].index(_FENCE)
    try:
        content = parse_yaml("\n".join(lines[:end])).values
    except YamlFault as fault:
        where = f" in line {fault.line + 1}" if fault.line else ""
        raise MisuseError(f"card {path}: its front matter cannot be read{where}: {fault}") from None
    if not isinstance(content, dict):
        raise MisuseError(f"card {path}: its front matter is a {type(content).__name__}; give keys and values")
    return content


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, with key and value, and how many more there are."""
    one, *others = error.errors()
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in one["loc"]).removeprefix(".")
    said = one["msg"].removeprefix("Value error, ")
    if one["type"] == "missing":
        said = "is missing"
    elif one["type"] == "extra_forbidden":
        said = "is no key of a card"
    elif key:
        said = f"{one['input']!r:.80}: {said[:1].lower()}{said[1:]}"
    more = f" (and {len(others)} more)" if others else ""
    return f"{key}{' ' if said.startswith('is ') else ': ' if key else ''}{said}{more}"
