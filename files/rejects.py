"""What is left out of a run, and why."""

from __future__ import annotations

from dataclasses import dataclass

MOST_LETTERS = 300


@dataclass(frozen=True, slots=True)
class Reject:
    """A pair, or a part of a shard (key ""), that is left out, and why.

    The summary counts rejects by the part of the reason before its first ":"; particulars come after it.
    What is no UTF-8 in a key or reason becomes a replacement character, so that both can be written to a table; and
    both are cut where they are long: what they tell of, a cell with a picture in it, say, may be of any size.
    """

    key: str
    reason: str

    def __post_init__(self) -> None:
        for name in ("key", "reason"):
            text = getattr(self, name)
            if len(text) > MOST_LETTERS:
                text = f"{text[:MOST_LETTERS]}..."
                object.__setattr__(self, name, text)
            if not is_utf8(text):
                raw = text.encode("utf-8", "surrogatepass" if _has_real_surrogate(text) else "surrogateescape")
                object.__setattr__(self, name, raw.decode("utf-8", "replace"))


def is_utf8(text: str) -> bool:
    """Whether a text can be written as UTF-8; undecodable bytes and lone surrogates cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _has_real_surrogate(text: str) -> bool:
    """Whether it holds surrogates other than those that stand for undecodable bytes (U+DC80 to U+DCFF)."""
    return any("\ud800" <= letter <= "\udfff" and not "\udc80" <= letter <= "\udcff" for letter in text)
