"""Options from a file and into one, and the log that programs read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cli.kept_options import KEPT, LongWork, _save
from curation.runs.progress import Progress
from files.event_log import log_event, logged_to
from files.saying import quietly, say
from tests.cli.commands_of_cocu import COMMANDS
from tests.examples import examples
from tests.integration.commands import cocu

WORKING = [path for path, command in COMMANDS.items() if isinstance(command, LongWork)]
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1).filter(
    lambda text: not text.startswith("-")
)


def parsed(path: str, words: list[str]) -> Any:
    return COMMANDS[path].make_context(path, words)


def options(context: Any) -> dict[str, Any]:
    return {name: value for name, value in context.params.items() if name not in KEPT}


@st.composite
def words_of(draw: st.DrawFn, path: str) -> list[str]:
    """Words that such a command takes, drawn by what its parameters are."""
    words: list[str] = []
    for one in COMMANDS[path].params:
        if one.name in KEPT or not (one.required or draw(st.booleans())):
            continue
        kind = one.type_descriptor
        if getattr(one, "is_flag", False):
            words.append(draw(st.sampled_from([*one.opts, *one.secondary_opts])))
            continue
        low, high = one.min if one.min is not None else 0, one.max if one.max is not None else 9
        value = st.integers(int(low), int(high)).map(str)
        if kind.choices:
            value = st.sampled_from(list(map(str, kind.choices)))
        elif kind.annotation is float:
            value = st.floats(low, high).map(str)
        elif kind.annotation is not int:
            value = TEXTS
        several = one.nargs == -1 or getattr(one, "multiple", False)
        for text in draw(st.lists(value, min_size=1, max_size=3 if several else 1)):
            words += [text] if one.param_type_name == "argument" else [f"{max(one.opts, key=len)}={text}"]
    return words


def test_the_commands_that_work_for_long_have_them() -> None:
    assert WORKING == [
        "cocu index build",
        "cocu index add",
        "cocu index merge",
        "cocu curate run",
        "cocu train",
        "cocu eval",
    ]


@pytest.mark.parametrize("path", WORKING)
@examples(30)
@given(data=st.data())
def test_what_is_saved_and_taken_again_is_what_was_typed(
    path: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("kept") / "options.yaml"
    typed = parsed(path, data.draw(words_of(path)))
    _save(file, COMMANDS[path].params, typed)
    assert options(parsed(path, ["--config", str(file)])) == options(typed)
    # Written again from the file, it is the same file.
    again = file.with_name("again.yaml")
    _save(again, COMMANDS[path].params, parsed(path, ["--config", str(file)]))
    assert yaml.safe_load(again.read_text()) == yaml.safe_load(file.read_text())


def test_what_is_typed_overrules_the_file(tmp_path: Path) -> None:
    file = tmp_path / "o.yaml"
    file.write_text(
        "index: a\nout: b\nkeep: 3\nmerge: false\ngrounded: true\nanchors: [x, y]\nmin-score: 1e-2\nlocalise: false\n"
        "neighbours:\nwrite-caption: '3'\n"
    )
    one = options(parsed("cocu curate run", ["--config", str(file), "--keep", "4", "--merge", "--anchors", "z"]))
    assert (str(one["index"]), str(one["out"]), one["keep"], one["merge"], one["grounded"]) == ("a", "b", 4, True, True)
    assert (list(one["anchors"]), one["min_score"], one["localise"], one["neighbours"]) == (["z"], 0.01, False, None)
    assert one["write_caption"] == "3"
    assert str(options(parsed("cocu curate run", ["c", "--config", str(file)]))["index"]) == "c"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("min-cuont: 3", "o.yaml:1: min-cuont: is no option of cocu index build; did you mean min-count?"),
        ("out: a\nconfig: b", "o.yaml:2: config: is no option"),
        ("out: [a, b]", "o.yaml:1: out: give one value"),
        ("out: {a: b}", "o.yaml:1: out: give one value"),
        ("language: no", "o.yaml:1: language: give one value, in quotes"),
        ("adjectives: 1", "o.yaml:1: adjectives: give true or false"),
        ("shards: [[a]]", "o.yaml:1: shards: give a value, or a list of them"),
        ("min-count: many", "--min-count many: give a whole number from 1"),
        ("min-count: 2\nmin-count: 3", "o.yaml:2: "),
        ("- a", "holds no options"),
        ("", "holds no options"),
        ("a: !!python/object:os.system b", "o.yaml"),
        ("a: [", "o.yaml"),
        (b"a: \xff", "is no UTF-8 text"),
        ("? [a, b]\n: 3", "o.yaml"),
        ("3: 4", "o.yaml:1: the key '3' is no text"),
    ],
)
def test_a_file_that_cannot_be_taken_is_told_with_its_place(tmp_path: Path, text: str | bytes, said: str) -> None:
    file = tmp_path / "o.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    answer = cocu("index", "build", "x.tar", "--out", tmp_path / "out", "--config", file)
    assert answer.code == 2, answer.err
    assert said in answer.err
    assert len(answer.err.splitlines()) == 1


def test_files_that_are_not_there_or_cannot_be_written(tmp_path: Path) -> None:
    build = ("index", "build", "x.tar", "--out", tmp_path / "out")
    assert cocu(*build, "--config", tmp_path / "none").err.endswith("none: No such file or directory\n")
    assert "--config .: Is a directory" in cocu(*build, "--config", "").err
    answer = cocu(*build, "--log-json", tmp_path / "nowhere" / "log")
    assert (answer.code, "nowhere/log: No such file or directory; give a file" in answer.err) == (2, True)
    answer = cocu(*build, "--save-config", tmp_path)
    assert (answer.code, "is no file" in answer.err) == (2, True)


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_the_log_tells_how_a_command_ended_and_grows(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    for _ in range(2):
        answer = cocu("index", "add", tmp_path / "nowhere", "x.tar", "--log-json", log)
        assert answer.code == 2
    begins, ends, *again = lines(log)
    assert (begins["event"], begins["command"]) == ("begins", "cocu index add")
    assert (ends["event"], ends["exit_code"], ends["message"]) == ("ends", 2, answer.err.strip())
    assert [one["event"] for one in again] == ["begins", "ends"]
    assert begins["time"] <= ends["time"] <= again[0]["time"]


def test_of_many_ranks_the_first_alone_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    kept = ("--log-json", tmp_path / "log.jsonl", "--save-config", tmp_path / "o.yaml")
    assert cocu("index", "add", tmp_path / "nowhere", "x.tar", *kept).code == 2
    assert not list(tmp_path.iterdir())


def test_stages_and_what_is_said_are_logged_however_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.runs.progress.LOGGED_SECONDS", 0.0)
    log = tmp_path / "log.jsonl"
    with logged_to(log), quietly():
        say("café\nand more")
        with Progress("embed", 100) as bar:
            bar.advance(3, 25.0)
            bar.advance(3, 75.0)
        with pytest.raises(ZeroDivisionError), Progress("count", 1):
            raise ZeroDivisionError
    say("after")
    log_event("after")
    said, *told = lines(log)
    told = [one for one in told if one["event"] != "said"]  # the plain lines of progress
    assert said["text"] == "café\nand more"
    assert [one["event"] for one in told] == [
        *("stage begins", "progress", "progress", "stage ends", "stage begins", "stage ends"),
    ]
    assert [(one["done"], one["share"]) for one in told[1:3]] == [(3, 0.25), (6, 1.0)]
    assert [one["failed"] for one in (told[3], told[5])] == [False, True]


def test_a_full_disk_ends_the_log_and_not_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    with logged_to(Path("/dev/full")):
        log_event("begins")
        log_event("goes on")
    told = capsys.readouterr().err
    assert told == "note: --log-json /dev/full: No space left on device; nothing more is logged\n"
