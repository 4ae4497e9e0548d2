"""Completion of options whose values have names: entries of a registry, or a list that is computed when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from files.registry import Registry


def completion(
    names: Callable[[], Registry[Any] | Iterable[str]], joined: str = ""
) -> Callable[[str], list[tuple[str, str]]]:
    """What completes an option's value to one of these names, or, with `joined`, to the last of several."""

    def complete(incomplete: str) -> list[tuple[str, str]]:
        chosen = incomplete.split(joined)[:-1] if joined else []
        before = "".join(name + joined for name in chosen)
        there: Any = names()
        described = there.described() if hasattr(there, "described") else dict.fromkeys(there, "")
        return [(before + name, words) for name, words in described.items() if name not in chosen]

    return complete
