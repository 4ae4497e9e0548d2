"""A FAISS index filled: lists trained once, on a sample; then each row put into the list of its nearest centre.

Which centre is nearest is nearly all of the work, rows x lists x dimensions, and so is found apart, block by block from
the memory-mapped vectors: by any process, on any machine, which leaves four bytes a row. A GPU needs no more memory
than the centres and a block take.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curation.runs.parquet_parts import reading
from files.atomic import atomic
from files.errors import MisuseError
from files.npy import wide_rows

ADD_ROWS = 65_536
WRITE_BYTES = 1 << 20
# FAISS asks for at least 39 training vectors a list.
TRAIN_ROWS_PER_LIST = 48
# Kinds of index to which rows can be added with their lists; by their exact class. Codes of 4 bits that are scanned in
# registers (x4fs) are none of them: FAISS interleaves those of 32 rows, and does so wrongly where lists are merged.
_LISTED = ("IndexIVFFlat", "IndexIVFScalarQuantizer", "IndexIVFPQ")


def build(path: Path, vectors: np.ndarray, factory: str, seed: int = 0) -> None:
    """Train on a sample, add block by block, write atomically. vectors: unit rows float16 [N, D], may be a memmap."""
    index = trained(vectors, factory, seed)
    if is_listed(index):
        fill(index, vectors, [nearest_lists(index, vectors, block) for block in blocks(len(vectors))])
    else:
        for block in blocks(len(vectors)):
            index.add(wide_rows(vectors, block))
    write(index, path)


def blocks(rows: int) -> list[slice]:
    """All rows, in the blocks in which they are put into lists."""
    return [slice(start, min(rows, start + ADD_ROWS)) for start in range(0, rows, ADD_ROWS)]


def trained(vectors: np.ndarray, factory: str, seed: int = 0) -> Any:
    """An empty index, trained on a seeded sample of rows. Raises MisuseError for a factory that cannot be."""
    import faiss

    rows, dim = vectors.shape
    index = untrained(factory, dim)
    if index.is_trained:
        return index
    ivf = ivf_of(index)
    wanted = TRAIN_ROWS_PER_LIST * ivf.nlist if ivf is not None else 65_536
    if ivf is not None:
        ivf.cp.seed, ivf.cp.niter = seed, 8
        if has_gpu():
            on_gpu = faiss.index_cpu_to_all_gpus(faiss.IndexFlatIP(ivf.d))
            ivf.clustering_index = on_gpu
    chosen = np.sort(np.random.default_rng(seed).choice(rows, min(rows, wanted), replace=False))
    sample = wide_rows(vectors, chosen)
    try:
        index.train(sample)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise MisuseError(f"--factory {factory}: cannot be trained on {rows:,} vectors: {reason}") from error
    if ivf is not None:
        ivf.clustering_index = None
    return index


def untrained(factory: str, dim: int) -> Any:
    """An empty index. Raises MisuseError for a factory that cannot be."""
    import faiss

    try:
        return faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise MisuseError(f"--factory {factory}: FAISS refuses it for {dim} dimensions: {reason}") from error


def is_listed(index: Any) -> bool:
    """Whether rows can be added to it with the lists that they go to."""
    return type(index).__name__ in _LISTED


def nearest_lists(index: Any, vectors: np.ndarray, block: slice) -> np.ndarray:
    """The list of each row of a block, int32: of the nearest centre, found on the GPUs where there are some."""
    return _nearest(index, wide_rows(vectors, block))


def _nearest(index: Any, vectors: np.ndarray) -> np.ndarray:
    import faiss

    centres = index.quantizer
    if has_gpu():
        centres = faiss.index_cpu_to_all_gpus(centres)
    return centres.search(vectors, 1)[1][:, 0].astype(np.int32)


def fill(index: Any, vectors: np.ndarray, lists: Sequence[np.ndarray]) -> None:
    """Add all rows, in order, to a trained index that `is_listed`. lists: of the rows of each of the `blocks`."""
    counts = np.zeros(index.nlist, np.int64)
    for one in lists:
        counts += np.bincount(one, minlength=index.nlist)
    for number, count in enumerate(counts.tolist()):
        _reserve(index.invlists, number, count)
    for block, one in zip(blocks(len(vectors)), lists, strict=True):
        _add(index, wide_rows(vectors, block), np.arange(block.start, block.stop, dtype=np.int64), one)


def _add(index: Any, vectors: np.ndarray, rows: np.ndarray, lists: np.ndarray) -> None:
    import faiss

    wide = np.ascontiguousarray(lists, np.int64)
    if len(wide) != len(vectors) or (len(wide) and not (wide.min() >= 0 and wide.max() < index.nlist)):
        raise IndexError(f"lists of {len(wide)} rows among {index.nlist}, for {len(vectors)} rows")
    index.add_core(len(vectors), *(faiss.swig_ptr(array) for array in (vectors, rows, wide)))


def extend(path: Path, before: Path, vectors: np.ndarray, new: Sequence[tuple[int, int]]) -> bool:
    """Write the trained index `before` with new rows added; the others are its own, in their order.

    vectors: of all rows, as in `build`; new: half-open ranges of rows. False, and nothing written, where it has no
    inverted lists, by whose ids rows can move, or keeps more than them.
    """
    import faiss

    fresh = np.concatenate([np.arange(*one) for one in new]).astype(np.int64)
    own = np.delete(np.arange(len(vectors), dtype=np.int64), fresh)
    with reading(before):
        index: Any = faiss.read_index(str(before), faiss.IO_FLAG_MMAP_IFC)
        if ivf_of(index) is None or not isinstance(index, faiss.IndexIVF | faiss.IndexPreTransform):
            return False
        listed = is_listed(index)
        if not listed:
            index = faiss.read_index(str(before))
        lists = ivf_of(index).invlists
        held = [_ids(lists, number) for number in range(lists.nlist)]
        if any(len(ids) and not (ids.min() >= 0 and ids.max() < len(own)) for ids in held):
            raise ValueError(f"it holds others than {len(own):,} rows")
    parts = [fresh[block] for block in blocks(len(fresh))]
    if listed:
        go_to = [_nearest(index, wide_rows(vectors, rows)) for rows in parts]
        counts = sum((np.bincount(one, minlength=index.nlist) for one in go_to), np.zeros(index.nlist, np.int64))
        whole: Any = faiss.ArrayInvertedLists(index.nlist, index.code_size)
        for number, ids in enumerate(held):
            _reserve(whole, number, len(ids) + int(counts[number]))
            if len(ids):
                moved = own[ids]
                whole.add_entries(number, len(ids), faiss.swig_ptr(moved), lists.get_codes(number))
        index.replace_invlists(whole, True)
        whole.this.disown()
        for rows, one in zip(parts, go_to, strict=True):
            _add(index, wide_rows(vectors, rows), rows, one)
    else:
        for ids in held:
            ids[:] = own[ids]
        for rows in parts:
            index.add_with_ids(wide_rows(vectors, rows), rows)
    write(index, path)
    return True


def _ids(lists: Any, number: int) -> np.ndarray:
    import faiss

    size = lists.list_size(number)
    return faiss.rev_swig_ptr(lists.get_ids(number), size) if size else np.zeros(0, np.int64)


def _reserve(lists: Any, number: int, count: int) -> None:
    """Room for so many rows in an empty list: one that grows takes up to twice what it holds."""
    lists.resize(number, count)
    lists.resize(number, 0)


def write(index: Any, path: Path) -> None:
    """Write an index, atomically."""
    import faiss

    # FAISS's own writer passes over an error at the closing of the file, as a full disk gives it.
    with atomic(path) as temporary, temporary.open("wb") as file:
        writer = faiss.PyCallbackIOWriter(file.write, WRITE_BYTES)  # type: ignore[attr-defined]
        faiss.write_index(index, writer)


def ivf_of(index: Any) -> Any:
    """The index with inverted lists inside an index; None where there is none."""
    import faiss

    try:
        return faiss.extract_index_ivf(index)
    except RuntimeError:
        return None


def has_gpu() -> bool:
    """Whether this FAISS has GPUs to work on."""
    import faiss

    return bool(getattr(faiss, "get_num_gpus", int)() > 0)
