"""Noun phrases of a parsed caption in the normal form of concepts (PAPER, "Concepts of a caption").

A concept is lower case, free of determiners, pronouns, numbers and punctuation, its head noun in the singular,
its compounds kept: "Two red fire trucks" -> "fire truck".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from curation.concepts.chunks import noun_chunks
from curation.concepts.languages import ENGLISH, language_of
from curation.concepts.lexicon import (
    Lexicon,
    in_set_phrase,
    medium_words,
    not_names,
    object_words,
    resolve_pipeline,
    set_phrases,
    usual_nouns,
    usual_verbs,
)
from curation.concepts.verbs import LEAST, subject_odds, verb_odds

if TYPE_CHECKING:
    from spacy.tokens import Doc, Token

OWN_PARSER = "spacy"
NAME_LABELS = frozenset(
    ["PERSON", "ORG", "GPE", "LOC", "FAC", "NORP", "PRODUCT", "WORK_OF_ART", "EVENT", "LAW", "LANGUAGE"]
)
# A plural after one of these is a verb that the tagger took for a noun: "a girl dances".
_SINGULAR_DETERMINERS = frozenset(["a", "an", "one", "another", "each", "every"])
_COUNTING = frozenset(["few", "couple", "dozen", "hundred", "thousand", "million", "many", "several"])
_BEFORE_NOUNS = frozenset(["compound", "nmod", "amod"])
_FINITE = frozenset(["VBZ", "VBD", "VBP", "MD"])
_SEPARATORS = frozenset([",", "/", "&", ";", "|", "+", "#", ":", "(", ")", '"', "\u201c", "\u201d"])
# No noun at all, though a tagger takes them for one where a caption is no sentence: "a the - *", "hers", "none".
_FUNCTION_WORDS = frozenset(
    word
    for words in (
        "a an the this that these those each every either neither both all any no none",
        "i me my he him his she her hers it its we our ours you your yours they them their theirs who whom whose which",
        "two three four five six seven eight nine ten eleven twelve",
        "of on in at to by for from with and or nor not is are was were be am do does did has have had",
    )
    for word in words.split()
)
# Letters of the Latin script end here; an English pipeline makes words of others by chance only.
_END_OF_LATIN = 0x250


@dataclass(frozen=True)
class NounOptions:
    """What counts as a concept.

    pipeline: spaCy package name or path; "auto" takes the first installed of `PIPELINES`.
    adjectives: keep the adjectives before the head ("red car").
    names: keep people, brands and places (words that carry an entity label).
    max_words: longer phrases keep their last words, which hold the head.
    max_chars: only so much of a caption is parsed; parsing memory grows with length.
    parser: what reads captions, by its name in `PARSERS`; one that is no grammar minds what of all this it can.
    language: of captions, by its code in `languages.known_languages`.
    """

    pipeline: str = "auto"
    adjectives: bool = False
    names: bool = False
    max_words: int = 4
    max_chars: int = 2_000
    parser: str = OWN_PARSER
    language: str = ENGLISH

    def parameters(self) -> dict[str, Any]:
        """As a manifest names them; the house's own parser and English go without saying."""
        named = asdict(self) | {"pipeline": resolve_pipeline(self.pipeline, language_of(self.language))}
        for name, usual in (("parser", OWN_PARSER), ("language", ENGLISH)):
            if named[name] == usual:
                del named[name]
        return {f"noun_{name}": value for name, value in named.items()}


def concepts_of(doc: Doc, options: NounOptions, lexicon: Lexicon, titled: bool = False) -> list[str]:
    """Distinct concepts of a parsed caption, in order of appearance.

    titled: its capitals said nothing and were taken out before parsing.
    """
    found: dict[str, None] = {}
    for chunk in noun_chunks(doc, lexicon, titled):
        root = chunk[-1].i
        part: list[Token] = []
        for token in _without_verb(chunk, lexicon):
            if token.dep_ == "poss" and token.pos_ in ("NOUN", "PROPN") and not _is_a_kind(token, part, titled):
                owner = _phrase([*part, token], options, lexicon, titled)  # "the dog's toy" shows a dog, too
                if owner:
                    found.setdefault(owner)
            if _separates(token, part, root, lexicon):
                listed = _phrase(part, options, lexicon, titled, before_head=True) if part else None
                if listed:
                    found.setdefault(listed)
                part = []
            elif part and _begins_anew(token, part, lexicon):
                listed = _phrase(part, options, lexicon, titled)
                if listed:
                    found.setdefault(listed)
                part = [token]
            else:
                part.append(token)
        phrase = _phrase(part, options, lexicon, titled) if part else None
        if phrase:
            found.setdefault(phrase)
    return list(found)


def _is_a_kind(owner: Token, before: Sequence[Token], titled: bool) -> bool:
    """Whether an owner says for whom a thing is made, and is not there: "Men's Jeans", but "the men's jeans"."""
    return titled and not before and owner.tag_ == "NNS"


def is_word(text: str) -> bool:
    """Whether a word may name a thing: letters, of the Latin script, and no word of English grammar."""
    return (
        len(text) > 1
        and (text.isalpha() or all(part.isalpha() for part in text.replace("'", "-").split("-") if part))
        and text[0].isalpha()
        and text not in _FUNCTION_WORDS
        and max(text) < chr(_END_OF_LATIN)
    )


def _is_name(token: Token, text: str, titled: bool, lexicon: Lexicon) -> bool:
    if text in not_names():
        return False
    if titled:  # no capitals to go by: what the tagger takes for a name, or the list of nouns does not know
        word = lexicon.singular(text)
        if text in usual_nouns() or word in object_words():
            return word == text and _is_behind_a_name(token, lexicon)
        known = word in lexicon.known_words("noun")
        return not known or (token.tag_ in ("NNP", "NNPS") and word == text)  # names have no plural
    if token.i == 0 and (text in usual_nouns() or _is_noun_at_the_start(token, text, lexicon)):
        return False  # its capital is the sentence's
    # The small pipeline also labels plain lower-case nouns now and then; names are written with capitals.
    return token.ent_type_ in NAME_LABELS and not token.text.islower()


def _is_noun_at_the_start(token: Token, text: str, lexicon: Lexicon) -> bool:
    """Whether a caption's first word is no name, though it looks like a company's: "Cheetah chases gazelle"."""
    alone = len(token.doc) == 1 or (token.nbor().ent_iob_ != "I" and not token.nbor().text[0].isupper())
    return alone and token.ent_type_ not in ("PERSON", "GPE") and text in lexicon.known_words("noun")


def _is_behind_a_name(token: Token, lexicon: Lexicon) -> bool:
    """Whether a word for a thing is a country: "cappadocia, turkey"."""
    if token.tag_ != "NNP" or token.i < 2 or token.nbor(-1).lower_ != ",":
        return False
    place = token.nbor(-2)
    return place.tag_ == "NNP" and lexicon.singular(place.lower_) not in usual_nouns() | object_words()


def _units(tokens: Sequence[Token], lexicon: Lexicon) -> list[tuple[str, Token]]:
    """Words of a phrase, lower case, each with its token; "t-shirt" is one word though the tokeniser split it."""
    units = [(token.lower_, token) for token in tokens]
    if all(text != "-" for text, _ in units):
        return units
    units = []
    run: list[Token] = []
    for token in tokens:
        if token.lower_ == "-" or (run and run[-1].lower_ == "-"):
            run.append(token)
            continue
        units.extend(_hyphenated(run, lexicon) if len(run) > 1 else ((t.lower_, t) for t in run))
        run = [token]
    units.extend(_hyphenated(run, lexicon) if len(run) > 1 else ((t.lower_, t) for t in run))
    return units


def _hyphenated(run: Sequence[Token], lexicon: Lexicon) -> list[tuple[str, Token]]:
    """Words of tokens between which hyphens stand: one where that is a word, else as it would be written without."""
    parts = [token for token in run if token.lower_ != "-"]
    texts = [token.lower_ for token in parts]
    if len(parts) < 2:
        return list(zip(texts, parts, strict=True))
    nouns, whole = lexicon.known_words("noun"), "-".join(texts)
    if tuple(texts) in set_phrases():
        return list(zip(texts, parts, strict=True))
    if lexicon.singular(whole) in nouns or whole in medium_words() or len(texts[0]) == 1:
        return [(whole, parts[-1])]
    spaced = any(token.whitespace_ for token in run[:-1])
    describing = parts[0].pos_ == "NUM" or medium_words().get(texts[0]) is not None or lexicon.is_adjective(texts[0])
    if (
        medium_words().get(texts[-1]) == "any" and not spaced and run[-1].dep_ in ("compound", "nmod", "amod")
    ):  # "roll-top desk"
        return []
    if describing and not spaced:
        # "blond-hair" is hair, but a "long-sleeve shirt" is no sleeve
        return [(texts[-1], parts[-1])] if parts[-1].dep_ not in ("compound", "nmod", "amod") else []
    if spaced or all(lexicon.singular(text) in nouns for text in texts):
        return list(zip(texts, parts, strict=True))  # "ice-cream" is written "ice cream", too
    return [(whole, parts[-1])]


def _modifies(token: Token, text: str, options: NounOptions, lexicon: Lexicon) -> bool:
    """Whether a word before the head belongs to the concept."""
    scope = medium_words().get(text)
    if token.pos_ == "ADJ":
        return options.adjectives and token.dep_ == "amod" and scope in (None, "colour", "colour or thing")
    if scope in ("any", "modifier", "colour", "colour or thing"):
        return False
    if token.tag_ in ("VB", "VBP"):  # no verb in base form comes before a noun: "skate park", "ski equipment"
        return token.dep_ in ("compound", "amod") and text in lexicon.known_words("noun")
    if text.endswith("ing") and _is_doing(token, lexicon):
        return False
    if token.tag_ == "VBG" and text in object_words() and token.i and token.nbor(-1).pos_ in ("NOUN", "PROPN"):
        return True  # "cream cheese frosting recipe"
    if (
        token.pos_ == "VERB" and text not in usual_nouns()
    ):  # "shopping cart", but neither "playing banjo" nor "grilled salmon"
        return token.dep_ == "compound" and scope != "head" and token.tag_ not in ("VBN", "VBD")
    if token.pos_ not in ("NOUN", "PROPN") or token.dep_ not in ("compound", "nmod", "conj"):
        return False
    return options.adjectives or not lexicon.is_adjective(text)


def _is_doing(token: Token, lexicon: Lexicon) -> bool:
    """Whether the first word of a phrase says what somebody does with the rest: "on bikes | crossing street"."""
    if token.i and token.nbor(-1).tag_ in ("DT", "JJ", "PRP$", "CD"):
        return False
    return token.lower_ not in usual_nouns() and verb_odds(token.lower_, lexicon) >= 2 * LEAST


def _names_nothing(head: Token, text: str, before_head: bool) -> bool:
    """Whether a head is a word for the medium, a quantity and the like; see `medium_words`."""
    scope = medium_words().get(text)
    if scope in ("modifier", "colour or thing") and before_head:
        return True
    if scope == "colour or thing":
        return head.i > 0 and head.nbor(-1).lower_ == "in"
    return scope in ("any", "colour", "head") or (scope == "of" and _before_of(head))


def _phrase(
    tokens: Sequence[Token], options: NounOptions, lexicon: Lexicon, titled: bool, before_head: bool = False
) -> str | None:
    """Normal form of the phrase that ends in its head, or None when nothing of it names content.

    before_head: it is the first part of "a bowler hat and plaid suit".
    """
    head = tokens[-1]
    if head.pos_ not in ("NOUN", "PROPN"):
        return None
    *before, (last, token) = _units(tokens, lexicon) or [("", tokens[0])]
    if token is not head:
        return None
    texts = [text for text, _ in before]
    together = in_set_phrase([*texts, last])
    if not together[-1]:
        last_form = lexicon.head_form(last, bool(texts))
        together = in_set_phrase([*texts, last_form])
        if together[-1]:
            last = last_form
    kept = [
        (text, joined)
        for text, modifier, joined in zip(texts, [t for _, t in before], together[:-1], strict=True)
        if joined
        or (
            is_word(text)
            and _modifies(modifier, text, options, lexicon)
            and (options.names or not _is_name(modifier, text, titled, lexicon))
        )
    ]
    if together[-1]:
        kept.append((last, True))
    else:
        last = lexicon.head_form(last, bool(kept) or _before_of(head))
        nothing = _names_nothing(head, last, before_head)
        if not nothing and not options.names and _is_name(head, last, titled, lexicon):
            return None  # but "t-shirt mockup" is a shirt, though no dictionary knows mockups
        if is_word(last) and not nothing:
            kept.append((last, False))
        while kept and not kept[-1][1] and medium_words().get(kept[-1][0]) == "head":
            kept.pop()
    words = [text for text, _ in kept]
    return " ".join(words[-options.max_words :]) or None


def _before_of(token: Token) -> bool:
    return token.i + 1 < len(token.doc) and token.nbor().lower_ == "of"


def _without_verb(tokens: Sequence[Token], lexicon: Lexicon) -> Sequence[Token]:
    """The tokens of a noun chunk without a verb at its end: "a girl dances" -> "a girl"."""
    head = tokens[-1]
    # "cell phone charging", but "rock climbing"
    is_verb = head.lower_.endswith("ing") and head.lower_ not in usual_nouns()
    if is_verb and any(in_set_phrase([token.lower_ for token in tokens[:-1]])):
        return tokens[:-1]
    if (
        len(tokens) > 2
        and tokens[-2].pos_ in ("NOUN", "PROPN")
        and not tokens[-2].lower_.endswith("ing")  # "a row reading books"
        and tokens[0].lower_ in _SINGULAR_DETERMINERS
        and not any(t.pos_ == "NUM" or t.lower_ in _COUNTING for t in tokens[1:-1])
        and lexicon.is_verb_form(head.lower_)
        and not (head.i + 1 < len(head.doc) and head.nbor().tag_ in _FINITE)
    ):
        return tokens[:-1]
    return tokens


def _separates(token: Token, part: Sequence[Token], root: int, lexicon: Lexicon) -> bool:
    """Whether a token parts a noun chunk in two: "black dress and heels", "shirt playing keyboard"."""
    if token.pos_ == "CCONJ" or token.lower_ in _SEPARATORS:
        return True
    if token.lower_ == "-":
        return _is_dash(token, part, lexicon)
    if token.tag_ in ("NNS", "VBZ") and _is_verb_between(token, root, lexicon):
        return True
    if token.i == root or token.tag_ != "VBG" or not part or part[-1].pos_ not in ("NOUN", "PROPN"):
        return False
    if subject_odds(part[-1].lower_) + verb_odds(token.lower_, lexicon) < 0:  # "cheese frosting recipe"
        return False
    return (token.lower_, lexicon.singular(token.nbor().lower_)) not in set_phrases()


def _begins_anew(token: Token, part: Sequence[Token], lexicon: Lexicon) -> bool:
    """Whether an adjective after a thing begins the next of a list without commas: "sky | white clouds"."""
    if part[0].pos_ in ("DET", "PRON", "NUM"):  # "a baby blue uniform" is one thing
        return False
    before = part[-1]
    if (
        before.pos_ not in ("NOUN", "PROPN")
        or before.lower_ in medium_words()
        or lexicon.singular(before.lower_) not in object_words()
    ):
        return False
    scope = medium_words().get(token.lower_)
    return scope in ("colour", "colour or thing") or (token.tag_ == "JJ" and lexicon.is_adjective(token.lower_))


def _is_dash(token: Token, part: Sequence[Token], lexicon: Lexicon) -> bool:
    """Whether a hyphen between spaces parts two things, "cake topper - bride", and no word, "t - shirt"."""
    if not part or not part[-1].whitespace_ or not token.whitespace_ or token.i + 1 == len(token.doc):
        return False
    first, second = part[-1].lower_, lexicon.singular(token.nbor().lower_)
    known = lexicon.known_words("noun")
    return (
        first in known
        and (second in usual_nouns() or second in object_words())
        and not {f"{first}{second}", f"{first}-{second}"} & known
        and (first, second) not in set_phrases()
    )


def _is_verb_between(token: Token, root: int, lexicon: Lexicon) -> bool:
    """Whether what looks like a plural is the verb behind a noun: "man | repairs | roof", "runner | crosses | line"."""
    word, before = token.lower_, token.nbor(-1) if token.i else None
    if before is None or before.tag_ not in ("NN", "NNP") or not lexicon.is_verb_form(word):
        return False
    if token.i != root:  # a plural before a noun is rare: "sports ball"
        return word not in usual_nouns() and (before.lower_, lexicon.singular(word)) not in set_phrases()
    usual = word in usual_nouns() or lexicon.singular(word) in object_words()
    return not usual and before.lower_ in usual_nouns() and lexicon.lemma_of(word, "VERB") in usual_verbs()
