"""What retrieval needs to know of every indexed caption, as memory-mapped arrays: `INDEX/rows/*.npy`.

A row is a caption. Rows of pairs come first, in shard order, so that row i of the image index is row i of the caption
index; captions without pictures follow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.embeddings import arrow_to_vectors
from curation.run_folder import atomic
from curation.vocabulary import Vocabulary

BATCH = 8192
_NOT_WORD = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class CaptionRows:
    """Arrays over the N indexed captions.

    offsets int64 [N+1], concept_ids int32 [nnz]: the concepts that each caption names, as CSR.
    similarity float32 [nnz]: t(c)·v(y) for each of them, NaN where the caption has no picture.
    text_hash, image_hash uint64 [N]: of the caption's words and of its picture's name (0: unknown); they tell an
    anchor's own captions.
    image_vectors float16 [M, D], text_vectors float16 [N, D]: unit vectors, M <= N.
    """

    offsets: np.ndarray
    concept_ids: np.ndarray
    similarity: np.ndarray
    text_hash: np.ndarray
    image_hash: np.ndarray
    image_vectors: np.ndarray
    text_vectors: np.ndarray

    def __len__(self) -> int:
        return len(self.text_hash)

    @property
    def images(self) -> int:
        """Number of rows with a picture: the first so many."""
        return len(self.image_vectors)


def text_hashes(captions: Iterable[str]) -> np.ndarray:
    """uint64 hashes of captions; case, spaces and punctuation do not count."""
    return _hashes(_NOT_WORD.sub("", caption.casefold()) for caption in captions)


def name_hashes(names: Iterable[str | None]) -> np.ndarray:
    """uint64 hashes of picture names; 0 for None."""
    return _hashes(name or "" for name in names)


def _hashes(texts: Iterable[str]) -> np.ndarray:
    digests = (blake2b(t.encode(), digest_size=8).digest() if t else bytes(8) for t in texts)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


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
    faiss.pairwise_indexed_inner_product(left.shape[1], len(i), *pointers)
    return found


def write_rows(folder: Path, files: Sequence[Path], images: int, vocabulary: Vocabulary) -> int:
    """Write the arrays from embeddings files (pairs first); returns the number of rows. Memory is one batch's."""
    total = sum(pq.ParquetFile(path).metadata.num_rows for path in files)
    dim = vocabulary.vectors.shape[1]
    counts = np.zeros(total, np.int64)
    ids_path, sims_path = folder / ".concept_ids.tmp", folder / ".similarity.tmp"
    folder.mkdir(parents=True, exist_ok=True)
    with (
        atomic(folder / "image_vectors.npy") as image_path,
        atomic(folder / "text_vectors.npy") as text_path,
        atomic(folder / "hashes.npy") as hash_path,
        ids_path.open("wb") as ids_file,
        sims_path.open("wb") as sims_file,
    ):
        open_memmap = np.lib.format.open_memmap
        image_vectors = open_memmap(image_path, "w+", np.float16, (images, dim)) if images else None
        text_vectors = open_memmap(text_path, "w+", np.float16, (total, dim))
        hashes = open_memmap(hash_path, "w+", np.uint64, (2, total))
        row = 0
        for path in files:
            for batch in pq.ParquetFile(path).iter_batches(BATCH):
                part = slice(row, row + len(batch))
                text_vectors[part] = arrow_to_vectors(batch["text_vec"])
                hashes[0, part] = text_hashes(batch["caption"].to_pylist())
                hashes[1, part] = name_hashes(batch["image"].to_pylist())
                ids, lengths = concept_ids_of(batch["concepts"], vocabulary)
                counts[part] = lengths
                similarity = np.full(len(ids), np.nan, np.float32)
                if row < images and image_vectors is not None:
                    image_vectors[part] = arrow_to_vectors(batch["image_vec"])
                    owner = np.repeat(np.arange(len(batch)), lengths)
                    similarity = pair_similarity(vocabulary.vectors, ids, image_vectors[part], owner)
                ids.tofile(ids_file)
                similarity.tofile(sims_file)
                row += len(batch)
        if image_vectors is None:
            np.save(image_path.open("wb"), np.zeros((0, dim), np.float16))
        else:
            image_vectors.flush()
        text_vectors.flush()
        hashes.flush()
    for raw, dtype in ((ids_path, np.int32), (sims_path, np.float32)):
        with atomic(folder / f"{raw.stem.lstrip('.')}.npy") as temporary, temporary.open("wb") as target:
            np.save(target, np.fromfile(raw, dtype))
        raw.unlink()
    with atomic(folder / "offsets.npy") as temporary, temporary.open("wb") as target:
        np.save(target, np.concatenate([[0], np.cumsum(counts)]))
    return total


def read_rows(folder: Path) -> CaptionRows:
    """The arrays of an INDEX, memory-mapped."""
    load = {
        name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("hashes", "image_vectors", "text_vectors")
    }
    offsets, ids, similarity = (np.load(folder / f"{name}.npy") for name in ("offsets", "concept_ids", "similarity"))
    text_hash, image_hash = load["hashes"]
    return CaptionRows(offsets, ids, similarity, text_hash, image_hash, load["image_vectors"], load["text_vectors"])
