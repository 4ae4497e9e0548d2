from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from evaluation.progress import shown
from files import saying
from files.saying import ProgressLine, quietly, say


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """IPython, as a notebook's kernel has it, that writes down what is shown."""
    shown: list[tuple[str, str]] = []

    class Handle:
        def update(self, bundle: dict[str, str], raw: bool) -> None:
            assert raw
            shown.append(("update", bundle["text/plain"]))

    def display(bundle: dict[str, str], raw: bool, display_id: bool) -> Handle:
        assert raw
        assert display_id
        shown.append(("display", bundle["text/plain"]))
        return Handle()

    ipython: Any = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    ipython.display = types.ModuleType("IPython.display")
    ipython.display.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    return shown


def test_lines_go_to_stderr_and_none_where_quiet_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    say("one")
    with quietly(False):
        say("two")
    with quietly():
        say("three")
        with quietly(False):
            say("nor what is inside it")
        ProgressLine().tell("half")
    say("four")
    assert tuple(capsys.readouterr()) == ("", "one\ntwo\nfour\n")


def test_a_line_is_due_after_a_while_or_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(saying.time, "monotonic", lambda: clock[0])
    line, eager = ProgressLine(), ProgressLine(at_once=True)
    assert (line.due, eager.due) == (False, True)
    eager.tell("here")
    assert not eager.due
    clock[0] += saying.PLAIN_SECONDS
    assert line.due
    assert eager.due


def test_a_notebook_has_one_line_that_is_written_over(
    notebook: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    line = ProgressLine()
    for text in ("10 %", "50 %", "100 %"):
        line.tell(text)
    with quietly():
        line.tell("not this")
    ProgressLine().tell("another")
    assert notebook == [("display", "10 %"), ("update", "50 %"), ("update", "100 %"), ("display", "another")]
    say("done")
    assert tuple(capsys.readouterr()) == ("done\n", "")  # stderr looks like a fault there


def test_an_evaluation_in_a_notebook_is_a_line(
    notebook: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    with shown(True) as advance:
        for _ in range(3):
            advance("voc2012", 2, 6)
    with shown(False) as advance:  # of a process that does not speak
        advance("voc2012", 2, 6)
    assert notebook == [("display", "voc2012: 2 of 6 pictures"), ("update", "voc2012: 6 of 6 pictures")]
    assert tuple(capsys.readouterr()) == ("", "")


def test_a_shell_with_ipython_is_no_notebook(notebook: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", types.SimpleNamespace)
    assert not saying.in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not saying.in_notebook()
