"""Options that have had other names: these are still taken, with a line that says what they are called now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

OLD_NAMES = {
    "--add-captions": "--extra-captions",
    "--batch": "--batch-size",
    "--k": "--top",
    "--keep-synonyms": "--no-merge-synonyms",
    "--threads": "--workers",
    "--ungrounded": "--no-grounded",
}


def with_names_of_today(words: Sequence[str], params: Sequence[Any], silent: bool = False) -> Iterator[str]:
    """The words of a command with these parameters, old names of its options replaced. silent: nothing is told."""
    known = {name: one for one in params for name in (*one.opts, *one.secondary_opts)}
    value_of_an_option = False
    for n, word in enumerate(words):
        if word == "--" and not value_of_an_option:  # arguments follow, whatever they look like
            yield from words[n:]
            return
        name, *value = word.split("=", 1)
        today = OLD_NAMES.get(name, "")
        if not value_of_an_option and name not in known and today in known:
            if not silent:
                from files.saying import say

                say(f"note: {name} is called {today} now")
            name, word = today, "=".join([today, *value])
        yield word
        option = None if value_of_an_option or value else known.get(name)
        value_of_an_option = option is not None and not getattr(option, "is_flag", False)
