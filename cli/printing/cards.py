"""Prints cards and what `cocu data check` finds: tables on a terminal, aligned text elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cli.printing.lines import tell
from cli.printing.terminal_table import print_table

if TYPE_CHECKING:
    from data_cards.cards import Card, CardClass
    from data_cards.layouts.checks import Check


def print_cards() -> None:
    """The cards that ship with the package, one line each."""
    from data_cards.cards import card_names, read_card

    cards = [read_card(name) for name in card_names()]
    rows = [
        [one.name, one.pretty_name, _classes(one), f"{one.pictures:,}" if one.pictures else "-", one.split, one.license]
        for one in cards
    ]
    print_table(["card", "data set", "classes", "pictures", "split", "licence"], rows, right=(3,))
    tell("cocu data card NAME shows one; a card of your own is a Markdown file like these, named by its path.")


def print_card(card: Card, text: str) -> None:
    """A card for people: what its front matter says, its classes, then its text."""
    from rich.console import Console
    from rich.markdown import Markdown

    from files.printable import printable_lines

    _pairs(_facts(card))
    print_table(
        ["index", "class", "prompts", "kind", "other names", "under --protocol clip"],
        [[str(index), *_class(one, card)] for index, one in enumerate(card.classes)],
    )
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(Markdown(printable_lines(text)))
    else:
        tell(text.removesuffix("\n"))


def print_check(card: Card, path: Path, check: Check) -> None:
    """What is there, which classes the sample shows, and what is wrong."""
    if check.pictures:
        _pairs(
            [
                ("data set", f"{card.pretty_name}, {path}"),
                ("pictures", f"{check.pictures:,}, of which {check.sampled:,} were read"),
                ("masks", str(check.masks)),
                ("not counted", f"{check.ignored:.1%} of the pixels"),
            ]
        )
    if check.pixels:
        rows = [
            [name, f"{share:.2%}", str(check.shown[name]), "#" * round(40 * share)]
            for name, share in check.pixels.items()
        ]
        print_table(["class", "pixels", "pictures", ""], rows, right=(1, 2))
        absent = len(card.classes) - len(rows)
        tell(f"{len(rows)} of {len(card.classes)} classes are in the sample" + (f", {absent} not" if absent else ""))
    for note in check.notes:
        tell(f"note: {note}")
    for wrong in check.wrong:
        tell(f"wrong: {wrong}")
    tell(f"{card.name}: {'as its card says' if check.well else 'not as its card says'}")


def _classes(card: Card) -> str:
    counted = len(card.text_classes())
    return f"{counted} + {card.background.name}" if card.background else str(counted)


def _class(one: CardClass, card: Card) -> list[str]:
    if card.background and one.name == card.background.name:
        return [
            one.name,
            f"none: below {card.background.threshold:g}",
            "-",
            "",
            ", ".join(card.clip.background if card.clip else ()),
        ]
    return [
        one.name,
        ", ".join(one.prompts or (one.name,)),
        {"unsaid": "-"}.get(one.kind, one.kind),
        ", ".join(one.synonyms),
        ", ".join(one.clip),
    ]


def _facts(card: Card) -> list[tuple[str, str]]:
    """The front matter in words, without what the card does not say."""
    licence = " ".join(filter(None, (card.license, card.license_name, card.license_link)))
    under = card.under("clip")
    clip = under.clip
    facts = [
        ("card", f"{card.name}: {card.pretty_name}"),
        ("homepage", card.homepage),
        ("licence", licence),
        ("split", f"{card.split}{f', {card.pictures:,} pictures' if card.pictures else ''}"),
        ("layout", f"{card.layout}{f', in {card.top}' if card.top else ''}"),
        ("keys", card.keys),
        ("pictures", card.images),
        ("masks", " or ".join(one.path for one in card.masks)),
        ("ignore index", None if card.ignore_index is None else str(card.ignore_index)),
        ("sizes", _sizes(card)),
        ("protocol clip", f"{_sizes(under)}, logit scale {clip.logit_scale:g}" if clip else None),
        ("", f"from {clip.source}" if clip else None),
    ]
    return [(name, value) for name, value in facts if value]


def _sizes(card: Card) -> str:
    resize, window = card.resize, card.window
    sizes = [
        f"short side {resize.short_side}" if resize else "as they are",
        f"long side at most {resize.long_side}" if resize and resize.long_side else None,
        f"windows of {window.size}, {window.stride} apart" if window else None,
    ]
    return ", ".join(filter(None, sizes))


def _pairs(rows: Sequence[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        tell(f"{name:<{width}}  {value}")
