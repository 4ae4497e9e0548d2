"""The profiles of property tests: the same examples each time, or ten times as many new ones, which can be repeated."""

import re
import subprocess
import sys
from pathlib import Path

PROPERTIES = """
from hypothesis import given, strategies as st
from tests.examples import examples

drawn = []

@given(st.integers())
def test_plain(number):
    drawn.append(number)

@examples(7)
@given(st.integers())
def test_few(number):
    drawn.append(number)

def test_told():
    print("drawn:", len(drawn), drawn)

@given(st.integers())
def test_wrong(number):
    assert number < 1000
"""


def told(root: Path, folder: Path, *options: str) -> tuple[str, str]:
    """What was drawn, and all of the output."""
    path = folder / "test_properties.py"
    path.write_text(PROPERTIES)
    command = f"{sys.executable} -m pytest -c {root}/pyproject.toml --rootdir {folder} -p tests.conftest -s".split()
    environment = {"PYTHONPATH": str(root), "CI": "true"}  # where Hypothesis would choose a profile of its own
    done = subprocess.run([*command, *options, path], cwd=folder, env=environment, capture_output=True, text=True)
    assert "1 failed, 3 passed" in done.stdout, done.stdout + done.stderr
    return re.findall("drawn: .*", done.stdout)[0], done.stdout


def test_examples_are_the_same_each_time_unless_a_search_is_asked_for(root: Path, tmp_path: Path) -> None:
    first, again = (told(root, tmp_path)[0] for _ in range(2))
    assert first == again
    assert 80 < int(first.split()[1]) <= 107  # of so few that the same comes twice, fewer


def test_a_search_draws_ten_times_as_many_and_says_how_to_repeat_it(root: Path, tmp_path: Path) -> None:
    (one, said), (other, _) = (told(root, tmp_path, "--hypothesis-profile=search") for _ in range(2))
    assert one != other
    assert 1000 < int(one.split()[1]) <= 1070
    assert "number=1000" in said
    assert "@reproduce_failure" in said


def test_no_property_test_leaves_the_profiles(root: Path) -> None:
    """A deadline or a number of its own would be left out of the search, or fail on a slow machine."""
    tests = [path for path in (root / "tests").rglob("*.py") if path.name not in ("conftest.py", "examples.py")]
    assert len(tests) > 50
    own = re.compile(r"^from hypothesis import .*\bsettings\b|hypothesis\.settings", re.MULTILINE)
    assert not [path for path in tests if own.search(path.read_text())]
