"""What retrieval needs to know of every indexed caption, as memory-mapped arrays: `INDEX/rows/*.npy`.

A row is a caption. Rows of pairs come first, in shard order, so that row i of the image index is row i of the caption
index; captions without pictures follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from curation.index.array_files import ArrayWriter
from curation.index.identity import SKETCH_WORDS, picture_hashes, sketches, text_hashes
from curation.index.vocabulary import Vocabulary
from curation.runs.parquet_parts import arrow_to_vectors, check_finite, parquet_batches, reading
from files.npy import load_npy

BATCH = 8192
COLUMNS = ("key", "caption", "image", "concepts", "text_vec", "image_vec")
OWN_COLUMNS = COLUMNS[0], COLUMNS[1], COLUMNS[3]  # of pairs whose rows hold the others
_KINDS: dict[str, tuple[type[np.generic], int]] = {
    **{"text_hash": (np.uint64, 1), "image_hash": (np.uint64, 1), "sketch": (np.uint64, 2), "offsets": (np.int64, 1)},
    **{"concept_ids": (np.int32, 1), "similarity": (np.float32, 1)},
    **{"image_vectors": (np.float16, 2), "text_vectors": (np.float16, 2)},
}


@dataclass(frozen=True)
class CaptionRows:
    """Arrays over the N indexed captions.

    offsets int64 [N+1], concept_ids int32 [nnz]: the concepts that each caption names, as CSR.
    similarity float32 [nnz]: t(c)·v(y) for each of them, t(c)·u(y) with its text vector where it has no picture.
    text_hash, image_hash uint64 [N], sketch uint64 [N, .]: of the caption's words, of its picture's name (0: unknown),
    and of its letters (identity.py); they tell an anchor's own captions. sketch None: of an index made without.
    image_vectors float16 [M, D], text_vectors float16 [N, D]: unit vectors, M <= N.
    sources int64 [S]: first rows of the sources of the pairs, each a tar or a whole table; a name is a picture's in one
    of them.
    """

    offsets: np.ndarray
    concept_ids: np.ndarray
    similarity: np.ndarray
    text_hash: np.ndarray
    image_hash: np.ndarray
    image_vectors: np.ndarray
    text_vectors: np.ndarray
    sketch: np.ndarray | None = None
    sources: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))

    def __len__(self) -> int:
        return len(self.text_hash)

    @property
    def images(self) -> int:
        """Number of rows with a picture: the first so many."""
        return len(self.image_vectors)

    @property
    def dim(self) -> int:
        """Of the vectors."""
        return int(self.text_vectors.shape[1])

    def check(self, folder: Path, vocabulary: Vocabulary) -> None:
        """Raises CocuError where the arrays of a folder do not go together, or name other concepts."""
        named, ends = len(self.concept_ids), self.offsets
        with reading(folder / "offsets.npy"):
            if len(ends) != len(self) + 1 or ends[0] != 0 or ends[-1] != named or (ends[1:] < ends[:-1]).any():
                raise ValueError(f"it does not cut {named:,} concepts among {len(self):,} captions")
        with reading(folder / "concept_ids.npy"):
            if named and not (self.concept_ids.min() >= 0 and self.concept_ids.max() < len(vocabulary)):
                raise ValueError(f"it names others than the {len(vocabulary):,} concepts")
        with reading(folder / "similarity.npy"):
            if named and not (self.similarity.max() < 1.1 and self.similarity.min() > -1.1):  # nor what is no number
                raise ValueError("it holds what is no cosine")
        dim = vocabulary.vectors.shape[1]
        for name, array, shape in (
            ("similarity", self.similarity, (named,)),
            ("image_hash", self.image_hash, (len(self),)),
            ("sketch", self.sketch, (len(self), SKETCH_WORDS)),
            ("text_vectors", self.text_vectors, (len(self), dim)),
            ("image_vectors", self.image_vectors, (min(self.images, len(self)), dim)),
        ):
            with reading(folder / f"{name}.npy"):
                if array is not None and array.shape != shape:
                    raise ValueError(f"it is {list(array.shape)}, beside {len(self):,} captions")

    def check_vectors(self, folder: Path) -> None:
        """Raises CocuError where a vector holds what is no number. Reads all of them, which opening does not."""
        for name, vectors in (("text_vectors", self.text_vectors), ("image_vectors", self.image_vectors)):
            with reading(folder / f"{name}.npy"):
                check_finite(vectors)

    @cached_property
    def by_text(self) -> tuple[np.ndarray, np.ndarray]:
        """Text hashes uint64 [N] in ascending order, and their rows."""
        order = np.argsort(self.text_hash, kind="stable")
        return self.text_hash[order], order

    def source_of(self, pairs: np.ndarray) -> np.ndarray:
        """Number of the source of rows of pairs; -1 of those before all."""
        return np.searchsorted(self.sources, pairs, "right") - 1


def concept_ids_of(lists: pa.Array, vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """Lists of concept names -> (ids int32 [nnz], count per list int64 [N]); names outside the vocabulary fall away."""
    ids = vocabulary.ids_of(lists.flatten())
    known = ids.is_valid().to_numpy(zero_copy_only=False)
    lengths = np.diff(lists.offsets.to_numpy())
    owner = np.repeat(np.arange(len(lists)), lengths)
    kept = ids.fill_null(0).to_numpy(zero_copy_only=False)[known].astype(np.int32)
    return kept, np.bincount(owner[known], minlength=len(lists))


def pair_similarity(left: np.ndarray, i: np.ndarray, right: np.ndarray, j: np.ndarray) -> np.ndarray:
    """left[i]·right[j] in float32 for vectors [., D] and index arrays i, j of equal length P. Returns [P].

    Without copies of the rows that i and j name, which would cost more than the products.
    """
    import faiss

    left, right = (np.ascontiguousarray(vectors, np.float32) for vectors in (left, right))
    i, j = (np.ascontiguousarray(index, np.int64) for index in (i, j))
    for index, vectors in ((i, left), (j, right)):  # FAISS would read outside of the array
        if len(index) and not (index.min() >= 0 and index.max() < len(vectors)):
            raise IndexError(f"rows {index.min()} to {index.max()} of an array of {len(vectors)}")
    found = np.empty(len(i), np.float32)
    pointers = [faiss.swig_ptr(array) for array in (left, i, right, j, found)]
    faiss.pairwise_indexed_inner_product(left.shape[1], len(i), *pointers)  # type: ignore[attr-defined]
    return found


def write_rows(folder: Path, files: Sequence[Path], images: int, vocabulary: Vocabulary) -> int:
    """Write the arrays from embeddings files (pairs first); returns the number of rows. Memory is one batch's.

    offsets.npy appears last: where it is, the others are whole.
    """
    dim = vocabulary.vectors.shape[1]
    total = named = 0
    with (
        ArrayWriter(folder / "offsets.npy", np.int64) as offsets,
        ArrayWriter(folder / "concept_ids.npy", np.int32) as concept_ids,
        ArrayWriter(folder / "similarity.npy", np.float32) as similarities,
        ArrayWriter(folder / "text_hash.npy", np.uint64) as text_hash,
        ArrayWriter(folder / "image_hash.npy", np.uint64) as image_hash,
        ArrayWriter(folder / "sketch.npy", np.uint64, (SKETCH_WORDS,)) as sketch,
        ArrayWriter(folder / "image_vectors.npy", np.float16, (dim,)) as image_vectors,
        ArrayWriter(folder / "text_vectors.npy", np.float16, (dim,)) as text_vectors,
    ):
        offsets.write(np.zeros(1))
        for path in files:
            for batch in parquet_batches(path, BATCH):
                shown = arrow_to_vectors(batch["text_vec"])
                text_vectors.write(shown)
                captions = batch["caption"].to_pylist()
                text_hash.write(text_hashes(captions))
                sketch.write(sketches(captions))
                image_hash.write(picture_hashes(batch["image"].to_pylist()))
                ids, lengths = concept_ids_of(batch["concepts"], vocabulary)
                if total < images:
                    shown = arrow_to_vectors(batch["image_vec"])
                    image_vectors.write(shown)
                owner = np.repeat(np.arange(len(batch)), lengths)
                concept_ids.write(ids)
                similarities.write(pair_similarity(vocabulary.vectors, ids, shown, owner))
                offsets.write(named + np.cumsum(lengths))
                total, named = total + len(batch), named + len(ids)
    return total


def read_rows(folder: Path) -> CaptionRows:
    """The arrays of an INDEX, memory-mapped: processes that have it open share them."""
    read_in_part = ("text_hash", "image_hash", "image_vectors", "text_vectors", "sketch")
    arrays = {}
    for name, (kind, axes) in _KINDS.items():
        if name == "sketch" and not (folder / "sketch.npy").exists():  # of an index made without
            continue
        with reading(folder / f"{name}.npy"):
            array = load_npy(folder / f"{name}.npy", mmap_mode="r")
            if (array.dtype, array.ndim) != (kind, axes) or not array.flags.c_contiguous:
                raise ValueError(f"{array.dtype} {list(array.shape)} is not what it holds")
            arrays[name] = array if name in read_in_part else np.asarray(array)  # which is quicker in small pieces
    return CaptionRows(**arrays)
