"""The layout "folders": pictures and masks in folders of their own, paired by what their names have in common.

A card gives the patterns, `images: JPEGImages/{key}.jpg` and `masks: [{path: SegmentationClass/{key}.png}]`, and
the keys come from a list, `keys: ImageSets/Segmentation/{split}.txt`, or from the pictures that are there.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_cards.cards import Card
from data_cards.layouts.decoding import BadItem
from data_cards.layouts.layout import LAYOUTS, refuse_unused_split
from data_cards.masks import Masks
from files.errors import MisuseError
from files.rejects import is_utf8

KEY, SPLIT = "{key}", "{split}"
_LOOKED_AT = 50  # pictures whose masks decide which kind of masks is there


@dataclass(frozen=True)
class Folders:
    """Files under `top`; images: the pattern of the pictures' paths, with {key}."""

    top: Path
    keys: Sequence[str]
    images: str
    masks: Masks
    mask_paths: str

    def picture(self, index: int) -> tuple[str, bytes]:
        """Path and content of a picture. Raises BadItem."""
        return self._read(self.picture_file(index), index, "the picture")

    def mask(self, index: int) -> tuple[str, bytes]:
        """Path and content of a mask. Raises BadItem."""
        return self._read(self.mask_file(index), index, "the mask")

    def picture_file(self, index: int) -> str:
        """Where a picture is, or should be."""
        return _there(self.top / self.images.replace(KEY, self.keys[index]))

    def mask_file(self, index: int) -> str:
        """Where the mask of a picture is, or should be."""
        return _there(self.top / self.mask_paths.replace(KEY, self.keys[index]))

    def missing(self) -> list[str]:
        """The pictures and masks that are not there."""
        files = [where(index) for where in (self.picture_file, self.mask_file) for index in range(len(self.keys))]
        return [file for file in files if not os.path.isfile(file)]

    def _read(self, path: str, index: int, what: str) -> tuple[str, bytes]:
        try:
            return path, Path(path).read_bytes()
        except FileNotFoundError:
            raise BadItem(path, f"{what} of {self.keys[index]!r} is missing") from None
        except OSError as error:
            raise BadItem(path, f"{what} cannot be read ({error.strerror or error})") from error


def open_folders(card: Card, path: Path, split: str) -> Folders:
    """Find the top folder, the keys, and which of the card's masks are there. Raises MisuseError."""
    if card.images is None or KEY not in card.images:
        raise MisuseError(f"card {card.name}: the layout folders needs images, the pattern of their paths with {KEY}")
    for masks in card.masks:
        if KEY not in masks.path:
            raise MisuseError(f"card {card.name}: masks {masks.path!r} needs {KEY} in the pattern")
    if not any(SPLIT in (pattern or "") for pattern in (card.keys, card.images, *(one.path for one in card.masks))):
        refuse_unused_split(card, path, split, f"the card has one split, {card.split}: no path in it holds {SPLIT}")
    images = card.images.replace(SPLIT, split)
    top = _top(card, path, images, split)
    keys = _listed(top / card.keys.replace(SPLIT, split)) if card.keys else _found(card, top, images)
    if not keys:
        raise MisuseError(f"{card.name}={path}: no picture {top / images.replace(KEY, '*')} is there")
    masks = _masks(card, top, keys, split)
    return Folders(top, keys, images, masks, masks.path.replace(SPLIT, split))


def _top(card: Card, path: Path, images: str, split: str) -> Path:
    """The folder from which the card's paths count: PATH, or the card's `top` or the end of it below PATH."""
    wanted = card.keys.replace(SPLIT, split) if card.keys else images.partition(KEY)[0].rpartition("/")[0]
    parts = Path(card.top).parts if card.top else ()
    candidates = [path.joinpath(*parts[first:]) for first in range(len(parts), -1, -1)]
    for candidate in candidates:
        if (candidate / wanted).exists():
            return candidate
    # The deepest folder that is there is where the search went wrong.
    nearest = max((one for one in candidates if one.is_dir()), key=lambda one: len(one.parts), default=path)
    missing = _first_missing(nearest / wanted, nearest)
    named = Path(card.top).name if card.top else ""
    is_top = missing.parent == nearest and named
    question = f": is PATH the folder that contains {card.top}, or {named} itself?" if is_top else "."
    raise MisuseError(f"{card.name}={path}: {missing} is missing{question} {_contents(missing.parent)}")


def _first_missing(path: Path, top: Path) -> Path:
    """Of a path that is not there the folder nearest to `top` that is not there either, or the path itself."""
    missing = [one for one in path.parents if one.is_relative_to(top) and not one.exists()]
    return missing[-1] if missing else path


def _contents(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder} is no folder."
    names = sorted(one.name for one in folder.iterdir() if not one.name.startswith("."))
    return (
        f"{folder} holds {', '.join(names[:8]) or 'nothing'}{f' and {len(names) - 8} more' if len(names) > 8 else ''}."
    )


def _listed(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MisuseError(f"{path}: the list of the split cannot be read ({error})") from error
    keys = tuple(line.strip() for line in lines if line.strip())
    if twice := [key for key, count in Counter(keys).items() if count > 1]:
        raise MisuseError(f"{path}: lists {twice[0]!r} more than once; each picture counts once")
    return keys


def _found(card: Card, top: Path, images: str) -> tuple[str, ...]:
    """The keys of all files that fit the pattern, in order; a key may hold folders: a/b."""
    before, _, after = images.partition(KEY)
    start = before.rpartition("/")[0]
    keys: list[str] = []
    for folder, _, names in os.walk(top / start, followlinks=True):
        inner = Path(folder).relative_to(top).as_posix()
        for name in names:
            relative = name if inner == "." else f"{inner}/{name}"
            key, end = relative[len(before) : len(relative) - len(after)], relative[len(relative) - len(after) :]
            if relative == f"{before}{key}{end}" and _same_but_for_case(end, after) and not name.startswith("."):
                if not is_utf8(relative):
                    raise MisuseError(f"{top}: {relative!a}: the name is not UTF-8; rename the file or folder")
                keys.append(key)
    if twice := [key for key, count in Counter(keys).items() if count > 1]:
        raise MisuseError(
            f"{card.name}={top}: {before}{twice[0]}{after} is there twice, its ending in small and in large letters; "
            "keep one"
        )
    return tuple(sorted(keys))


def _same_but_for_case(end: str, after: str) -> bool:
    """Whether a name ends as the card says, but for the case of what follows the last dot: .JPG for .jpg."""
    stem, dot, _ = after.rpartition(".")
    return end == after or (dot != "" and end.lower() == after.lower() and end.startswith(f"{stem}."))


def _there(path: Path) -> str:
    """The path, or the one that is there in its place with an ending in other letters: .JPG for .jpg."""
    if not path.suffix or path.is_file():
        return str(path)
    others = (path.with_suffix(change(path.suffix)) for change in (str.upper, str.lower, str.title))
    return str(next((other for other in others if other.is_file()), path))


def _masks(card: Card, top: Path, keys: Sequence[str], split: str) -> Masks:
    """Of the kinds of masks that the card knows the one that most pictures have."""
    step = max(1, len(keys) // _LOOKED_AT)

    def there(masks: Masks) -> int:
        pattern = masks.path.replace(SPLIT, split)
        return sum(os.path.isfile(_there(top / pattern.replace(KEY, key))) for key in keys[::step])

    best = max(card.masks, key=there)  # of equals the first
    if there(best) == 0:
        expected = [top / one.path.replace(SPLIT, split).replace(KEY, keys[0]) for one in card.masks]
        missing = " and ".join(dict.fromkeys(str(_first_missing(one, top)) for one in expected))
        raise MisuseError(
            f"{card.name}: no picture under {top} has a mask: {missing} {'is' if len(expected) == 1 else 'are'} missing"
        )
    return best


LAYOUTS.add("folders", open_folders)
