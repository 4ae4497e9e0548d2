"""Whether a data set on disk is what its card says: counts, a sample's values, and what a mismatch looks like.

The masks of one data set go around in several forms, shifted by one, mapped to other indices, saved with
colours. A wrong form often reads without an error and only ruins the figures, so its marks are looked for.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data_cards.cards import Card, card_names, read_card
from data_cards.layouts.benchmark import Benchmark, open_benchmark, write_values
from data_cards.layouts.decoding import BadItem
from data_cards.masks import Masks
from files.errors import CocuError

SAMPLE = 50  # pictures read, spread over the set
_NAMED = 3  # files named of each kind of trouble
_OFTEN_IGNORED = 255


@dataclass(frozen=True)
class Check:
    """What was found. wrong: in words, what keeps the data from being measured on; none: all is well.

    notes: what is worth knowing. pictures: how many there are; sampled: how many were read. pixels: class -> its
    share 0..1 of the sample's labelled pixels; shown: class -> in how many of the sample's pictures. ignored: share
    of the sample's pixels that count nowhere. masks: the kind that was found, as the card writes it.
    """

    wrong: tuple[str, ...]
    notes: tuple[str, ...] = ()
    pictures: int = 0
    sampled: int = 0
    pixels: dict[str, float] = field(default_factory=dict)
    shown: dict[str, int] = field(default_factory=dict)
    ignored: float = 0.0
    masks: str | None = None

    @property
    def well(self) -> bool:
        """Whether nothing is wrong."""
        return not self.wrong


def check_benchmark(card: Card, path: str | Path, split: str | None = None, sample: int = SAMPLE) -> Check:
    """Count the files under `path`, read `sample` pictures and masks, and compare them with the card.

    Nothing is raised for what is wrong with the data: it is told in `wrong`.
    """
    try:
        benchmark = open_benchmark(card, path, split)
    except CocuError as error:
        return Check((str(error),))
    missing = benchmark.source.missing()
    absent = set(missing)
    present = [
        index
        for index in range(len(benchmark))
        if benchmark.source.picture_file(index) not in absent and benchmark.source.mask_file(index) not in absent
    ]
    places = np.linspace(0, len(present) - 1, min(sample, len(present))).round().astype(int)
    seen = _Seen(benchmark)
    for place in places:
        seen.read(present[int(place)])
    wrong = [_files("missing", missing)] if missing else []
    wrong += [_files(reason, files) for reason, files in seen.bad.items()]
    return seen.summary(wrong + _wrong_values(seen), _counted(card, benchmark))


class _Seen:
    """What the sample holds."""

    def __init__(self, benchmark: Benchmark) -> None:
        self.benchmark = benchmark
        self.values: Counter[int] = Counter()  # value -> pixels
        self.pictures: Counter[int] = Counter()  # class index -> pictures
        self.bad: dict[str, list[str]] = {}  # reason -> files
        self.read_whole = 0

    def read(self, index: int) -> None:
        """Read a picture and its mask, and count the mask's values."""
        try:
            image, values = self.benchmark.image(index), self.benchmark.mask_values(index)
        except BadItem as bad:
            self.bad.setdefault(bad.reason, []).append(bad.path)
            return
        if image.shape[:2] != values.shape:
            self.bad.setdefault("of another size than its picture", []).append(self.benchmark.source.mask_file(index))
            return
        found, pixels = np.unique(values, return_counts=True)
        self.values.update(dict(zip(found.tolist(), pixels.tolist(), strict=True)))
        self.pictures.update({self.benchmark.mapping.classes.get(value, -1) for value in found.tolist()})
        self.read_whole += 1

    def strangers(self) -> list[int]:
        """The values that the card gives no meaning, the most frequent first."""
        return [value for value, _ in self.values.most_common() if value not in self.benchmark.mapping.classes]

    def summary(self, wrong: list[str], notes: list[str]) -> Check:
        """The check's result."""
        card, classes = self.benchmark.card, self.benchmark.mapping.classes
        names = dict(enumerate(one.name for one in card.classes))
        pixels: Counter[str] = Counter()
        for value, count in self.values.items():
            if (name := names.get(classes.get(value, -1))) is not None:
                pixels[name] += count
        labelled, everything = pixels.total(), self.values.total()
        ignored = sum(count for value, count in self.values.items() if classes.get(value) == card.ignore_index)
        return Check(
            tuple(wrong),
            tuple(notes),
            pictures=len(self.benchmark),
            sampled=self.read_whole,
            pixels={name: count / labelled for name, count in pixels.most_common()},
            shown={names[index]: count for index, count in self.pictures.items() if index in names},
            ignored=ignored / everything if everything and card.ignore_index is not None else 0.0,
            masks=self.benchmark.source.masks.path,
        )


def _files(reason: str, files: list[str]) -> str:
    named = ", ".join(files[:_NAMED]) + (f" and {len(files) - _NAMED} more" if len(files) > _NAMED else "")
    return f"{len(files):,} file{'s' if len(files) > 1 else ''} {reason}: {named}"


def _counted(card: Card, benchmark: Benchmark) -> list[str]:
    if card.pictures in (None, len(benchmark)) or benchmark.split != card.split:
        return []
    return [f"{len(benchmark):,} pictures are there, where the split {card.split} has {card.pictures:,}"]


def _wrong_values(seen: _Seen) -> list[str]:
    """What is wrong with the masks' values as a whole, with a guess at the reason."""
    benchmark = seen.benchmark
    found = {benchmark.mapping.classes.get(value) for value in seen.values}
    if strangers := seen.strangers():
        share = sum(seen.values[value] for value in strangers) / seen.values.total()
        form = benchmark.mapping.form
        said = f"masks hold {write_values(strangers, form)} ({share:.1%} of the pixels), which no class of the card has"
        return [f"{said}: {_likely(benchmark.card, benchmark.source.masks, set(seen.values))}"]
    if seen.read_whole > 1 and len(benchmark.card.classes) > 1 and len(found) == 1:
        index = found.pop()
        one = (
            "the ignored value"
            if index == benchmark.card.ignore_index
            else repr(benchmark.card.classes[index or 0].name)
        )
        return [f"masks hold nothing but {one}: are these the masks of this split? Test splits often come without"]
    return []


def _likely(card: Card, masks: Masks, values: set[int]) -> str:
    """What masks with these values look like."""

    def fits(other: Card, kind: Masks, of: set[int]) -> bool:
        return kind.form == masks.form and of <= other.mapping(kind).classes.keys()

    for kind in card.masks:
        if kind is not masks and fits(card, kind, values):
            return f"their values are those of the card's masks {kind.path}; name the files so"
    if masks.form == "index":
        low, high = min(values), max(values - {_OFTEN_IGNORED}, default=0)
        mapping = card.mapping(masks).classes
        first = min(value for value, index in mapping.items() if index == 0)
        if low == 0 and high > 0 and first == 1 and _OFTEN_IGNORED in values and high < len(card.classes):
            return (
                f"with 0 to {high} and {_OFTEN_IGNORED} this looks like {card.pretty_name} after the shift by one, "
                f"where 0 is {card.classes[0].name!r}; the card expects the masks as published, where 0 is unlabelled"
            )
        if first == 0 and high == len(card.classes) and values - {high, _OFTEN_IGNORED} <= mapping.keys():
            return (
                f"with {low} to {high} for {len(card.classes)} classes this looks like {card.pretty_name} before the "
                f'shift by one, 0 unlabelled; in the card, write values: ["1-{high}"] and ignored: [0] with the masks'
            )
        if values <= {0, 1, _OFTEN_IGNORED}:
            return "black-and-white masks tell one object from the rest, not classes"
    others = sorted(map(read_card, card_names()), key=lambda other: len(other.classes))  # the tightest fit first
    if known := [other.name for other in others if any(fits(other, kind, values) for kind in other.masks)]:
        return f"they would fit {', '.join(known[:_NAMED])}"
    if card.ignore_index is None and _OFTEN_IGNORED in values:
        return f"{_OFTEN_IGNORED} often marks pixels to leave out; if so, give the card an ignore_index"
    return "is this the data set of the card, and are the masks as published?"
