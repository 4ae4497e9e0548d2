"""`cocu index build`: shards -> embeddings, vocabulary, retrieval arrays and two FAISS indexes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from curation.concepts.extractor import ConceptExtractor
from curation.concepts.languages import language_of
from curation.concepts.lemmas import lexicon_of
from curation.concepts.listed import file_digest, read_vocabulary
from curation.concepts.noun_phrases import NounOptions
from curation.encoding.encoder import PRECISIONS, Encoder, resolve_device, resolve_precision
from curation.encoding.model_names import EncoderSpec, tokenizer_parameters, weights_digest
from curation.index.caption_rows import read_rows, write_rows
from curation.index.embedding import embed_all
from curation.index.encoder_knowledge import encoder_knowledge
from curation.index.faiss_indexes import build_one
from curation.index.given_vectors import GivenVectors, embed_all_given
from curation.index.identity import name_hashes
from curation.index.index_manifest import RECORD, checked_index_manifest
from curation.index.inverted_lists import untrained
from curation.index.list_files import find_lists_of_part, forget_lists, train_lists
from curation.index.neighbours import auto_factory
from curation.index.opened import Index, index_captions, index_nouns
from curation.index.vocabulary import read_vocabulary_table, write_vocabulary
from curation.reading.embeddings import find_parts
from curation.reading.pairs import CaptionOptions
from curation.reading.shards import Shard, distinct
from curation.runs.parquet_parts import reading
from curation.runs.part import ALL, Chosen
from curation.runs.progress import Stopwatch
from curation.runs.run_folder import RunFolder, check_rejects, counts_text
from curation.runs.team import USUAL, Team, WorkingTeam
from curation.runs.trial import trial_here
from data_cards.prompt import PROMPT
from files import machine
from files.errors import CocuError, MisuseError
from files.remote_folders import bring, remove
from files.saying import say

# Of the last steps: other ones may be given until the index is finished, and the embeddings are kept.
LATE_PARAMETERS = ("min_count", "factory", "memory", "min_recall")


@dataclass(frozen=True)
class IndexOptions:
    """What shapes an index. memory: bytes that the two FAISS indexes may take together.

    prompt: the sentence of a concept, {} where it stands; None: the language's. embeddings: a folder of vectors that
    are there already (given_vectors.py). decoder: of pictures (device_decoding.py).
    """

    encoder: EncoderSpec
    captions: CaptionOptions
    nouns: NounOptions
    min_count: int = 2
    vocabulary: str | None = None
    factory: str = "auto"
    memory: int = 0
    min_recall: float = 0.95
    max_rejects: float = 0.10
    prompt: str | None = None
    embeddings: Path | None = None
    decoder: str = "cpu"

    def __post_init__(self) -> None:
        if self.prompt is not None and (self.prompt.count("{}") != 1 or set("{}") & set(self.prompt.replace("{}", ""))):
            raise MisuseError(
                f"--prompt {self.prompt!r}: give a sentence with {{}} where a concept stands, as {PROMPT!r}"
            )

    @property
    def sentence(self) -> str:
        """What a concept is embedded in: the prompt that is given, else the language's."""
        return language_of(self.nouns.language).prompt if self.prompt is None else self.prompt

    def parameters(self, precision: str) -> dict[str, Any]:
        """The manifest's parameters; `precision` is the resolved one."""
        return {
            "model": self.encoder.model,
            "pretrained": self.encoder.pretrained,
            "precision": precision,
            "weights": weights_digest(self.encoder),
            **tokenizer_parameters(self.encoder),
            **self.captions.parameters(),
            **self.nouns.parameters(),
            **({"prompt": self.sentence} if self.sentence != PROMPT else {}),
            **({"decode": self.decoder} if self.decoder != "cpu" else {}),
            "vocabulary": self.vocabulary,
            "vocabulary_digest": file_digest(self.vocabulary) if self.vocabulary else None,
            "min_count": self.min_count,
            "factory": self.factory,
            "memory": self.memory,
            "min_recall": self.min_recall,
        }


def options_of(index: Index, encoder: EncoderSpec) -> IndexOptions:
    """What an index was built with. Raises MisuseError as `index_nouns`."""
    built = index.manifest["parameters"]
    late = {name: built[name] for name in LATE_PARAMETERS if name in built}
    return IndexOptions(encoder, index_captions(index), index_nouns(index), prompt=built.get("prompt"), **late)


def build_index(
    shards: Sequence[Shard],
    extra: Sequence[Shard],
    out: Path,
    options: IndexOptions,
    device: str = "auto",
    batch_size: int = 64,
    workers: int = 4,
    chosen: Chosen = ALL,
    team: Team = USUAL,
) -> dict[str, Any]:
    """Build or go on building the index at `out`; returns its manifest.

    chosen: which of the shards it does; where others are missing then, its manifest is not finished. team: that shares
    them.

    Raises MisuseError for parameters other than those that the folder was begun with, CocuError for a share of
    rejects over the limit (after everything good is written), for a shard that cannot be had (after all others are
    done) and for a recall under `min_recall`.
    """
    given = None
    crew = crew_for(team, device, options.embeddings is not None)
    if options.embeddings:
        given = GivenVectors(options.embeddings, find_parts(options.embeddings), bool(shards), options.captions)
        shards = shards or [part.table for part in given.parts]
    if not shards and not extra:
        raise MisuseError("no pairs: the tables that were named hold no row; name others")
    precision = resolve_precision(options.encoder.precision, crew.device)
    vocabulary = read_vocabulary(options.vocabulary, lexicon_of(options.nouns)) if options.vocabulary else None
    parameters = options.parameters(precision) | ({"embeddings": given.parameters()} if given else {})
    shards, extra = told_apart((shards, extra))
    everything = [*shards, *extra]
    free = {"precision": PRECISIONS} if options.encoder.precision == "auto" else {}
    with RunFolder(
        out, "index", parameters, everything, LATE_PARAMETERS, RECORD, part=chosen.name, free=free
    ) as folder:
        if folder.parameters["precision"] != precision and not folder.was_finished:
            usual, precision = precision, folder.parameters["precision"]
            say(f"{out}: was begun in {precision}, and goes on so; by itself this machine would take {usual}")
        if folder.was_finished:
            checked_index_manifest(out / "manifest.json", folder.manifest)
            say(f"{out}: already finished; nothing to do")
        else:
            mine = chosen.of(folder, everything)
            spec, decoder = replace(options.encoder, precision=precision), "cpu" if crew.gather else options.decoder
            encoder = Encoder(spec, team.here(device), batch_size, workers, decoder=decoder)
            if trial := trial_here():
                trial.dim = encoder.dim
            if options.factory != "auto":
                untrained(options.factory, encoder.dim)  # told before hours of embedding
            with ConceptExtractor(options.nouns, workers) as extractor:
                names = {shard.name for shard in mine}
                here, captions = ([shard for shard in some if shard.name in names] for some in (shards, extra))
                if given and here:
                    embed_all_given(folder, given, here, encoder, extractor, vocabulary)
                pairs = [] if given else here
                embed_all(
                    *(folder, pairs, captions, encoder, extractor, options.captions, vocabulary, crew, options.decoder)
                )
            if chosen.ends_here(folder, mine, everything):
                if chosen.part and chosen.name:
                    find_lists_of_part(folder, chosen.part)
                return folder.manifest
            only_train = chosen.part is not None and chosen.part.trains
            finish_index(folder, shards, extra, encoder, options, given.rows if given else 0, only_train=only_train)
            if only_train:
                return folder.manifest
        check_rejects(folder.manifest["summary"], options.max_rejects, out)
        return folder.manifest


def crew_for(team: Team, device: str, given: bool) -> WorkingTeam:
    """Who embeds; given: the vectors are there already. Raises MisuseError where a team is asked for these."""
    if given and team.said:
        raise MisuseError(f"{team.said}: --embeddings are worked by one process; leave it out")
    return WorkingTeam(resolve_device(device)) if given else team.on(device)


def told_apart(new: Sequence[Sequence[Shard]], taken: Iterable[str] = ()) -> tuple[list[Shard], list[Shard]]:
    """Shards of pairs, and of captions without pictures, by other names where these are taken."""
    names = set(taken)
    pairs = distinct(new[0], names)
    names |= {shard.name for shard in pairs}
    extra = (replace(shard, name=f"extra-{shard.name}") if shard.name in names else shard for shard in new[1])
    return pairs, distinct(extra, names)


def finish_index(
    folder: RunFolder,
    shards: Sequence[Shard],
    extra: Sequence[Shard],
    encoder: Encoder,
    options: IndexOptions,
    given: int = 0,
    grown_from: Index | None = None,
    only_train: bool = False,
    **more: Any,
) -> None:
    """Embeddings -> vocabulary, retrieval arrays, FAISS indexes. Raises CocuError for no pairs, or low recall.

    given: number of embeddings that were there already. grown_from: the index that has the embeddings of shards, and
    FAISS indexes that can be extended. only_train: of the FAISS indexes only what comes before rows are put into lists,
    which parts then do. more: of the manifest.
    """
    out = folder.path
    names = [shard.name for shard in (*shards, *extra)]
    old = dict.fromkeys(grown_from.manifest["order"], grown_from.path) if grown_from else {}
    files = [old.get(name, out) / "embeddings" / f"{name}.parquet" for name in names]
    pairs = sum(folder.records[shard.name]["pairs"] for shard in shards)
    total = sum(folder.records[name]["pairs"] for name in names)
    if total == 0:
        folder.write_rejects()
        raise CocuError(
            f"{out}: no pair could be read; rejects: {counts_text(folder.reject_counts()) or 'none'}"
            f"{folder.first_reject()}; each stands with its reason in {out / 'rejects.parquet'}"
        )
    if folder.overtaken():
        return
    bring(out, but=["state"])
    if grown_from:
        bring(grown_from.path / "embeddings")
    clock = Stopwatch()
    if folder.records.get("@vocabulary", {}).get("min_count") != options.min_count:
        say(f"vocabulary: counting concepts named by at least {options.min_count} captions, and encoding them")
        if folder.done("@vocabulary"):
            remove(out / "rows" / "offsets.npy")
        folder.undo("@vocabulary")
        (out / "rows" / "offsets.npy").unlink(missing_ok=True)  # without it the arrays are written anew
        write_vocabulary(out / "concepts.parquet", files, options.min_count, encoder, options.sentence)
        folder.commit("@vocabulary", {"min_count": options.min_count})
    vocabulary = read_vocabulary_table(out / "concepts.parquet")
    clock.lap("vocabulary")
    if not (out / "rows" / "offsets.npy").exists():
        say(f"rows: {total:,} captions and {len(vocabulary):,} concepts into arrays for retrieval")
        forget_lists(folder)
        write_rows(out / "rows", files, pairs, vocabulary)
    rows = read_rows(out / "rows")
    clock.lap("rows")
    indexes, listed = {}, False
    memory = options.memory or machine.memory() // 2
    for name, vectors in (("images", rows.image_vectors), ("captions", rows.text_vectors)):
        if len(vectors):
            share = int(memory * len(vectors) / (len(rows.image_vectors) + len(rows.text_vectors)))
            factory = options.factory
            factory = auto_factory(len(vectors), vectors.shape[1], share) if factory == "auto" else factory
            if only_train:
                listed |= train_lists(folder, name, vectors, factory)
            else:
                least = options.min_recall
                indexes[name] = build_one(folder, name, vectors, rows, factory, least, share, grown_from)
    if only_train:
        finds = "lists are trained; each part again finds those of its rows, and --part finish comes next"
        say(f"{out}: " + (finds if listed else "its FAISS indexes have no lists to train; --part finish comes next"))
        return
    forget_lists(folder)
    clock.lap("faiss")
    knowledge = encoder_knowledge(rows, vocabulary)
    clock.lap("encoder knowledge")
    seconds: dict[str, float] = {}
    for name in names:
        for part, value in folder.records[name]["seconds"].items():
            seconds[part] = seconds.get(part, 0.0) + value
    summary = {
        "pairs": pairs,
        "extra_captions": total - pairs,
        "concepts": len(vocabulary),
        "cut_captions": sum(folder.records[name]["cut_captions"] for name in names),
        "repeated_keys": repeated_keys(files[: len(shards)]),
        "rejects": folder.reject_counts(),
        **({"embeddings": given, "unused_embeddings": given - pairs} if given else {}),
        **({"encoder_knowledge": asdict(knowledge)} if knowledge else {}),
        "stage_seconds": {part: round(value, 2) for part, value in {**seconds, **clock.seconds}.items()},
    }
    folder.finish(
        summary,
        dim=int(rows.text_vectors.shape[1]),
        fingerprint=grown_from.manifest["fingerprint"] if grown_from else encoder.fingerprint(),
        order=names,
        pair_shards=len(shards),
        indexes=indexes,
        **more,
    )


def repeated_keys(files: Sequence[Path]) -> int:
    """Number of pairs whose key occurs in another shard, too; files: their embeddings."""
    keys = [np.zeros(0, np.uint64)]
    for path in files:
        with reading(path):
            keys.append(name_hashes(pq.read_table(path, columns=["key"])["key"].to_pylist()))
    hashes = np.concatenate(keys)
    return int(len(hashes) - len(np.unique(hashes)))
