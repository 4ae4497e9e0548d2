from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("starlette")
pytest.importorskip("python_multipart")

from curation.explorer.lists import PAGE
from curation.explorer.server import application
from files.printable import CALLED
from tests.curation.curated_fixture import MadePair, jpeg, make_curated
from tests.curation.explorer.asking import ask, explore, token_of
from tests.examples import examples
from tests.parsed_page import ATTACK, ParsedPage

DOG, GRASS = 0, 1  # concepts, as the fixture counts them
SUMMARY = {"pairs": 60, "gained_share": 0.5, "concepts_per_pair": 2.0, "rejects": {"no caption": 3}}
# Falling scores, so that "best first" is the order of the pairs.
MANY = [MadePair(f"k{i:02d}", concepts=(("grass", 9 - i / 10, False), ("dog", 1.0, True))) for i in range(60)]
SCRIPTS = ["/static/htmx.min.js", "/static/explorer.js"]


@pytest.fixture
def app(tmp_path: Path) -> Any:
    curated = make_curated(tmp_path / "curated", {"s0": MANY[:40], "s1": MANY[40:]}, summary=SUMMARY)
    return application([explore(curated)])


@pytest.fixture(scope="module")
def shared_app(tmp_path_factory: pytest.TempPathFactory) -> Any:
    curated = make_curated(tmp_path_factory.mktemp("shared") / "curated", {"s": MANY[:20]}, summary=SUMMARY)
    return application([explore(curated)])


def page(app: Any, address: str) -> ParsedPage:
    found = ask(app, address)
    assert found.status == 200, found.text
    html = found.text.replace("<!doctype html>", "")
    for alone in ("link", "input", "rect"):  # as a browser reads them
        html = re.sub(rf"<{alone}\b([^>]*?)/?>", rf"<meta data-was='{alone}'\1>", html)
    return ParsedPage(html)


def test_the_overview_says_what_there_is(app: Any) -> None:
    found = page(app, "/")
    assert found.by_class["tile"][:5] == [
        *("60pairs", "50%gained a concept", "2.0concepts per pair", "1concepts recovered"),
        "3bad pairs left out",
    ]
    assert "60 pairs · score" in found.text
    assert "give the index by --index" in found.text


def test_pages_of_a_concept_follow_each_other_and_are_all_there(app: Any) -> None:
    address, keys = f"/concept/{GRASS}", []
    for _ in range(3):
        html = ask(app, address).text
        keys += re.findall(r"<span>(k\d\d)</span>", html)
        following = re.search(r'rel="next" href="([^"]+)"', html)
        if not following:
            break
        address = f"/concept/{GRASS}" + following[1].replace("&amp;", "&")
    assert keys == [pair.key for pair in MANY]
    assert PAGE * 2 < len(keys) < PAGE * 3


@pytest.mark.parametrize(("which", "count"), [("recovered", 60), ("named", 0), ("both", 60), ("nonsense", 60)])
def test_recovered_and_named_are_told_apart(app: Any, which: str, count: int) -> None:
    said = ask(app, f"/concept/{GRASS}?which={which}").text
    assert ("of 60, best score first" in said) == bool(count)


def test_a_pair_is_found_by_its_key_or_how_it_begins(app: Any) -> None:
    assert ask(app, "/search?by=key&q=k07").headers["location"] == "/pair/7"
    assert ask(app, "/search?by=key&q=k45").headers["location"] == "/pair/45"
    some = ask(app, "/search?by=key&q=k1").text
    assert re.findall(r'href="/pair/(\d+)"', some) == [str(i) for i in range(10, 20)]
    assert "give more of the key" in ask(app, "/search?by=key&q=k").text
    assert "Nothing was found" in ask(app, "/search?by=key&q=nobody").text


def test_a_concept_is_found_by_a_part_of_its_word(app: Any) -> None:
    assert ask(app, "/search?by=concept&q=grass").headers["location"].startswith("/concept/")
    assert "No concept of this set" in ask(app, "/concepts?q=zebra").text
    assert "1 concept with" in re.sub(r"\s+", " ", ask(app, "/concepts?q=RAS").text)


def test_without_an_index_a_search_by_words_says_what_is_missing(app: Any) -> None:
    found = ask(app, "/search?by=words&q=a+dog")
    assert found.status == 400
    assert "--index" in found.text


def test_a_pair_shows_its_caption_before_and_after_and_its_concepts(app: Any) -> None:
    html = ask(app, "/pair/3").text
    assert "a <mark>dog</mark> on grass" in html
    assert "a dog on grass, with grass" in html
    assert re.findall(r'class="concept step (\w+)"', html) == ["recovered", "named"]
    assert 'href="/pair/2"' in html
    assert 'href="/pair/4"' in html


def test_pictures_come_small_and_one_that_is_missing_is_told(tmp_path: Path) -> None:
    pairs = [
        MadePair("a", image=jpeg("red", (900, 600))),
        MadePair("b", image=None),
        MadePair("c", image=b"no picture"),
    ]
    app = application([explore(make_curated(tmp_path / "curated", {"s": pairs}))])
    found = ask(app, "/picture/0?side=160")
    assert (found.status, found.headers["content-type"], found.body[:2]) == (200, "image/jpeg", b"\xff\xd8")
    assert len(found.body) < len(pairs[0].image or b"")
    for number in (1, 2):
        assert ask(app, f"/picture/{number}").headers["content-type"] == "image/svg+xml"
    assert ask(app, "/picture/3").status == 404


def test_judging_is_written_down_taken_back_and_shown(app: Any, tmp_path: Path) -> None:
    token = token_of(app, "/pair/3")
    said = {"token": token, "concept": "grass", "drawn": "0", "back": ""}
    assert ask(app, "/pair/3", said | {"said": "yes"}).headers["location"].startswith("/pair/3#c")
    assert "concept step recovered right" in ask(app, "/pair/3").text
    row = ask(app, "/pair/3", said | {"said": "no"}, hx_request="true")
    assert row.text.strip().startswith('<li class="concept step recovered wrong"')
    ask(app, "/pair/3", said | {"said": "withdraw"})
    assert "concept step recovered right" not in ask(app, "/pair/3").text
    for wrong in ({"said": "perhaps"}, {"said": "yes", "concept": "zebra"}):
        assert ask(app, "/pair/3", said | wrong).status == 400


def test_the_draw_goes_through_all_pairs_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    curated = make_curated(tmp_path / "curated", {"s": MANY[:5]})
    drawn = []
    for _ in range(5):
        app = application([explore(curated)])  # started again each time
        turn = ask(app, "/judge").headers["location"]
        html = ask(app, turn).text
        assert "score" not in html  # nor anything else that says what to think
        key = re.search(r'class="key">(\w+) in s<', html)
        assert key
        drawn.append(key[1])
        number = re.search(r'action="/pair/(\d+)"', html)
        assert number
        back = turn.split("/")[-1].partition("?")[0]
        form = {"token": token_of(app, turn), "concept": "grass", "said": "yes", "drawn": "1", "back": back}
        assert ask(app, f"/pair/{number[1]}", form).headers["location"].startswith("/judge/")
    assert sorted(drawn) == [pair.key for pair in MANY[:5]]
    app = application([explore(curated)])
    assert ask(app, "/judge").headers["location"] == "/judged"
    assert "100%" in ask(app, "/judged").text
    assert ask(app, "/judge/5").status == 404


def test_what_captions_keys_and_concepts_say_is_text(tmp_path: Path) -> None:
    hostile = MadePair(ATTACK, ATTACK, (ATTACK,), ((ATTACK, 1.9, False), ("dog", 1.0, True)))
    curated = make_curated(tmp_path / "curated", {"s": [hostile, MadePair("b")]}, summary=SUMMARY)
    app = application([explore(curated)])
    for address in ("/", "/concepts", "/concept/0", "/pair/0", "/judge/0", "/judge/1", f"/concepts?q={quote(ATTACK)}"):
        found = page(app, address)
        sources = [(tag, value) for tag, name, value in found.attributes if name == "src"]
        assert [value for tag, value in sources if tag == "script"] == SCRIPTS
        assert all(value.startswith("/picture/") for tag, value in sources if tag == "img")
        assert not [name for _, name, _ in found.attributes if name.startswith("on")]
        said = [found.text, *(value for _, _, value in found.attributes)]
        assert address.startswith("/judge") or any(ATTACK in one for one in said)
    assert ask(app, f"/search?by=key&q={quote(ATTACK)}").headers["location"] == "/pair/0"


def test_no_page_has_script_or_style_of_its_own(app: Any) -> None:
    for address in ("/", "/concepts", "/concept/0", "/pair/0", "/judge/0", "/judged", "/sql", "/search"):
        html = ask(app, address).text
        assert not re.search(r"<script(?![^>]* src=\"/static/)|<style|\sstyle=|\son\w+=|javascript:", html), address
        fetched = re.findall(r'(?:src|<link[^>]*href)="([^"]+)"', html)
        assert fetched
        assert all(one.startswith("/") and not one.startswith("//") for one in fetched)


@pytest.mark.parametrize(
    "address",
    [
        *("/pair/60", "/concept/9", "/nowhere", "/static/nothing.js", "/static/../server.py"),
        *("/heat/0/77", "/judge/60"),
    ],
)
def test_what_is_not_there_is_told(app: Any, address: str) -> None:
    found = ask(app, address)
    assert found.status == 404
    assert "This did not work" in found.text


@pytest.mark.parametrize("query", ["at=99999999", "at=-1", "at=x", "at=9999999999999", "at=٣", "which="])
def test_odd_addresses_are_read_as_well_as_can_be(app: Any, query: str) -> None:
    assert ask(app, f"/concept/0?{quote(query, safe='=')}").status == 200


def test_sql_is_answered_and_only_reads(app: Any) -> None:
    token = token_of(app, "/sql")
    told = ask(app, "/sql", {"token": token, "q": "SELECT key, 1.5 AS x FROM pairs ORDER BY key LIMIT 2"}).text
    assert re.findall(r"<td[^>]*>([^<]*)</td>", told) == ["k00", "1.5", "k01", "1.5"]
    for sql in ("DROP VIEW pairs", "COPY pairs TO '/tmp/x'", "SELECT * FROM read_csv('/etc/passwd')", "SELECT nothing"):
        assert 'class="notice wrong"' in ask(app, "/sql", {"token": token, "q": sql}).text
    many = ask(app, "/sql", {"token": token, "q": "SELECT * FROM range(1000)"}).text
    assert "The first 200 rows" in many


def test_what_breaks_while_it_is_explored_is_told(tmp_path: Path) -> None:
    curated = make_curated(tmp_path / "curated", {"s": MANY[:3], "t": MANY[3:5]}, summary=SUMMARY)
    app = application([explore(curated)])
    assert ask(app, "/picture/4").status == 200
    (curated / "shards" / "s.tar").unlink()
    assert ask(app, "/picture/0").headers["content-type"] == "image/svg+xml"
    (curated / "shards" / "t.tar").unlink()
    assert ask(app, "/picture/3?side=160").status == 500
    (curated / "tables" / "pairs" / "s.parquet").write_bytes(b"PAR1 no")
    found = ask(app, "/pair/0")
    assert found.status == 500
    assert "s.parquet: broken" in found.text
    assert ask(app, "/pair/4").status == 200


@examples(60)
@given(data=st.data())
def test_no_address_is_a_bug(data: st.DataObject, shared_app: Any) -> None:
    texts = st.text(max_size=12) | st.sampled_from([ATTACK, "%00", "k1", "9" * 40, "\x00", "grass"])
    pages = ["/", "/search", "/concepts", "/concept/1", "/pair/3", "/judge", "/judge/2", "/sql"]
    path = data.draw(st.sampled_from(pages))
    names = st.sampled_from(["q", "by", "at", "which", "k", "heat", "side"])
    values = texts | st.sampled_from(["key", "words", "concept", "both"])
    query = urlencode(data.draw(st.lists(st.tuples(names, values))))
    assert ask(shared_app, f"{path}?{query}").status in (200, 303, 400, 404)


@pytest.mark.parametrize("body", [b"", b"token", b"--x\r\nnonsense", b"\xff" * 100])
@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "multipart/form-data", "application/json"])
def test_forms_that_are_none_change_nothing(app: Any, body: bytes, kind: str) -> None:
    for address in ("/search", "/sql", "/pair/3"):
        assert ask(app, address, method="POST", body=body, content_type=kind).status in (400, 403)


def test_pictures_of_a_folder_without_shards_come_from_its_source(tmp_path: Path) -> None:
    source = tmp_path / "source.tar"
    made = {"name": "s", "url": str(source), "size": 1, "rows": None, "offset": 0}
    parameters = {"output": "tables"}
    curated = make_curated(tmp_path / "curated", {"s": MANY[:3]}, inputs=[made], parameters=parameters)
    (curated / "shards" / "s.tar").rename(source)
    assert ask(application([explore(curated)]), "/picture/2").headers["content-type"] == "image/jpeg"
    source.unlink()
    found = application([explore(curated)])
    assert ask(found, "/picture/2").headers["content-type"] == "image/svg+xml"
    assert ask(found, "/pair/2").status == 200


def test_pages_tell_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a folder that lies elsewhere, what is given to commands is its address, and not its copy here."""
    copy = tmp_path / "copy" / "curated"
    app = application([explore(make_curated(copy, {"s": MANY[:20]}, summary=SUMMARY), tmp_path / "judged.sqlite")])
    monkeypatch.setitem(CALLED, str(copy), "s3://bucket/<curated>")
    for address in ("/", "/judged"):
        assert "cocu curate export s3://bucket/<curated>" in page(app, address).text
    (copy / "tables" / "pairs" / "s.parquet").unlink()
    wrong = [ask(app, "/pair/3"), ask(app, "/sql", {"token": token_of(app, "/sql"), "sql": "SELECT * FROM pairs"})]
    for found in wrong:
        assert str(copy) not in found.text
        assert "s3://bucket/&lt;curated&gt;" in found.text, found.text
