"""spaCy's models run as `inference` runs them, against spaCy's own way of running them: the same to the last bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import spacy

from curation.concepts import inference
from curation.concepts.inference import KeptRows, Models, keep_word_vectors, run_component
from curation.concepts.lexicon import resolve_pipeline

CAPTIONS = [
    "A man in a red shirt rides a horse near the Eiffel Tower in Paris.",
    "",
    "dog",
    "two dogs, three cats and a mouse; all of them on one old sofa",
    " ",
    "Barack Obama visits Toyota in Tokyo - photo by Reuters",
    "black and white photo of a T-shirt",
    "A man in a red shirt rides a horse near the Eiffel Tower in Paris.",
    "the horse that the man whose shirt is red rides runs. It stops! Why?",
]


@pytest.mark.parametrize("batch_size", [2, 100])
def test_models_answer_as_spacys_own_run_does(batch_size: int) -> None:
    own, ours = (spacy.load(resolve_pipeline(), exclude=["lemmatizer", "attribute_ruler"]) for _ in range(2))
    keep_word_vectors(ours)
    names = [node.name for _, component in ours.pipeline for node in component.model.walk()]
    assert names.count("kept_word_vectors") == 2  # of the tagger and parser, and of the names
    for _ in range(2):  # with what is kept, too
        expected = list(own.pipe(CAPTIONS))
        docs = [ours.make_doc(caption) for caption in CAPTIONS]
        for _, component in ours.pipeline:
            docs = run_component(component, docs, batch_size)
        assert [doc.text for doc in docs] == CAPTIONS
        for doc, other in zip(docs, expected, strict=True):
            columns = ["TAG", "HEAD", "DEP", "SENT_START", "ENT_IOB", "ENT_TYPE"]
            np.testing.assert_array_equal(doc.to_array(columns), other.to_array(columns))
            if len(doc):
                np.testing.assert_array_equal(doc.tensor, other.tensor)
            assert list(doc.noun_chunks) == [doc[c.start : c.end] for c in other.noun_chunks]
    assert any(doc.ents for doc in docs)


@pytest.mark.parametrize("close", [1e-3, 1e9])
def test_numpys_products_give_the_same_answers(close: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setattr(inference, "CLOSE", close)
    own, ours = (spacy.load(resolve_pipeline(), exclude=["lemmatizer", "attribute_ruler", "ner"]) for _ in range(2))
    models = Models(ours, frozenset())
    expected = list(own.pipe(CAPTIONS))
    docs = models.run([ours.make_doc(caption) for caption in CAPTIONS], 256)
    changed = 0
    for doc, caption, other in zip(docs, CAPTIONS, expected, strict=True):
        assert doc.text == caption
        columns = ["TAG", "HEAD", "DEP", "SENT_START"]
        np.testing.assert_array_equal(doc.to_array(columns), other.to_array(columns))
        if len(doc):
            np.testing.assert_allclose(doc.tensor, other.tensor, atol=1e-4)
            changed += not np.array_equal(doc.tensor, other.tensor)
    # Where all answers are close, all come from spaCy's own products.
    assert (changed == 0) == (close > 1)


def test_numpy_is_taken_with_one_thread_only(monkeypatch: pytest.MonkeyPatch) -> None:
    nlp = spacy.load(resolve_pipeline(), exclude=["lemmatizer", "attribute_ruler", "ner"])
    for openblas, openmp, taken in (("", "1", False), ("1", "8", True), (None, "1", True), (None, None, False)):
        for name, value in (("OPENBLAS_NUM_THREADS", openblas), ("OMP_NUM_THREADS", openmp)):
            monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
        assert bool(Models(nlp, frozenset())._sped) == taken


def test_a_worker_has_one_thread() -> None:
    order = (
        "import os, sys; from curation.concepts import extractor; assert 'numpy' not in sys.modules; "
        "extractor.one_thread(); assert os.environ['OPENBLAS_NUM_THREADS'] == '1'"
    )
    subprocess.run([sys.executable, "-c", order], check=True, cwd=Path(__file__).parents[3])


def test_scores_are_close() -> None:
    scores = np.array([[1.0, 5.0, 4.9995], [5.0, 1.0, 2.0], [2.0, 2.0, 9.0], [3.0, 3.0, 3.0]], np.float32)
    assert inference._close(scores) == [0, 3]


def test_rows_are_made_once_until_too_many_are_kept() -> None:
    asked: list[bytes] = []

    def make(rows: list[np.ndarray]) -> list[np.ndarray]:
        asked.extend(row.tobytes() for one in rows for row in one)
        return [np.stack([one.sum(1), one[:, 0]], axis=1).astype(np.float32) for one in rows]

    kept = KeptRows(make, most=20)
    rng = np.random.default_rng(0)
    for batch in range(30):
        rows = [rng.integers(0, 3, (length, 2)).astype(np.uint64) for length in (3, 0, 5)]
        asked_before = len(asked)
        for one, expected in zip(kept.vectors(rows), make(rows), strict=True):
            np.testing.assert_array_equal(one, expected)
        del asked[-8:]  # the oracle's
        if batch == 0:
            assert len(asked) == len({row.tobytes() for one in rows for row in one})
        assert len(asked) - asked_before <= 8
    assert 9 <= len(asked) < 30 * 8 / 2  # nine rows there are
    many = [np.arange(60, dtype=np.uint64).reshape(30, 2)]  # more at once than are kept
    np.testing.assert_array_equal(kept.vectors(many)[0], make(many)[0])


def test_vectors_that_do_not_depend_on_words_alone_are_not_kept() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe(
        "tok2vec",
        config={
            "model": {
                "@architectures": "spacy.HashEmbedCNN.v2",
                "pretrained_vectors": True,
                "width": 8,
                "depth": 1,
                "embed_size": 10,
                "window_size": 1,
                "maxout_pieces": 2,
                "subword_features": True,
            }
        },
    )
    nlp.add_pipe("sentencizer")
    before = [node.name for node in nlp.get_pipe("tok2vec").model.walk()]
    keep_word_vectors(nlp)
    assert [node.name for node in nlp.get_pipe("tok2vec").model.walk()] == before
