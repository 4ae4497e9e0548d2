"""The concepts of a corpus: counted over all captions, cut at a minimum count, each with its vector t(c)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from curation.encoding.encoder import Encoder
from curation.runs.parquet_parts import arrow_to_vectors, check_finite, vectors_to_arrow
from data_cards.prompt import PROMPT
from files.atomic import atomic, unfinished
from files.errors import CocuError


@dataclass(frozen=True)
class Vocabulary:
    """Concepts by id (most frequent first): names [C], counts int64 [C], unit vectors float32 [C, D]."""

    names: pa.StringArray
    counts: np.ndarray
    vectors: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def ids_of(self, concepts: pa.Array) -> pa.Array:
        """Ids (int32, null where unknown) of an Arrow array of names."""
        return pc.index_in(concepts, value_set=self.names)

    @cached_property
    def words(self) -> list[str]:
        """Names as a list."""
        return self.names.to_pylist()


def count_concepts(files: Sequence[Path], min_count: int, memory: str = "1GB") -> pa.Table:
    """Concepts named by at least `min_count` captions, most frequent first: columns concept, count."""
    import duckdb

    # It spills beside the embeddings and not, as is its way, into the current folder.
    spill = str(unfinished(files[0].parent / "counting")) if files else ""
    with duckdb.connect(config={"memory_limit": memory, "temp_directory": spill}) as connection:
        try:
            # Read by Arrow, a few files at a time: DuckDB itself keeps all of them open.
            named = ds.dataset(
                [str(path) for path in files], pa.schema([("concepts", pa.list_(pa.string()))]), "parquet"
            )
            connection.register("named", named)
            return connection.sql(
                "SELECT concept, count(*) AS count FROM (SELECT unnest(concepts) AS concept FROM named) "
                "GROUP BY concept HAVING count(*) >= $least ORDER BY count DESC, concept",
                params={"least": min_count},
            ).to_arrow_table()
        except (duckdb.Error, pa.ArrowException, OSError) as error:  # a broken file, or no room to spill; it says which
            raise CocuError(f"{files[0].parent}: concepts cannot be counted: {error}") from error


def write_vocabulary(path: Path, files: Sequence[Path], min_count: int, encoder: Encoder, prompt: str = PROMPT) -> int:
    """Write concepts.parquet (concept_id, concept, count, text_vec); returns the number of concepts.

    Raises CocuError when no concept is frequent enough.
    """
    counted = count_concepts(files, min_count)
    if counted.num_rows == 0:
        raise CocuError(f"no concept is named by {min_count} captions or more; lower --min-count")
    names = counted["concept"].combine_chunks()
    vectors = encoder.encode_concepts(names.to_pylist(), prompt)
    table = pa.table(
        {
            "concept_id": pa.array(np.arange(len(names), dtype=np.int32)),
            "concept": names.cast(pa.string()),
            "count": counted["count"].cast(pa.int64()),
            "text_vec": vectors_to_arrow(vectors),
        }
    )
    with atomic(path) as temporary:
        pq.write_table(table, temporary)
    return len(names)


def read_vocabulary_table(path: Path) -> Vocabulary:
    """concepts.parquet of an INDEX. Raises ValueError, KeyError or an ArrowException where it is broken."""
    table = pq.read_table(path).combine_chunks()
    table.validate(full=True)  # Arrow does not ask by itself whether text is UTF-8
    names, vectors = (table[name].combine_chunks() for name in ("concept", "text_vec"))
    if (
        not (pa.types.is_string(names.type) and pa.types.is_fixed_size_list(vectors.type))
        or table.column("count").type != pa.int64()
    ):
        raise ValueError(f"its columns are of other types: {table.schema.to_string()}")
    if any(table[name].null_count for name in table.column_names):
        raise ValueError("it holds nulls")
    check_finite(arrow_to_vectors(vectors), "text_vec")
    return Vocabulary(names, table["count"].to_numpy(), arrow_to_vectors(vectors).astype(np.float32))
