"""What curation leaves on the disk, as objects to ask: a finished index, and a finished curation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.runs.manifest import read_manifest
from files.errors import check_numbers
from files.remote_folders import local_folder

if TYPE_CHECKING:
    import duckdb

    from curation.curated.balance import Balance
    from curation.encoding.encoder import Encoder
    from curation.encoding.model_names import EncoderSpec
    from curation.index.opened import Index
    from curation.index.search import Neighbour


@dataclass(frozen=True)
class IndexFolder:
    """A finished index on the disk. manifest: how it was made, and its `summary`: counts, rejects, seconds by stage.

    encoder: its model, named by hand; None: as the manifest names it, if the model is built in or in open_clip's list.
    """

    path: Path
    manifest: dict[str, Any]
    encoder: EncoderSpec | None = None

    @classmethod
    def opened(cls, path: Path, encoder: EncoderSpec | None = None) -> IndexFolder:
        """The one in this folder. Raises MisuseError where there is none, or it is not finished."""
        from curation.index.index_manifest import read_index_manifest

        return cls(path, read_index_manifest(path), encoder)

    @property
    def summary(self) -> dict[str, Any]:
        """What `cocu index build` prints at its end."""
        return dict(self.manifest["summary"])

    def search(
        self, query: str | Path, top: int = 10, device: str = "auto", *, k: int | None = None
    ) -> list[Neighbour]:
        """The `top` captions nearest to a text (a str), or to a picture's file (a Path), best first.

        The index and its encoder stay in memory. Raises MisuseError for a picture that cannot be read, and where the
        model of that name is another now, or is named by a path in the manifest only. k: the former name of top.

            [near.caption for near in index.search("a dog on a beach", top=3)]
        """
        from curation.index.search import nearest_captions

        top = top if k is None else k
        check_numbers(1, top=top)
        texts_only = isinstance(query, str)
        encoder = self._encoders.get((device, False)) or self._encoders.get((device, texts_only))
        if encoder is None:
            from curation.index.opened import open_encoder

            encoder = open_encoder(self._opened, device, named=self.encoder, texts_only=texts_only)
            self._encoders[device, texts_only] = encoder
        return nearest_captions(self._opened, encoder, query, top)

    @cached_property
    def _opened(self) -> Index:
        from curation.index.opened import open_index

        return open_index(local_folder(self.path))

    @cached_property
    def _encoders(self) -> dict[tuple[str, bool], Encoder]:
        return {}

    def __repr__(self) -> str:
        summary, made = self.summary, self.manifest["parameters"]
        encoder = " ".join(filter(None, [made["model"], made["pretrained"]]))
        return f"<index {self.path}: {summary['pairs']:,} pairs, {summary['concepts']:,} concepts, {encoder}>"


@dataclass(frozen=True)
class CuratedFolder:
    """A finished curation on the disk. manifest: how it was made, and its `summary`.

    The tables are DuckDB relations, of which nothing is read before it is asked for: `.df()` gives a pandas frame,
    `.to_arrow_table()` an Arrow table, `.filter("rank = 1")` another relation.
    """

    path: Path
    manifest: dict[str, Any]

    @classmethod
    def opened(cls, path: Path) -> CuratedFolder:
        """The one in this folder. Raises MisuseError where there is none, or it is not finished."""
        return cls(path, read_manifest(path, "curated"))

    @property
    def summary(self) -> dict[str, Any]:
        """What `cocu curate run` prints at its end."""
        return dict(self.manifest["summary"])

    @property
    def pairs(self) -> duckdb.DuckDBPyRelation:
        """A row for each pair: key, shard, caption, caption_concepts."""
        return self._connection.table("pairs")

    @property
    def archives(self) -> duckdb.DuckDBPyRelation:
        """A row for each pair and concept: key, shard, rank (1: best), concept, score, support, in_caption and more."""
        return self._connection.table("archives")

    @property
    def concepts(self) -> duckdb.DuckDBPyRelation:
        """A row for each concept: concept_id, concept, count."""
        return self._connection.table("concepts")

    def sql(self, query: str) -> duckdb.DuckDBPyRelation:
        """A reading statement over pairs, archives, concepts and rejects. Raises MisuseError for any other.

        curated.sql("SELECT concept, count(*) AS pairs FROM archives WHERE NOT in_caption GROUP BY concept").df()
        """
        from curation.curated.query import relation

        return relation(self._connection, query)

    def show(self, *keys: str) -> None:
        """Print pairs, what was recovered, too. Raises MisuseError for an unknown key, with those nearest to it."""
        from rich.console import Console

        from curation.report.terminal import show_pairs

        console = Console()
        for panel in show_pairs(local_folder(self.path), keys):
            console.print(panel)

    def balance(
        self,
        out: str | Path,
        *,
        cap: int | None = None,
        tail: float = 0.06,
        concepts: str = "shown",
        subset: bool = False,
        seed: int = 0,
    ) -> Balance:
        """Weigh pairs so that what few pictures show is not drowned; `out` says by its ending what is written.

        out: .parquet, every pair's weight, or with subset the keys drawn; .npy, DataComp's uids; else a folder of
        shards. cap: how many pairs come by a concept; None: from the share `tail` in all mentions. Raises MisuseError
        for arguments that are wrong, CocuError for tables or shards that cannot be read.

            curated.balance("weights.parquet").curve()
        """
        from curation.curated.balanced import balance_curated

        options = (cap, tail, concepts, subset, seed)
        return balance_curated(local_folder(self.path), Path(out), *options)

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        from curation.curated.query import connect

        return connect(local_folder(self.path))

    def __repr__(self) -> str:
        found = self.summary
        return f"<curated {self.path}: {found['pairs']:,} pairs, {found['gained_share']:.1%} gained a concept>"
