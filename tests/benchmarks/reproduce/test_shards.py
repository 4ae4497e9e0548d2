"""The oracle's and the shuffled shards, against the truth of the pictures and against a plain loop."""

import io
import json
import tarfile
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.reproduce import shards
from benchmarks.reproduce.shards import donors, stored_pairs, swapped, write_oracle, write_shuffled
from curation.curated.shards import read_concepts
from curation.recovery.scorecard import score_folder
from data_cards.cards import read_card
from data_cards.miniature.pairs import DrawnPair, draw_pair
from data_cards.miniature.shards import members
from files.errors import CocuError, MisuseError
from tests.curation.curated_fixture import MadePair, make_curated
from training.batches.concepts import draw, parse_concepts

PAIRS, PER_SHARD = 30, 12
FOLDER = "a folder whose name is so long that no plain header of a tar can hold it, as those of the web are " * 2
FORMS = (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT)
CLASSES = [one.name for one in read_card("miniature").classes]


def drawn(number: int) -> tuple[str, DrawnPair]:
    """A pair and its key; those of the first shard lie in a folder."""
    pair = draw_pair("train", 5, number)
    return (f"{FOLDER}/" if number < PER_SHARD else "") + pair.key, pair


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of the miniature with concepts drawn at random, in three shards of three kinds of tar."""
    folder = tmp_path_factory.mktemp("curated") / "made"
    random = Random(0)
    pairs = [drawn(number) for number in range(PAIRS)]
    made = []
    for key, pair in pairs:
        named = sorted(name for name in CLASSES if name in pair.caption)[:2]
        recovered = random.sample([name for name in CLASSES if name not in named], random.randint(0, 4))
        listed = [(name, random.random(), name in named) for name in (*named, *recovered)]
        made.append(MadePair(key, pair.caption, named, sorted(listed, key=lambda one: -one[1])))
    cuts = range(0, PAIRS, PER_SHARD)
    make_curated(folder, {f"train-{n}": made[at : at + PER_SHARD] for n, at in enumerate(cuts)})
    for number, (at, form) in enumerate(zip(cuts, FORMS, strict=True)):
        with tarfile.open(folder / "shards" / f"train-{number}.tar", "w", format=form) as tar:
            for (key, pair), one in list(zip(pairs, made, strict=True))[at : at + PER_SHARD]:
                concepts = [
                    {"concept": name, "score": score, "cluster": rank // 2, "in_caption": said}
                    for rank, (name, score, said) in enumerate(one.concepts)
                ]
                curated = json.dumps({"version": 1, "concepts": concepts}).encode()
                for ending, content in [*members(pair, "train"), (".concepts.json", curated)]:
                    info = tarfile.TarInfo(key + ending)
                    info.size, info.mtime, info.uname = len(content), 1_700_000_000, "somebody"
                    tar.addfile(info, io.BytesIO(content))
    return folder


def contents(folder: Path) -> list[tuple[str, int, str, bytes]]:
    """Name, time, owner and content of every member, read by tarfile alone."""
    found = []
    for shard in sorted((folder / "shards").glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                content = tar.extractfile(member)
                assert content is not None
                found.append((member.name, int(member.mtime), member.uname, content.read()))
    return found


def concepts_of(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        name.removesuffix(".concepts.json"): read_concepts(content)
        for name, _, _, content in contents(folder)
        if name.endswith(".concepts.json")
    }


@pytest.mark.parametrize("how", ["oracle", "shuffled"])
def test_every_other_member_stays_as_it_is(curated: Path, tmp_path: Path, how: str) -> None:
    assert shards.main([how, str(curated), "--out", str(tmp_path / "out")]) == 0
    before, after = contents(curated), contents(tmp_path / "out")
    assert [name for name, *_ in before] == [name for name, *_ in after]
    untouched = [member for member in before if not member[0].endswith(".concepts.json")]
    assert untouched == [member for member in after if not member[0].endswith(".concepts.json")]
    assert len(untouched) == 3 * PAIRS
    for _, *_, content in (member for member in after if member[0].endswith(".concepts.json")):
        archive = parse_concepts(content)
        assert archive.scores == sorted(archive.scores, reverse=True)
        drawn = draw("curated-cluster", archive, 3, Random(0))
        assert len(set(drawn)) == min(3, len(archive))


def test_the_oracle_names_all_that_shows(curated: Path, tmp_path: Path) -> None:
    write_oracle(curated, tmp_path / "oracle")
    found = concepts_of(tmp_path / "oracle")
    assert len(found) == PAIRS
    for number in range(PAIRS):
        key, pair = drawn(number)
        pixels = Counter(pair.mask.ravel().tolist())
        shown = {CLASSES[index] for index, count in pixels.items() if count >= 0.01 * pair.mask.size}
        concepts = found[key]
        assert {one["concept"] for one in concepts} == shown
        assert {one["score"] for one in concepts} <= {1.0}
        assert [one["cluster"] for one in concepts] == list(range(len(shown)))
        for one in concepts:  # a class by its own name in the caption is named; other words for it are, too
            assert one["in_caption"] or f" {one['concept']} " not in f" {pair.caption.lower().rstrip('.')} "


def test_the_score_of_the_oracle_is_that_of_the_truth(curated: Path, tmp_path: Path) -> None:
    write_oracle(curated, tmp_path / "oracle")
    write_shuffled(curated, tmp_path / "shuffled")
    rows = [
        {"key": key, "object": one.name, "area": one.area}
        for key, pair in map(drawn, range(PAIRS))
        for one in pair.scene.objects
    ]
    truth, synonyms = tmp_path / "truth.jsonl", tmp_path / "synonyms.json"
    truth.write_text("\n".join(json.dumps(row) for row in rows))
    synonyms.write_text(json.dumps(read_card("miniature").synonyms()))
    oracle = score_folder(tmp_path / "oracle", truth, synonyms, ks=[16]).scores["curated"]
    assert oracle.precision[0].value == 1.0
    assert oracle.recall[0].value == 1.0
    shuffled = score_folder(tmp_path / "shuffled", truth, synonyms, ks=[16]).scores["curated"]
    assert shuffled.recall[0].value < 0.5


def test_the_shuffled_are_the_recovered_of_another_pair(curated: Path, tmp_path: Path) -> None:
    write_shuffled(curated, tmp_path / "one", seed=3)
    write_shuffled(curated, tmp_path / "same", seed=3)
    write_shuffled(curated, tmp_path / "other", seed=4)
    before, after = concepts_of(curated), concepts_of(tmp_path / "one")
    assert after == concepts_of(tmp_path / "same")
    assert after != concepts_of(tmp_path / "other")
    keys = list(before)
    for key, donor in zip(keys, donors(PAIRS, 3), strict=True):
        theirs = before[keys[donor]]
        named = [(one["concept"], one["score"]) for one in before[key] if one["in_caption"]]
        assert keys[donor] != key
        assert [(one["concept"], one["score"]) for one in after[key] if one["in_caption"]] == named
        got = [(one["concept"], one["score"]) for one in after[key] if not one["in_caption"]]
        left_out = {name for name, _ in named}
        assert got == [
            (one["concept"], one["score"]) for one in theirs if not one["in_caption"] and one["concept"] not in left_out
        ]


@given(st.integers(2, 200), st.integers(0, 5))
def test_nobody_is_their_own_donor_and_everybody_is_one(pairs: int, seed: int) -> None:
    given_by = donors(pairs, seed)
    assert sorted(given_by) == list(range(pairs))
    assert all(number != donor for number, donor in enumerate(given_by))


def test_one_pair_has_nobody_to_change_places_with() -> None:
    with pytest.raises(MisuseError, match="1 pairs"):
        donors(1, 0)


CONCEPTS = st.lists(
    st.fixed_dictionaries(
        {
            "concept": st.sampled_from("abcdefgh"),
            "score": st.floats(-1, 1),
            "cluster": st.integers(0, 3),
            "in_caption": st.booleans(),
        }
    ),
    max_size=6,
    unique_by=lambda one: one["concept"],
)


@given(CONCEPTS, CONCEPTS)
def test_clusters_of_the_two_stay_apart_and_whole(own: list[dict[str, Any]], donor: list[dict[str, Any]]) -> None:
    mixed = swapped(own, donor)
    assert len({one["concept"] for one in mixed}) == len(mixed)
    old = {one["concept"]: one["cluster"] for one in own if one["in_caption"]}
    given_by = {one["concept"]: one["cluster"] for one in donor if not one["in_caption"]}
    for one in mixed:
        for other in mixed:
            both_own, both_new = ({one["in_caption"], other["in_caption"]} == {kind} for kind in (True, False))
            together = (both_own and old[one["concept"]] == old[other["concept"]]) or (
                both_new and given_by[one["concept"]] == given_by[other["concept"]]
            )
            assert (one["cluster"] == other["cluster"]) == together


def test_stored_pairs_are_those_that_tarfile_reads(curated: Path) -> None:
    found = [pair for shard in sorted((curated / "shards").glob("*.tar")) for pair in stored_pairs(shard)]
    read = [(f"{pair.key}.{field}", content) for pair in found for field, (_, content) in pair.members.items()]
    assert read == [(name, content) for name, _, _, content in contents(curated)]
    assert [len(pair.members) for pair in found] == [4] * PAIRS


def test_a_shard_cut_short_is_named(curated: Path, tmp_path: Path) -> None:
    shard = next((curated / "shards").glob("*.tar"))
    (tmp_path / "cut.tar").write_bytes(shard.read_bytes()[:5000])
    with pytest.raises(CocuError, match=r"cut\.tar: .*cut short"):
        list(stored_pairs(tmp_path / "cut.tar"))


def test_a_folder_without_shards_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shards.main(["oracle", str(tmp_path / "nothing"), "--out", str(tmp_path / "out")]) == 2
    assert str(tmp_path / "nothing") in capsys.readouterr().err
