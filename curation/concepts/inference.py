"""spaCy's models run faster, with the same answers.

A word's vector without its context is made once and kept, as captions are made of few words. The search of a parse is
stepped from here, over all captions of a batch: spaCy's own loop lets go of the interpreter's lock and takes it back in
every step of every caption, which costs more than the step. Both change no bit.

Products of matrices come from NumPy where it has been told to use one thread: spaCy's BLIS has no fast ones for many
processors. Their last digits depend on what else stands in the batch, BLIS's do not. So where an answer is close,
about once in a thousand captions, spaCy's own products decide.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from spacy.language import Language
    from spacy.tokens import Doc

# Vectors of 96 numbers: with their keys under 30 MB. So many are forgotten at once, and made anew when met again.
MOST_WORDS = 50_000
# Scores nearer than this are not told apart; those of NumPy and of BLIS differ by 0.00002 at most, of up to 43.
CLOSE = 1e-3
# NumPy's BLAS reads how many threads it may have when it is loaded, the first of these that is there.
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")


def one_thread() -> None:
    """Give NumPy one thread in this process, one of several that compute; without effect where it is loaded already."""
    if "numpy" not in sys.modules:
        os.environ[_THREADS[0]] = "1"


class Models:
    """The components of a pipeline, but for those left out, that run over documents one after the other."""

    def __init__(self, nlp: Language, leave_out: frozenset[str]) -> None:
        keep_word_vectors(nlp)
        self._nlp = nlp
        names = [name for name in nlp.pipe_names if name not in leave_out]
        self._components: list[Any] = [nlp.get_pipe(name) for name in names]
        known = [nlp.get_pipe_meta(name).factory for name in names] == ["tok2vec", "tagger", "parser"]
        single = next((os.environ[name] for name in _THREADS if name in os.environ), "") == "1"
        self._sped = [layer for one in self._components for layer in one.model.walk()] if known and single else []

    def run(self, docs: list[Doc], batch_size: int) -> list[Doc]:
        """The documents with what the components say of them, or others of the same text in their places."""
        if not self._sped or not any(map(len, docs)):
            return self._run_closely(docs, batch_size)
        vectors, tagger, parser = self._components
        with _numpys_products(self._sped):
            docs = list(vectors.pipe(docs, batch_size=batch_size))
            close = _tag(tagger, docs) | _parse(parser, docs, batch_size)
        again = self._run_closely([self._nlp.make_doc(docs[i].text) for i in sorted(close)], batch_size)
        for i, doc in zip(sorted(close), again, strict=True):
            docs[i] = doc
        return docs

    def _run_closely(self, docs: list[Doc], batch_size: int) -> list[Doc]:
        for component in self._components:
            docs = run_component(component, docs, batch_size)
        return docs


def run_component(component: Any, docs: list[Doc], batch_size: int) -> list[Doc]:
    """The documents, as `component.pipe` gives them."""
    if not hasattr(component, "transition_states") or component.cfg["beam_width"] != 1:
        return list(component.pipe(docs, batch_size=batch_size))
    _parse(component, docs, batch_size)
    return docs


def _parse(parser: Any, docs: Sequence[Doc], batch_size: int) -> set[int]:
    """Parse documents by greedy search: in every step, the best action of each that is not done.

    Returns where the best and the second were close.
    """
    by_length = sorted((i for i, doc in enumerate(docs) if len(doc)), key=lambda i: len(docs[i]))
    close: set[int] = set()
    for first in range(0, len(by_length), batch_size):
        places = by_length[first : first + batch_size]
        some = [docs[i] for i in places]
        states = parser.moves.init_batch(some)
        model = parser.model.predict(some)
        unfinished = {id(state): i for i, state in zip(places, states, strict=True)}
        going = [state for state in states if not state.is_final()]
        while going:
            scores = model.predict(going)
            close.update(unfinished[id(going[row])] for row in _close(scores))
            going = parser.transition_states(going, scores)
        model.clear_memory()
        parser.set_annotations(some, states)
    return close


def _tag(tagger: Any, docs: Sequence[Doc]) -> set[int]:
    """Tag documents. Returns where the best tag and the second were close."""
    import numpy as np

    scores = tagger.model.predict(docs)
    tagger.set_annotations(docs, [one.argmax(axis=1) for one in scores])
    owners = np.repeat(np.arange(len(docs)), [len(doc) for doc in docs])
    return set(owners[_close(np.concatenate(scores))].tolist())


def _close(scores: np.ndarray) -> list[int]:
    """Rows whose two highest scores are close."""
    near = (scores > scores.max(axis=1, keepdims=True) - CLOSE).sum(axis=1) > 1
    return near.nonzero()[0].tolist()


@contextmanager
def _numpys_products(layers: Sequence[Any]) -> Iterator[None]:
    from thinc.api import NumpyOps

    own, numpys = [layer.ops for layer in layers], NumpyOps(use_blis=False)
    for layer in layers:
        layer.ops = numpys
    try:
        yield
    finally:
        for layer, ops in zip(layers, own, strict=True):
            layer.ops = ops


def keep_word_vectors(nlp: Language) -> None:
    """Let the pipeline's models keep the vectors of words, where these depend on the words alone."""
    models = [component.model for _, component in nlp.pipeline if hasattr(component, "model")]
    for layer in [layer for model in models for layer in model.walk() if layer.has_ref("embed")]:
        embed = layer.get_ref("embed")
        if embed in layer.layers and embed.layers and embed.layers[0].name == "extract_features":
            layer.layers[layer.layers.index(embed)] = _kept(embed)


def _kept(embed: Any) -> Any:
    """A model as `embed`, which makes vectors from features of single words; for inference alone."""
    from thinc.api import Model, chain

    columns, known = embed.layers[0].attrs["columns"], KeptRows(chain(*embed.layers[1:]).predict)

    def forward(model: Any, docs: Sequence[Doc], is_train: bool) -> tuple[list[np.ndarray], Callable[..., Any]]:
        return known.vectors(
            [doc.to_array(columns).reshape(len(doc), len(columns)) for doc in docs]
        ), lambda gradients: []

    return Model("kept_word_vectors", forward)


class KeptRows:
    """Vectors by rows of features, each made once by `make` (lists of rows -> lists of vectors)."""

    def __init__(self, make: Callable[[list[np.ndarray]], list[np.ndarray]], most: int = MOST_WORDS) -> None:
        self._make, self._most = make, most
        self._places: dict[bytes, int] = {}
        self._vectors: Any = None

    def vectors(self, rows: list[np.ndarray]) -> list[np.ndarray]:
        """A (rows, width) array of float32 for each (rows, features) array of numbers."""
        import numpy as np

        together = np.ascontiguousarray(np.concatenate(rows))
        if len(together) > self._most:
            return self._make(rows)
        if len(self._places) + len(together) > self._most:
            self._places = {}
        keys = together.view(f"V{together.strides[0]}").ravel().tolist()
        places, new = self._places, []
        for row, key in enumerate(keys):
            if key not in places:
                places[key] = len(places)
                new.append(row)
        if new:
            (made,) = self._make([together[new]])
            if self._vectors is None:
                self._vectors = np.empty((self._most, made.shape[1]), made.dtype)
            self._vectors[len(places) - len(new) : len(places)] = made
        found = self._vectors[[places[key] for key in keys]]
        return np.split(found, np.cumsum([len(one) for one in rows])[:-1])
