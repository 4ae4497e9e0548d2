"""Help as a person at 80 columns sees it."""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict

import pytest

from cli.examples import EXAMPLES
from curation.ranking.options import PRESETS
from tests.cli.commands_of_cocu import COMMANDS
from tests.integration.commands import cocu


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def helped(path: str) -> str:
    answer = cocu(*path.split()[1:], "--help")
    assert answer.code == 0, answer.err
    return answer.out


@pytest.mark.parametrize("path", COMMANDS)
def test_all_that_a_command_takes_stands_there_once_and_within_80_columns(path: str) -> None:
    said = helped(path)
    assert max(map(len, said.splitlines())) <= 80
    for one in COMMANDS[path].params:
        first = max(one.opts, key=len) if one.param_type_name == "option" else one.metavar
        if one.param_type_name == "option" and one.secondary_opts:
            assert one.secondary_opts == [f"--no-{first.removeprefix('--')}"], "one style of negation"
            first = f"--[no-]{first.removeprefix('--')}"
        shown = re.findall(rf"^│ (?:-\w, )?{re.escape(first)}(?= |$)", said, re.MULTILINE)
        assert len(shown) == 1, first
        assert one.help, f"{path} {first}"
        assert re.fullmatch(r"[A-Z\"'].*\.", " ".join(one.help.split())), f"{path} {first}: whole sentences"
    assert not re.search(r"<\w+>| range", said), "no types"


@pytest.mark.parametrize("path", ["cocu train", "cocu eval"])
def test_a_group_with_a_main_job_shows_its_options_and_not_its_name(path: str) -> None:
    said = helped(path)
    assert said == helped(f"{path} run")
    assert re.search(rf"Usage: {path} \[OPTIONS\]", said)
    assert re.search(r"^│ --out ", said, re.MULTILINE)
    assert re.search(r"^│ (export|compare) ", said, re.MULTILINE)
    assert not re.search(r"^│ run ", said, re.MULTILINE)


@pytest.mark.parametrize("path", [path for path in COMMANDS if path != "cocu index info"])
def test_examples_are_such_as_the_command_takes(path: str) -> None:
    assert len(EXAMPLES[path]) == 2
    said = helped(path)
    for line, what in EXAMPLES[path]:
        assert what in said
        for part in line.split("\n"):
            assert len(part) <= 74
            assert part in said
        words = shlex.split(line.replace("\\\n", " ").partition(" | ")[0])
        assert words[: len(path.split())] == path.split()
        rest = words[len(path.split()) :]
        COMMANDS[path].make_context(path, rest)


def test_examples_are_of_commands() -> None:
    assert set(EXAMPLES) == {"cocu", *COMMANDS}


def test_the_table_of_presets_holds_what_they_set() -> None:
    table = helped("cocu curate run").partition("Defaults by preset")[2]
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines() if line.split()}
    assert rows.pop("default") == ["paper", "clip"]
    told = {"neighbours": {0: "fitted"}, "keep": {0: "all"}}
    for field, values in asdict(PRESETS["default"]).items():
        wanted = [getattr(preset, field) for preset in PRESETS.values()]
        row = rows.pop("--" + {"synonyms": "merge-synonyms"}.get(field, field).replace("_", "-"), None)
        if len(set(wanted)) == 1:
            assert row is None, values
        else:
            spelt = [{True: "yes", False: "no"}.get(one) if isinstance(one, bool) else one for one in wanted]
            assert row == [str(told.get(field, {}).get(one, one)) for one in spelt]
    assert not rows
