"""What a card says of a data set's masks: where they lie, and which value in them stands for which class."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

LARGEST = 65_534  # class index or value in a mask; 65,535 marks what no class claims
UNCLAIMED = 65_535
AT_ONCE = 1 << 22  # pixels

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Form = Literal["index", "red_green", "colours"]


class CardPart(BaseModel):
    """Read once, never changed; a key that nobody knows is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _codes(given: Any) -> Any:
    """Values as people list them, 3, "4-6", "#ff8000", or one of these alone, as a tuple of numbers."""
    listed = given if isinstance(given, list | tuple) else [given]
    return tuple(number for one in listed for number in _numbers(one))


def _codes_of_classes(given: Any) -> Any:
    """The values of class after class: a range such as "4-6" is one value for each of three, a list is all of one."""
    if not isinstance(given, list | tuple):
        raise ValueError("give a list: the values of the first class, of the second, ...")
    groups = [[_codes(one)] if isinstance(one, list | tuple) else [(code,) for code in _numbers(one)] for one in given]
    return tuple(codes for group in groups for codes in group)


def _numbers(one: Any) -> Sequence[int]:
    if isinstance(one, str):
        if colour := re.fullmatch(r"#([0-9a-fA-F]{6})", one):
            return [int(colour[1], 16)]
        if (span := re.fullmatch(r"(\d+)-(\d+)", one)) and int(span[1]) <= int(span[2]) <= LARGEST:
            return range(int(span[1]), int(span[2]) + 1)
    if isinstance(one, int) and not isinstance(one, bool) and one >= 0:
        return [one]
    raise ValueError(f'{one!r}: give a number from 0, a range such as "4-6", or a colour such as "#ff8000"')


Codes = Annotated[tuple[int, ...], BeforeValidator(_codes)]
CodesOfClasses = Annotated[
    tuple[Annotated[tuple[int, ...], Field(min_length=1)], ...], BeforeValidator(_codes_of_classes)
]


class Masks(CardPart):
    """One kind of mask files that a data set comes with.

    path: layout folders: the file of a key, from the top folder, with {key} and {split}; layout webdataset: the
    ending of the member's name. form: how a file holds its values: "index": one channel, or the indices of a
    palette; "red_green": red + 256 · green; "colours": red · 65,536 + green · 256 + blue, written "#rrggbb".
    values: of the classes in their order, each one value or a list of several; None: 0, 1, 2, ... ignored: values of
    pixels that count nowhere; None: the card's ignore_index alone.
    """

    path: Text
    form: Form = "index"
    values: CodesOfClasses | None = None
    ignored: Codes | None = None

    @model_validator(mode="after")
    def _within_the_form(self) -> Masks:
        largest = 0xFFFFFF if self.form == "colours" else LARGEST
        if self.form == "colours" and self.values is None:
            raise ValueError("values: masks of the form colours need the colours of each class")
        for value in (*(self.ignored or ()), *(one for codes in self.values or () for one in codes)):
            if value > largest:
                raise ValueError(f"value {value} is larger than a mask of the form {self.form} holds ({largest})")
        return self


@dataclass(frozen=True)
class LabelMapping:
    """From the values in mask files to class indices.

    classes: value -> class index, or ignore_index for a value that is ignored. form: of the values.
    """

    form: Form
    classes: dict[int, int]
    _values: NDArray[np.int64]  # ascending
    _targets: NDArray[np.uint16]  # of the same order
    _table: NDArray[np.uint16] | None  # value -> target, where values are small

    @classmethod
    def of(cls, masks: Masks, names: Sequence[str], ignore_index: int | None) -> LabelMapping:
        """The mapping that a card's `masks` describe, for classes of these names in order.

        Raises ValueError: values for more or fewer classes, a value of two classes, an ignored value without an
        ignore_index.
        """
        classes: dict[int, int] = {}
        for value, index in _pairs(masks, names):
            if classes.setdefault(value, index) != index:
                said = f"#{value:06x}" if masks.form == "colours" else value
                raise ValueError(
                    f"masks {masks.path}: {said} stands for {names[classes[value]]!r} and {names[index]!r}"
                )
        ignored = masks.ignored
        if ignored is None:
            ignored = () if ignore_index is None or masks.form == "colours" else (ignore_index,)
        for value in ignored:
            if ignore_index is None:
                raise ValueError(f"masks {masks.path}: ignores {value}, but the card has no ignore_index")
            if classes.setdefault(value, ignore_index) != ignore_index:
                raise ValueError(f"masks {masks.path}: ignores {value}, the value of {names[classes[value]]!r}")
        values = np.array(sorted(classes), np.int64)
        targets = np.array([classes[int(value)] for value in values], np.uint16)
        table = None
        if masks.form != "colours":
            table = np.full(UNCLAIMED + 1, UNCLAIMED, np.uint16)
            table[values] = targets
        return cls(masks.form, classes, values, targets, table)

    def to_classes(self, values: NDArray[np.integer]) -> NDArray[np.uint16]:
        """Values [...] of a mask file -> class indices uint16 [...]; UNCLAIMED where a value has no class."""
        if self._table is not None:
            return self._table[values]
        found = np.full(values.shape, UNCLAIMED, np.uint16)
        flat, result = values.reshape(-1), found.reshape(-1)
        for start in range(0, len(flat), AT_ONCE):  # indices take far more room than a mask
            part = flat[start : start + AT_ONCE]
            place = np.searchsorted(self._values, part).clip(max=len(self._values) - 1)
            known = self._values[place] == part
            result[start : start + AT_ONCE][known] = self._targets[place[known]]
        return found


def _pairs(masks: Masks, names: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Each value with its class index."""
    values = masks.values or tuple((index,) for index in range(len(names)))
    if len(values) != len(names):
        raise ValueError(f"masks {masks.path}: values are given for {len(values)} classes, the card has {len(names)}")
    for index, codes in enumerate(values):
        yield from ((code, index) for code in codes)
