"""The frame of the pages: every value is text wherever it stands, and what is missing is not passed over."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from files.page import inline, page
from tests.parsed_page import ATTACK, SURROGATE, ParsedPage, read_page

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = """{% extends "page.html.j2" %}
{% from "figures.html.j2" import bars, tiles %}
{% block title %}{{ name }}{% endblock %}
{% block body %}
<p class="{{ name }}" title='{{ name }}'>{{ name }}</p>
{{ tiles([(name, name)]) }}
{{ bars([{"kind": name, "label": name, "percent": 3, "value": name}]) }}
<p class="joined">{{ [name, name] | join("<") }}{{ "{}&".format(name) }}</p>
<img src="{{ picture | inline("png") }}" alt="{{ name }}">
{% endblock %}
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("templates") / "some.html.j2"
    path.write_text(TEMPLATE)
    return path


def elements(html: str) -> list[tuple[str, tuple[str, ...]]]:
    return ParsedPage(html).elements


@given(name=st.text(max_size=40))
@example(ATTACK)
@example("http://a.b/ url(c) @import")
@example(f"a{SURROGATE}b")
def test_a_value_stays_text_wherever_it_stands(template: Path, name: str) -> None:
    html = page(template, name=name, picture=b"png")
    assert elements(html) == elements(page(template, name="plain", picture=b"png"))
    found = read_page(html)
    shown = name.replace(SURROGATE, "?")
    assert found.by_class["joined"] == [f"{shown}<{shown}{shown}&"]
    assert found.by_class["label"] == found.by_class["value"] == [shown]
    assert ("img", "alt", shown) in found.attributes
    assert ("p", "title", shown) in found.attributes
    assert found.sources == ["data:image/png;base64,cG5n"]


def test_what_is_missing_stops_the_page(template: Path) -> None:
    with pytest.raises(UndefinedError, match="name"):
        page(template, picture=b"")


def test_pages_of_two_rooms_are_not_mixed_up(template: Path, tmp_path: Path) -> None:
    other = tmp_path / template.name
    other.write_text('{% extends "page.html.j2" %}{% block title %}other{% endblock %}{% block body %}{% endblock %}')
    assert "other" in page(other, name="x", picture=b"")
    assert "other" not in page(template, name="x", picture=b"")


def test_a_picture_in_an_address() -> None:
    assert inline(b"\xff\xfe\xfd", "jpeg") == "data:image/jpeg;base64,//79"


def test_every_template_is_part_of_the_distribution() -> None:
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    packaged = setup["packages"]["find"]["include"]
    rooms = [folder.parent.relative_to(ROOT) for folder in ROOT.glob("*/**/templates") if folder.is_dir()]
    names = {".".join(room.parts) for room in rooms if room.parts[0] in packaged}
    assert {"files", "curation.report", "evaluation.results"} <= names
    assert [name for name in names if "templates/*" not in setup["package-data"].get(name, ())] == []
