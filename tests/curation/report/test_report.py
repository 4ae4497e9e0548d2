"""The pages and the terminal view of curated pairs: figures, escaping, pictures, stability."""

from __future__ import annotations

import base64
import io
import json
import os
import re
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from curation.curated.pairs import SAMPLED_SHARDS, find_pairs, picture_bytes, sample_pairs
from curation.curated.query import connect
from curation.report.evidence import Evidence
from curation.report.figures import Histogram, read_figures, read_score_range, score_text
from curation.report.gallery import pair_cards
from curation.report.histograms import drawn
from curation.report.report import write_pairs_page, write_report
from curation.report.terminal import show_pairs
from curation.report.thumbnails import thumbnail
from files.errors import MisuseError
from tests.curation.curated_fixture import MadePair, jpeg, make_curated
from tests.parsed_page import ATTACK, ParsedPage, read_page


def read(path: Path) -> ParsedPage:
    return read_page(path.read_text(encoding="utf-8"))


def pictures(page: ParsedPage) -> list[bytes]:
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    return [base64.b64decode(source.partition(",")[2]) for source in page.sources]


@pytest.fixture
def curated(tmp_path: Path) -> Path:
    shards = {
        "s0": [
            MadePair("a"),
            MadePair("b", "Two dogs", ("dog",), (("sky", 2.0, False), ("tree", 1.9, False))),
            MadePair("c", "a cat", ("cat",), (("cat", 1.7, True),)),
        ],
        "s1": [MadePair("a", "grass", ("grass",), (("sky", 1.5, False),)), MadePair("d", "", (), ())],
    }
    rejects = [("s0", "x", "empty caption"), ("s1", "y", "truncated picture: 3 bytes")]
    return make_curated(tmp_path / "curated", shards, rejects)


# Figures


def test_figures_are_counted_from_the_tables(curated: Path) -> None:
    figures = read_figures(curated, connect(curated))
    assert figures.pairs == 5
    assert figures.concepts_per_pair == pytest.approx(6 / 5)
    assert figures.gained_share == pytest.approx(3 / 5)
    assert figures.top_recovered == (("sky", 2), ("grass", 1), ("tree", 1))
    assert figures.rejects == {"empty caption": 1, "truncated picture": 1}
    assert figures.stage_seconds == {}
    scores, per_pair, support = figures.histograms
    assert (sum(scores.recovered), sum(scores.named)) == (4, 2)
    assert per_pair.recovered == (2, 2, 1)
    assert per_pair.named == (1, 4, 0)
    assert support.recovered[8] == 3


def test_the_summary_of_the_manifest_comes_first(curated: Path) -> None:
    path = curated / "manifest.json"
    summary = {
        **{"pairs": 5, "rejects": {"no image": 7}, "concepts_per_pair": 3.5, "gained_share": 0.25},
        **{"stage_seconds": {"search": 1.5}, "top_recovered": [["moon", 9]]},
    }
    path.write_text(json.dumps(json.loads(path.read_text()) | {"summary": summary}))
    figures = read_figures(curated, connect(curated))
    assert (figures.concepts_per_pair, figures.gained_share) == (3.5, 0.25)
    assert figures.top_recovered == (("moon", 9),)
    assert (figures.rejects, figures.stage_seconds) == ({"no image": 7}, {"search": 1.5})


def test_a_manifest_with_odd_values_does_not_stop_a_report(curated: Path, tmp_path: Path) -> None:
    path = curated / "manifest.json"
    summary = {
        **{"rejects": [], "concepts_per_pair": "many", "gained_share": None},
        **{"stage_seconds": {"search": "long"}, "top_recovered": "sky"},
    }
    path.write_text(json.dumps(json.loads(path.read_text()) | {"summary": summary}))
    write_report(curated, tmp_path / "report.html")
    assert "60%" in read(tmp_path / "report.html").texts


def test_a_report_tells_its_day_and_command_in_words(curated: Path, tmp_path: Path) -> None:
    path = curated / "manifest.json"
    told = {"parameters": {"keep": 16, "ranking": "evidence"}, "versions": {"cocu": "9.8"}}
    path.write_text(json.dumps(json.loads(path.read_text()) | told))
    os.utime(path, (1709251199, 1709251199))  # a second before midnight, UTC
    write_report(curated, tmp_path / "report.html")
    texts = read(tmp_path / "report.html").texts
    assert "What 5 captions left out (29 February 2024)" in texts
    assert (
        "Concepts of 5 pairs, ranked by evidence, the best 16 of each kept besides what its caption names. "
        "Made by the command cocu curate run of cocu 9.8; its manifest is of 29 February 2024."
    ) in texts
    write_pairs_page(curated, ["b"], tmp_path / "pairs.html")
    assert read(tmp_path / "pairs.html").texts.count("1 curated pair") == 2  # title and heading


def test_an_empty_curation_has_a_report(tmp_path: Path) -> None:
    curated = make_curated(tmp_path / "curated", {"s": []})
    write_report(curated, tmp_path / "report.html")
    assert "0 of 0 pairs, drawn at random" in read(tmp_path / "report.html").texts


def test_scores_that_are_probabilities_have_bars_from_nought_to_one(tmp_path: Path) -> None:
    concepts = (("sky", 0.4, False), ("dog", 0.3, True))
    curated = make_curated(tmp_path / "c", {"s": [MadePair("k", concepts=concepts)]})
    assert read_score_range(connect(curated)) == (0.0, 1.0)
    write_pairs_page(curated, ["k"], tmp_path / "p.html")
    assert "width:40.0%" in (tmp_path / "p.html").read_text()


def test_bars_begin_at_nought_and_weak_ones_are_faded(tmp_path: Path) -> None:
    concepts = (("sky", 0.75, False), ("dog", 0.02, False), ("sea", -0.25, False))
    curated = make_curated(tmp_path / "c", {"s": [MadePair("k", concepts=concepts)]})
    pair = find_pairs(connect(curated), ["k"])
    bars = pair_cards(curated, pair, (-0.25, 0.75), Evidence({}))[0].bars
    assert [(round(bar.start, 3), round(bar.percent, 3), bar.weak) for bar in bars] == [
        (25.0, 75.0, False),
        (25.0, 2.0, True),
        (0.0, 25.0, False),
    ]


def test_cards_can_be_put_in_order_and_sifted(tmp_path: Path) -> None:
    pairs = [
        MadePair("few", concepts=(("sky", 1.9, False), ("dog", 1.8, True))),
        MadePair("none", concepts=(("dog", 2.5, True),)),
        MadePair("many", concepts=(("sky", 1.7, False), ("sea", 1.6, False))),
    ]
    curated = make_curated(tmp_path / "c", {"s": pairs})
    write_report(curated, tmp_path / "r.html")
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    keys = re.findall(r'class="key">(\S+)', html)
    places = re.findall(r'class="card" style="--best:(\d+);--gained:(\d+)"( data-gained="none")?', html)
    assert dict(zip(keys, places, strict=True)) == {
        "few": ("0", "1", ""),
        "none": ("2", "2", ' data-gained="none"'),
        "many": ("1", "0", ""),
    }


@pytest.mark.parametrize(("pairs", "folds"), [(12, False), (13, True)])
def test_on_a_phone_a_long_gallery_unfolds(tmp_path: Path, pairs: int, folds: bool) -> None:
    curated = make_curated(tmp_path / "c", {"s": [MadePair(f"k{i}", image=None) for i in range(pairs)]})
    write_report(curated, tmp_path / "r.html")
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert html.count("<article") == pairs
    assert ('type="checkbox" id="whole"' in html) == folds
    assert ".card:nth-child(n+13)" in html


def test_scores_that_are_not_numbers_are_left_out_of_ranges(tmp_path: Path) -> None:
    concepts = (("sky", float("inf"), False), ("dog", float("nan"), True), ("sea", 2.0, False))
    curated = make_curated(tmp_path / "c", {"s": [MadePair("k", concepts=concepts)]})
    assert read_score_range(connect(curated)) == (1.5, 2.5)
    write_report(curated, tmp_path / "r.html")
    assert read(tmp_path / "r.html").by_class["value"][-3:] == ["inf", "nan", "2.00"]


@pytest.mark.parametrize(
    ("score", "score_range", "text"),
    [
        (0.5, (0.0, 1.0), "0.50"),
        (2e-6, (0.0, 1.6), "0.00"),
        (1.7, (1.5, 2.2), "1.70"),
        (0.0164, (0.01, 0.03), "0.016"),
        (None, (0.0, 1.0), ""),
    ],
)
def test_scores_have_as_many_decimals_as_tell_them_apart(
    score: float | None, score_range: tuple[float, float], text: str
) -> None:
    assert score_text(score, score_range) == text


# Pages


def hostile(tmp_path: Path, name: str, said: str) -> Path:
    pair = MadePair(f"{said}k", f"dog {said}", (said, "dog"), ((said, 1.9, False), ("dog", 1.8, True)))
    return make_curated(
        tmp_path / name,
        {"<u>s": [pair]},
        rejects=[("<u>s", "r", said)],
        parameters={said: said},
        summary={"stage_seconds": {said: 1.0}},
    )


def test_everything_from_outside_stays_text(tmp_path: Path) -> None:
    curated, plain = hostile(tmp_path, "<i>&", ATTACK), hostile(tmp_path, "plain", "cat")
    write_report(curated, tmp_path / "report.html")
    page = read(tmp_path / "report.html")
    assert page.by_class["caption"] == [f"dog {ATTACK}"]
    assert page.by_class["key"] == [f"{ATTACK}k in <u>s"]
    assert page.by_class["label"].count(ATTACK) >= 3
    assert any(text.startswith("What 1 caption left out (") for text in page.texts)
    assert page.texts.count(ATTACK) >= 5  # parameters too
    write_report(plain, tmp_path / "plain.html")
    marks = ("mark", ())  # the attack has no word to be marked
    assert [one for one in page.elements if one != marks] == [
        one for one in read(tmp_path / "plain.html").elements if one != marks
    ]
    write_pairs_page(curated, [f"{ATTACK}k"], tmp_path / "pairs.html")
    assert read(tmp_path / "pairs.html").by_class["caption"] == [f"dog {ATTACK}"]


def test_cards_mark_what_is_named_and_draw_what_is_recovered(curated: Path, tmp_path: Path) -> None:
    write_pairs_page(curated, ["b", "a"], tmp_path / "p.html")
    page = read(tmp_path / "p.html")
    # In the order asked for; "a" stands in two shards.
    assert page.by_class["key"] == ["b in s0", "a in s0", "a in s1"]
    assert "<mark>dogs</mark>" in (tmp_path / "p.html").read_text()
    assert page.by_class["recovered"] == ["sky2.00", "tree1.90", "grass1.90", "sky1.50"]
    assert page.by_class["named"] == ["dog1.80"]


def test_long_archives_end_in_words(tmp_path: Path) -> None:
    concepts = [(f"thing{i:02d}", 2 - i / 100, False) for i in range(16)]
    curated = make_curated(tmp_path / "c", {"s": [MadePair("k", concepts=concepts)]})
    write_report(curated, tmp_path / "r.html")
    more = ", ".join(f"thing{i:02d}" for i in range(10, 16))
    assert read(tmp_path / "r.html").by_class["more"] == [f"and {more}"]
    write_pairs_page(curated, ["k"], tmp_path / "p.html")
    assert "more" not in read(tmp_path / "p.html").by_class


def test_pictures_are_small_jpegs_and_bad_ones_have_a_placeholder(tmp_path: Path) -> None:
    png = io.BytesIO()
    Image.new("RGBA", (900, 300), "red").save(png, "PNG")
    pairs = [
        MadePair("big", image=jpeg("blue", (2000, 1000))),
        MadePair("png", image=png.getvalue(), suffix="png"),
        MadePair("broken", image=b"\xff\xd8 not a picture"),
        MadePair("none", image=None),
    ]
    curated = make_curated(tmp_path / "c", {"s": pairs})
    write_pairs_page(curated, [pair.key for pair in pairs], tmp_path / "p.html")
    page = read(tmp_path / "p.html")
    assert [Image.open(io.BytesIO(data)).size for data in pictures(page)] == [(320, 160), (320, 107)]
    assert len(page.by_class["none"]) == 2


def test_a_missing_or_broken_shard_costs_its_pictures_only(curated: Path, tmp_path: Path) -> None:
    (curated / "shards" / "s0.tar").unlink()
    whole = (curated / "shards" / "s1.tar").read_bytes()
    (curated / "shards" / "s1.tar").write_bytes(whole[:700])
    write_report(curated, tmp_path / "r.html")
    assert len(read(tmp_path / "r.html").by_class["none"]) == 5


def test_a_shard_name_cannot_lead_out_of_the_folder(curated: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.tar").write_bytes((curated / "shards" / "s0.tar").read_bytes())
    pair = find_pairs(connect(curated), ["b"])[0]
    outside = type(pair)(pair.key, "../../outside", pair.caption, (), ())
    assert list(picture_bytes(curated, [outside])) == []
    assert len(list(picture_bytes(curated, [pair]))) == 1


def test_thumbnails_stand_upright_and_keep_no_metadata() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x010F] = "SecretCamera"
    stream = io.BytesIO()
    Image.new("RGB", (640, 320), "red").save(stream, "JPEG", exif=exif)
    small = thumbnail(stream.getvalue())
    assert small is not None
    picture = Image.open(io.BytesIO(small))
    assert picture.size == (160, 320)
    assert not picture.getexif()
    assert b"SecretCamera" not in small


def test_the_same_seed_gives_the_same_page_and_another_seed_another(tmp_path: Path) -> None:
    shards = {f"s{i}": [MadePair(f"{i}-{j}") for j in range(20)] for i in range(3)}
    curated = make_curated(tmp_path / "c", shards)
    pages = []
    for number, seed in enumerate((0, 0, 1)):
        write_report(curated, tmp_path / f"{number}.html", sample=10, seed=seed)
        pages.append((tmp_path / f"{number}.html").read_text())
    assert pages[0] == pages[1]
    keys = [re.findall(r'class="key">(\S+)', page) for page in pages]
    assert len(set(keys[0])) == len(set(keys[2])) == 10
    assert keys[0] != keys[2]


def test_a_sample_opens_few_shards_but_enough_of_them(tmp_path: Path) -> None:
    shards = {f"s{i:02d}": [MadePair(f"{i}-{j}") for j in range(3)] for i in range(20)}
    connection = connect(make_curated(tmp_path / "c", shards))
    few = sample_pairs(connection, 10, seed=0)
    assert len(few) == 10
    assert len({pair.shard for pair in few}) <= SAMPLED_SHARDS
    assert len(sample_pairs(connection, 50, seed=0)) == 50
    assert len(sample_pairs(connection, 1000, seed=0)) == 60
    assert sample_pairs(connection, 0, seed=0) == []


# The terminal


def printed(curated: Path, *keys: str, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    for panel in show_pairs(curated, keys):
        console.print(panel)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_show_prints_caption_and_archive(curated: Path) -> None:
    text = printed(curated, "a")
    assert text.index("s0") < text.index("s1")
    assert re.search(r"grass +1\.90 +█+ +8 +0 +recovered", text)
    assert re.search(r"dog +1\.80 +█+ +7 +1 +in the caption", text)
    assert "no concept was found" in printed(curated, "d")


def test_show_defuses_what_captions_hold(tmp_path: Path) -> None:
    evil = "[red]x[/red] \x1b[2J\x07"
    curated = make_curated(tmp_path / "c", {"s": [MadePair(f"k{evil}", evil, (evil,), ((evil, 1.0, False),))]})
    text = printed(curated, f"k{evil}")
    assert "\x1b" not in text
    assert "\x07" not in text
    assert text.count("[red]x[/red] ␛[2J␇") == 3


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    pairs = [MadePair(key) for key in ("000042", "000043", "000142", "999999")]
    curated = make_curated(tmp_path / "c", {"s": pairs})
    with pytest.raises(MisuseError, match=r"'00042'.*nearest are '000042', '000142', '000043'"):
        show_pairs(curated, ["999999", "00042"])
    with pytest.raises(MisuseError, match="holds no pairs"):
        show_pairs(make_curated(tmp_path / "empty", {"s": []}), ["k"])


# Histograms


@given(
    st.integers(1, 40),
    st.floats(-5, 5),
    st.floats(1e-6, 100),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_histograms_stay_inside_their_frame(bins: int, low: float, width: float, random: Random, whole: bool) -> None:
    draw = random.randrange
    counts = tuple(draw(0, 1000) for _ in range(bins)), tuple(draw(0, 3) for _ in range(bins))
    low, width = (0.0, float(draw(1, 9))) if whole else (low, width)
    drawing = drawn(Histogram("t", "a", low, width, *counts, ("r", "n"), whole))
    assert len(drawing.bars) == sum(count > 0 for count in counts[0])
    for bar in drawing.bars:
        assert min(bar.x, bar.y, bar.height) >= 0
        assert bar.x + bar.width <= drawing.width + 1
        assert bar.y + bar.height <= drawing.height


@pytest.mark.parametrize("weight", [0.15, 0.9])
def test_claims_are_doubted_where_captions_tell_what_is_shown(tmp_path: Path, weight: float) -> None:
    pair = MadePair("a", "a dog", ("dog",), (("sky", 0.9, False),))
    curated = make_curated(tmp_path / "curated", {"s0": [pair]}, picture={"weight": weight})
    for path in (curated / "tables" / "archives").iterdir():
        table = pq.read_table(path)
        place = table.schema.get_field_index("confidence")
        told = pa.array([0.05] * len(table), pa.float32())
        table = table.set_column(place, "confidence", told) if place >= 0 else table.append_column("confidence", told)
        pq.write_table(table, path)
    write_report(curated, tmp_path / "report.html")
    assert ("Doubtful" in (tmp_path / "report.html").read_text(encoding="utf-8")) == (weight < 0.5)
    write_pairs_page(curated, ["a"], tmp_path / "pairs.html")
    assert ("5%" in (tmp_path / "pairs.html").read_text(encoding="utf-8").split("</style>")[-1]) == (weight < 0.5)
    console = Console(width=100, file=io.StringIO())
    for panel in show_pairs(curated, ["a"]):
        console.print(panel)
    assert ("confidence" in console.file.getvalue()) == (weight < 0.5)  # type: ignore[attr-defined]
