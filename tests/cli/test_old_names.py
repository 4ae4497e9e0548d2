"""Options by the names that they had: they work, and what they are called now is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.old_names import OLD_NAMES, with_names_of_today
from tests.cli.commands_of_cocu import COMMANDS


def parsed(path: str, *words: str) -> dict[str, Any]:
    return COMMANDS[path].make_context(path, list(words)).params


def names(path: str) -> set[str]:
    return {name for one in COMMANDS[path].params for name in (*one.opts, *one.secondary_opts)}


def test_no_command_has_an_old_name_of_its_own_and_all_lead_somewhere() -> None:
    there = set().union(*map(names, COMMANDS))
    assert not there & set(OLD_NAMES)
    assert set(OLD_NAMES.values()) <= there


@pytest.mark.parametrize(
    ("path", "old", "today"),
    [
        ("cocu eval", ["m", "--benchmark", "a=b", "--out", "o", "--batch", "3", "--threads=2"],
         ["m", "--benchmark", "a=b", "--out", "o", "--batch-size", "3", "--workers", "2"]),
        ("cocu index search", ["i", "--k", "3", "dog"], ["i", "-k", "3", "dog"]),
        ("cocu index add", ["i", "--add-captions", "a", "--add-captions=b"],
         ["i", "--extra-captions", "a", "--extra-captions", "b"]),
        ("cocu curate run", ["i", "--out", "o", "--keep-synonyms", "--ungrounded"],
         ["i", "--out", "o", "--no-merge-synonyms", "--no-grounded"]),
        ("cocu curate score", ["c", "--k", "1,2"], ["c", "--top", "1,2"]),
        ("cocu curate export", ["c", "--k=2"], ["c", "--top=2"]),
    ],
)  # fmt: skip
def test_old_names_do_what_new_ones_do_with_a_line(
    path: str, old: list[str], today: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = parsed(path, *today)
    assert capsys.readouterr().err == ""
    assert parsed(path, *old) == wanted
    told = capsys.readouterr().err.splitlines()
    assert told
    for word in {word.split("=")[0] for word in old if word.split("=")[0] in OLD_NAMES}:
        assert f"note: {word} is called {OLD_NAMES[word]} now" in told


@given(st.lists(st.sampled_from([*OLD_NAMES, "--top", "-k", "--image", "--", "x", "--k=3", "--trust-remote-code"])))
def test_values_and_what_follows_two_dashes_stay_as_they_are(words: list[str]) -> None:
    params = COMMANDS["cocu index search"].params
    after = list(with_names_of_today(words, params, silent=True))
    assert len(after) == len(words)
    takes_value, arguments = False, False
    for word, now in zip(words, after, strict=True):
        plain = takes_value or arguments
        if not plain and word in ("--k", "--k=3"):
            assert now == word.replace("--k", "--top")
        else:
            assert now == word
        arguments = arguments or (word == "--" and not plain)
        takes_value = not plain and word in ("--k", "--top", "-k", "--image")
