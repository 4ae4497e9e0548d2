"""Cards: what the YAML front matter of a data set's Markdown file says, checked."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from data_cards.errors import MisuseError

FOLDER = Path(__file__).resolve().parent
_FENCE = "---"

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Part(BaseModel):
    """Read once, never changed; a key that nobody knows is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class CardClass(_Part):
    """A class. kind: "stuff" has no instances, "thing" has. synonyms: further words by which captions name it."""

    name: Text
    kind: Literal["stuff", "thing"]
    synonyms: tuple[Text, ...] = ()


class Resize(_Part):
    """Pictures are scaled so that their short side has `short_side` pixels."""

    short_side: Annotated[int, Field(ge=1)]


class Window(_Part):
    """Square windows of `size` pixels slide over the picture, `stride` pixels apart."""

    size: Annotated[int, Field(ge=1)]
    stride: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _no_gaps(self) -> Window:
        if self.stride > self.size:
            raise ValueError(f"stride {self.stride} is larger than size {self.size}: pixels between would be left out")
        return self


class Card(_Part):
    """A data set.

    name: how commands call it. license: an SPDX identifier, in small letters. layout: which reader reads
    it. split: the one that is measured on. classes: in the order of the masks' values. ignore_index:
    the value of pixels that count nowhere, or None. background: the rule for pixels of no class, or None
    where every pixel has one. resize, window: how a picture is presented to a model, or None: as it is.
    """

    name: Text
    pretty_name: Text
    license: Text
    homepage: Text | None = None
    task_categories: tuple[Text, ...] = ()
    language: tuple[Text, ...] = ()
    layout: Text
    split: Text
    ignore_index: Annotated[int, Field(ge=0, le=255)] | None = None
    background: Text | None = None
    resize: Resize | None = None
    window: Window | None = None
    classes: Annotated[tuple[CardClass, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _classes_are_told_apart(self) -> Card:
        if twice := [name for name, count in Counter(one.name for one in self.classes).items() if count > 1]:
            raise ValueError(f"classes: {twice[0]!r} occurs more than once")
        if self.ignore_index is not None and self.ignore_index < len(self.classes):
            raise ValueError(
                f"ignore_index {self.ignore_index} is the value of class {self.classes[self.ignore_index].name!r}; "
                f"give one from {len(self.classes)} to 255"
            )
        words: dict[str, str] = {}
        for name, said in self.synonyms().items():
            for word in said:
                if words.setdefault(word, name) != name:
                    raise ValueError(f"classes: {word!r} names both {words[word]!r} and {name!r}")
        return self

    def synonyms(self) -> dict[str, list[str]]:
        """Class -> the words that name it, its own name first: what `cocu curate score --synonyms` reads."""
        return {one.name: list(dict.fromkeys((one.name, *one.synonyms))) for one in self.classes}

    def kinds(self) -> dict[str, str]:
        """Class -> "stuff" or "thing", in the classes' order."""
        return {one.name: one.kind for one in self.classes}


def read_card(card: str | Path) -> Card:
    """Read a card: a name such as "miniature", which ships with the package, or the path of a Markdown file.

    Raises MisuseError: no such card; no front matter; a key that is missing, unknown, or has a wrong value.
    """
    path = Path(card)
    if path.suffix != ".md":
        path = FOLDER / f"{card}.md"
        if not path.is_file():
            known = ", ".join(sorted(one.stem for one in FOLDER.glob("*.md")))
            raise MisuseError(f"card {str(card)!r}: there is none of this name; give one of {known}, or a file (.md)")
    return _read(path, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=32)
def _read(path: Path, changed: int) -> Card:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
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
        content = yaml.safe_load("\n".join(lines[:end]))
    except yaml.YAMLError as error:
        raise MisuseError(f"card {path}: its front matter is no YAML ({' '.join(str(error).split())})") from error
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
