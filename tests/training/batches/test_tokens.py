"""Token ids and identities of texts, against open_clip's own tokenizer."""

import random
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from open_clip import OPENAI_IMAGENET_TEMPLATES
from open_clip.tokenizer import SimpleTokenizer

from tests.examples import examples
from training.batches.tokens import Tokenizer, text_id

OURS = Tokenizer(77)
THEIRS = SimpleTokenizer(context_length=77)
ODD = ["u.s.", "dog's", "rock & roll", "&amp", "x-ray", "café", "don't", "a.", "-a", "t'", "  two  words ", "3d", "é"]
ODD += ["Ünïcode", "tree&", "&lt;b&gt;", "e-mail.", "<start_of_text>", "日本", "it's", "10", "DOG", "â€œquoteâ€\x9d"]


def row(ids: list[int], tokenizer: Tokenizer = OURS) -> np.ndarray:
    out = np.zeros(tokenizer.context_length, np.int64)
    tokenizer.write(out, ids)
    return out


@pytest.mark.parametrize("concept", ["dog", "traffic light", "stop sign", "hot dog stand", *ODD])
def test_prompts_are_those_of_open_clip(concept: str) -> None:
    expected = THEIRS([template(concept) for template in OPENAI_IMAGENET_TEMPLATES]).numpy()
    found = [row(OURS.prompted(concept, i)[0]) for i in range(len(OPENAI_IMAGENET_TEMPLATES))]
    np.testing.assert_array_equal(found, expected)


@examples(300)
@given(st.text(max_size=60) | st.text("abc XYZ'.,-&;<#0 \t\n", max_size=60), st.integers(0, 79))
def test_any_text_gives_the_ids_of_open_clip(text: str, template: int) -> None:
    np.testing.assert_array_equal(row(OURS.caption(text)), THEIRS(text)[0].numpy())
    prompted = THEIRS(OPENAI_IMAGENET_TEMPLATES[template](text))[0].numpy()
    np.testing.assert_array_equal(row(OURS.prompted(text, template)[0]), prompted)


@pytest.mark.parametrize("length", [4, 16, 32])
def test_what_does_not_fit_is_cut_as_open_clip_cuts_it(length: int) -> None:
    text = "a very long caption that goes on and on about a dog on a beach at sunset " * 3
    tokenizer = Tokenizer(length)
    expected = SimpleTokenizer(context_length=length)(text)[0].numpy()
    np.testing.assert_array_equal(row(tokenizer.caption(text), tokenizer), expected)


def test_identity_is_of_kind_and_text_alone() -> None:
    assert OURS.prompted("dog", 3)[1] == OURS.prompted("dog", 40)[1] == text_id("concept", "dog")
    ids = [text_id(kind, text) for kind in ("concept", "caption") for text in ("dog", "cat", "Dog", "")]
    assert len(set(ids)) == len(ids)
    assert all(0 <= i < 2**63 for i in ids)
    assert text_id("concept", "dog") == 4261490096520272199  # the same in every process and version


@pytest.mark.parametrize("sign", ["a", "ab", "é", "-", "日", "&amp;"])
@pytest.mark.parametrize("gap", [" ", ""])
def test_long_texts_and_words_are_read_at_once(sign: str, gap: str) -> None:
    random.seed(0)
    word = "".join(random.choices(sign + "xyzw", k=20_000)) if sign.isascii() and not gap else sign * 20_000
    text = gap.join([word[:5000], word] * 3) + gap + "dog " * 500_000
    began = time.process_time()
    found, concept = row(OURS.caption(text)), row(OURS.prompted(text, 0)[0])
    assert time.process_time() - began < 2
    short = text[:2000]  # enough for the ids that are kept
    assert len(OURS.caption(short)) > 75
    np.testing.assert_array_equal(found, THEIRS(short)[0].numpy())
    np.testing.assert_array_equal(concept, THEIRS(OPENAI_IMAGENET_TEMPLATES[0](short))[0].numpy())
