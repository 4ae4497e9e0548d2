from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("python_multipart")

from curation.explorer.guard import MOST_BODY, POLICY, Token, is_loopback
from curation.explorer.server import application
from tests.curation.curated_fixture import MadePair, make_curated
from tests.curation.explorer.asking import ask, explore, token_of


@pytest.fixture
def curated(tmp_path: Path) -> Path:
    return make_curated(tmp_path / "curated", {"s": [MadePair("a")]})


@pytest.fixture
def app(curated: Path) -> Any:
    return application([explore(curated)])


@pytest.mark.parametrize("host", ["127.0.0.1:8400", "localhost", "LOCALHOST:1", "[::1]:8400", "127.8.8.8"])
def test_names_of_this_machine_are_answered(app: Any, host: str) -> None:
    assert ask(app, "/", host=host).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8400", "127.0.0.1.evil.example", "localhost.evil", "10.0.0.7", "", "::ffff"]
)
def test_other_names_are_refused(app: Any, host: str) -> None:
    found = ask(app, "/", host=host)
    assert found.status == 403
    assert "go by the name" in found.text


def test_a_server_for_others_goes_by_addresses_and_the_names_that_it_is_given(curated: Path) -> None:
    app = application([explore(curated)], "0.0.0.0", ["box.lan"])
    assert [ask(app, "/", host=host).status for host in ("10.0.0.7:8400", "box.lan", "evil.example")] == [200, 200, 403]


def test_every_answer_says_what_a_page_may_do(app: Any) -> None:
    for address in ("/", "/picture/0", "/static/explorer.js", "/nowhere", "/pair/7"):
        found = ask(app, address)
        assert found.headers["content-security-policy"] == POLICY
        assert found.headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in POLICY
    assert ask(app, "/", host="evil.example").headers["content-security-policy"] == POLICY


def test_writing_needs_the_token_of_our_own_pages(app: Any, curated: Path) -> None:
    said = {"concept": "grass", "said": "yes", "drawn": "0"}
    for given in ({}, {"token": ""}, {"token": "x" * 43}, {"token": "é"}):
        assert ask(app, "/pair/0", said | given).status == 403
    assert not (curated / "judged.sqlite").exists()
    assert ask(app, "/pair/0", said | {"token": token_of(app, "/pair/0")}).status == 303
    assert (curated / "judged.sqlite").exists()


def test_another_site_cannot_write_even_with_it(app: Any) -> None:
    said = {"concept": "grass", "said": "yes", "token": token_of(app, "/pair/0")}
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec_fetch_site": "cross-site"}):
        assert ask(app, "/pair/0", said, **headers).status == 403
    assert ask(app, "/pair/0", said, origin="http://127.0.0.1:8400", sec_fetch_site="same-origin").status == 303


def test_pictures_are_not_shown_on_other_sites(app: Any) -> None:
    assert ask(app, "/picture/0", sec_fetch_site="cross-site", sec_fetch_mode="no-cors").status == 403
    assert ask(app, "/", sec_fetch_site="cross-site", sec_fetch_mode="navigate").status == 200


def test_what_is_too_large_is_refused_before_it_is_read(app: Any) -> None:
    said = ask(app, "/search", method="POST", body=b"x", content_length=str(MOST_BODY + 1))
    unsaid = ask(app, "/search", {"q": "x" * MOST_BODY}, content_length="5")
    assert [(found.status, "too large" in found.text) for found in (said, unsaid)] == [(413, True)] * 2


def test_reading_changes_nothing(app: Any, curated: Path) -> None:
    before = sorted(path for path in curated.rglob("*"))
    for address in ("/pair/0?concept=grass&said=yes", "/judge", "/judge/0", "/judged"):
        assert ask(app, address).status in (200, 303)
    assert sorted(path for path in curated.rglob("*")) == before


def test_tokens() -> None:
    one, two = Token(), Token()
    assert one.fits(one.value)
    assert not one.fits(two.value)
    assert not one.fits(None)


def test_loopback() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "localhost", "::1", "127.1.2.3"]))
    assert not any(map(is_loopback, ["0.0.0.0", "", "::", "10.0.0.1", "localhost.evil", "box"]))
