"""Words beside a benchmark's classes: frequent concepts of an index that mean none of them.

Read from the index's `concepts.parquet` (columns concept, count), which is all that evaluation knows of an index.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.models.prompts import TextSpace, prompted
from files.errors import CocuError, MisuseError, one_line

CONCEPTS = "concepts.parquet"
LOOKED_AT = 3000  # of a vocabulary, the most frequent: a text each through the model
MOST_LETTERS = 200  # of a concept
RULE = (
    "the most frequent concepts that share no word with a class's names and are, in the model's space of texts, "
    "farther from all of these than the median concept is"
)


@dataclass(frozen=True)
class IndexWords:
    """concepts: the most frequent first, LOOKED_AT of them at the most. path: of the index. total: how many it has."""

    concepts: tuple[str, ...]
    path: Path
    total: int


def read_vocabulary(index: Path) -> IndexWords:
    """The concepts of an index. Raises MisuseError where there is none, CocuError for one that is damaged."""
    path = index / CONCEPTS
    if not path.is_file():
        raise MisuseError(
            f"--vocabulary {index}: holds no {CONCEPTS}; give the --out folder of a `cocu index build` that has ended"
        )
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path, pre_buffer=False).read(columns=["concept", "count"])
        table.validate(full=True)  # Arrow does not ask by itself whether text is UTF-8
        names, counts = table.column("concept"), table.column("count")
        if not (pa.types.is_string(names.type) and pa.types.is_integer(counts.type)):
            raise ValueError(f"concept is {names.type} and count {counts.type}, not string and integer")
        if names.null_count or counts.null_count:
            raise ValueError("it holds nulls")
        if pc.count_distinct(names).as_py() != len(names):
            raise ValueError("a concept occurs twice")
        order = pc.sort_indices(table, [("count", "descending"), ("concept", "ascending")])[:LOOKED_AT]
        found = names.take(order).to_pylist()
    except (ValueError, KeyError, OSError, pa.ArrowException) as error:
        raise CocuError(f"{path}: cannot be read ({one_line(error)}); build the index again") from error
    if not found:
        raise CocuError(f"{path}: holds no concepts; build the index again")
    if faulty := next((one for one in found if not one.strip() or len(one) > MOST_LETTERS), None):
        raise CocuError(f"{path}: the concept {faulty[:40]!r} is empty or longer than {MOST_LETTERS} letters")
    return IndexWords(tuple(found), index, len(names))


def words_apart(space: TextSpace, vocabulary: IndexWords, named: Iterable[str]) -> list[str]:
    """The vocabulary's concepts that are far from all words of `named`, by RULE; the most frequent first."""
    named = list(dict.fromkeys(named))
    taken = {part for word in named for part in _parts(word)}
    others = [word for word in vocabulary.concepts if not _parts(word) & taken]
    if not others:
        return []
    vectors = space.embed_classes([prompted(word, "simple") for word in [*others, *named]])
    nearest = (vectors[: len(others)] @ vectors[len(others) :].mT).amax(dim=1)
    far = nearest < nearest.float().median()
    return [word for word, apart in zip(others, far.tolist(), strict=True) if apart]


def first_words(apart: Sequence[str], count: int, asked: str, vocabulary: IndexWords) -> list[str]:
    """The first so many. Raises MisuseError where there are fewer; asked: the option."""
    if len(apart) < count:
        raise MisuseError(
            f"{asked}: {vocabulary.path} has {len(apart):,} words apart from the classes ({RULE}; looked at are "
            f"{len(vocabulary.concepts):,} of its {vocabulary.total:,} concepts), and {count:,} are asked for; give "
            "fewer, or another --vocabulary"
        )
    return list(apart[:count])


def _parts(text: str) -> set[str]:
    """The words of a text, small, plurals as singulars as far as an s tells."""
    parts = re.findall(r"[^\W_]+", text.lower())
    return {part[:-1] if len(part) > 3 and part.endswith("s") and not part.endswith("ss") else part for part in parts}
