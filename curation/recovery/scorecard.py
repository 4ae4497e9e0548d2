"""Scores of a curated folder against truth: its ranking beside three references, on the same pairs.

The references: "most frequent" gives each pair the most frequent concepts of the corpus that its
caption lacks, at least as many as its archive has. "random order" is the mean over shuffles of the
concepts that the archive keeps. "caption alone" ranks the caption's own concepts as they stand in
it: its recall is what is left of 0 by definition, and its precision tells how often an object that
people name is in the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation.concepts.languages import ENGLISH, usual_pipelines
from curation.concepts.lemmas import lexicon_of
from curation.concepts.noun_phrases import NounOptions
from curation.curated.tables import ARCHIVES, LATER
from curation.recovery.curve import CurvePoint, precision_by_recall
from curation.recovery.measures import KS, Figure, Scores, count_pairs, count_shuffled, most_frequent, summarise
from curation.recovery.naming import Phrases, named_by_concepts, named_in_texts, phrases_of
from curation.recovery.tag_ranking import read_tag_ranking
from curation.recovery.truth import Truth, read_synonyms, read_truth, some
from curation.runs.manifest import read_manifest
from files.errors import CocuError, MisuseError

CURATED = "curated"
NAMED_BY = ("either", "concepts", "words")
_AGAIN = "run `cocu curate run` into a new folder"


@dataclass(frozen=True)
class Scorecard:
    """What `cocu curate score` reports.

    scores: by ranking: "curated", the folder's own, then the references.
    objects: names, in the order of the per-object arrays of the scores.
    gaps_by: number of gap objects when the caption is searched only by its concepts, only by its
    words, or by either.
    notes: what a person should know about the data, such as truth of no pair.
    curve: claims of new objects, the surest first; empty where the folder's tables tell no confidence.
    """

    scores: dict[str, Scores]
    objects: tuple[str, ...]
    min_area: float
    named_by: str
    gaps_by: dict[str, int]
    notes: tuple[str, ...]
    curve: tuple[CurvePoint, ...] = ()

    def __repr__(self) -> str:
        found = self.scores[CURATED]
        right, recall = (
            ", ".join(f"@{k} {one.value:.1%}" for k, one in zip(found.ks, figures, strict=True))
            for figures in (found.precision_new, found.recall)
        )
        return (
            f"<score of {found.pairs:,} pairs: of {found.gaps:,} unsaid objects recovered {recall}; "
            f"of the new ones that it claims right {right}>"
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values for a JSON document; a figure without a value is null."""
        return {
            "min_area": self.min_area,
            "named_by": self.named_by,
            "pairs": self.scores[CURATED].pairs,
            "pairs_with_gaps": self.scores[CURATED].pairs_with_gaps,
            "gaps": self.scores[CURATED].gaps,
            "gaps_by": self.gaps_by,
            "notes": list(self.notes),
            "scores": {name: _as_json(scores) for name, scores in self.scores.items()},
            "curve": [asdict(point) for point in self.curve],
            "objects": self.object_rows(),
        }

    def object_rows(self) -> list[dict[str, Any]]:
        """The curated ranking object by object, where there is a gap or a false alarm.

        Keys: object, gaps, recovered@k, false_alarms@k; most gaps first, then most false alarms.
        """
        scores = self.scores[CURATED]
        counts = np.stack([scores.object_gaps, scores.object_recovered, scores.object_false_alarms], axis=1).astype(int)
        keys = ("gaps", f"recovered@{scores.object_k}", f"false_alarms@{scores.object_k}")
        rows = sorted(
            zip(self.objects, counts.tolist(), strict=True),
            key=lambda row: (-row[1][0], -row[1][2], row[0]),
        )
        return [{"object": name, **dict(zip(keys, row, strict=True))} for name, row in rows if row[0] or row[2]]


def score_folder(
    curated: str | Path,
    truth: str | Path,
    synonyms: str | Path,
    *,
    min_area: float = 0.01,
    ks: Sequence[int] = KS,
    named_by: str = "either",
    seed: int = 0,
    normal: Callable[[str], str] | None = None,
    against: str | Path | None = None,
    surest: str = "confidence",
    spacy_pipeline: str | None = None,
) -> Scorecard:
    """Score a CURATED folder.

    Of its pairs, those count that the truth speaks of. A gap object covers at least min_area of the
    picture and is named neither by a concept of the caption nor by the caption's words: the words
    catch what the parser takes for something else, such as the tie of "a man in a shirt and tie
    motioning". named_by="concepts" or "words" looks at one of them only.
    normal: puts a word into the form of a concept; by default as the curation's language has it, by its pipeline or
    spacy_pipeline. against: a table of another
    model's tags, scored on the same pairs under its file's name. surest: column of the archives that orders the
    curve's claims.

    Raises MisuseError for bad arguments and truth of other pairs, CocuError for tables that
    cannot be read or do not fit together.
    """
    if not 0 <= min_area <= 1:
        raise MisuseError(f"--min-area {min_area}: give a share of the picture, 0 to 1")
    if not ks or min(ks) < 1:
        raise MisuseError(f"--top {','.join(map(str, ks))}: give numbers from 1, such as 1,3,5,8,16")
    if named_by not in NAMED_BY:
        raise MisuseError(f"--named-by {named_by}: give one of {', '.join(NAMED_BY)}")
    folder = Path(curated)
    made = read_manifest(folder, "curated")["parameters"]
    keep = made.get("keep", 0)
    facts = read_truth(truth)
    words = read_synonyms(synonyms)
    notes = list(facts.notes)
    if keep and (deeper := [str(k) for k in sorted(set(ks)) if k >= keep]):
        notes.append(
            f"the run kept {keep} concepts of a pair, its caption's among them: figures at {' and '.join(deeper)} are "
            "of fewer recovered ones; curate with more --keep for them"
        )
    if alone := [name for name in facts.objects if name not in words]:
        notes.append(f"{len(alone)} objects without synonyms go by their own name: {some(alone)}")
    normal = normal or _normal_form(folder, made, spacy_pipeline)
    phrases = phrases_of(words | {name: (name,) for name in alone}, normal)
    if phrases.disputed:
        listed = [f"{phrase} ({', '.join(names)})" for phrase, names in phrases.disputed.items()]
        notes.append(f"{len(listed)} phrases stand for several objects, the first is taken: {some(listed)}")

    pairs, area = _pairs_with_truth(folder, facts, phrases, notes)
    caption_pair, caption_object, named = _named_by_captions(pairs, area.shape, phrases)
    large = area >= min_area  # false for NaN, an object that is not in the picture
    ground: dict[str, Any] = {
        "gaps": large & ~named[named_by],
        "present": ~np.isnan(area),
        "present_strict": large,
        "captioned": named[named_by],
        "ks": tuple(sorted(set(ks))),
    }

    counts, names_object, ids = _concepts(folder, phrases)
    pair, concept, own, confidence = _archives(folder, pairs["key"], ids, surest)
    depths = np.maximum(np.bincount(pair[~own], minlength=len(area)), max(ks))
    frequent = most_frequent(counts, pair[own], concept[own], depths)
    ranking: dict[str, Any] = {"names_object": names_object, **ground}
    counted = {
        CURATED: count_pairs(pair, concept, recovered=~own, **ranking),
        "most frequent": count_pairs(*frequent, **ranking),
        "random order": count_shuffled(pair, concept, recovered=~own, seed=seed, **ranking),
        "caption alone": count_pairs(caption_pair, np.arange(len(caption_pair)), names_object=caption_object, **ground),
    }
    if against is not None:
        tags = read_tag_ranking(Path(against), pairs, phrases, notes)
        counted[Path(against).name] = count_pairs(*tags[:2], recovered=tags[2], names_object=tags[3], **ground)
    return Scorecard(
        scores=dict(zip(counted, summarise(list(counted.values()), seed=seed), strict=True)),
        objects=phrases.objects,
        min_area=min_area,
        named_by=named_by,
        gaps_by={way: int((large & ~by).sum()) for way, by in named.items()},
        notes=tuple(notes),
        curve=tuple(
            precision_by_recall(
                pair[~own],
                names_object[concept[~own]],
                confidence[~own],
                gaps=ground["gaps"],
                present=ground["present"],
                captioned=ground["captioned"],
            )
        ),
    )


def _normal_form(folder: Path, made: Mapping[str, Any], pipeline: str | None) -> Callable[[str], str] | None:
    """Of the language of a curation that was made so; None: English, by the pipeline that is installed."""
    language = made.get("index_noun_language", ENGLISH)
    if language == ENGLISH and pipeline is None:
        return None
    named = pipeline or made.get("index_noun_pipeline", "auto")
    if pipeline is None and named not in ("auto", *usual_pipelines()):
        raise MisuseError(
            f"{folder}: its captions were read by the spaCy pipeline {named}, which a folder that came from elsewhere "
            "may name, too; where you trust that pipeline, name it by --spacy-pipeline"
        )
    return lexicon_of(NounOptions(named, language=language)).normal_form


def _pairs_with_truth(
    folder: Path, facts: Truth, phrases: Phrases, notes: list[str]
) -> tuple[Any, NDArray[np.float32]]:
    """Pairs that the truth speaks of (key, caption, caption_concepts); areas [pairs, objects]."""
    table = _read(folder, "pairs", ["key", "caption", "caption_concepts"])
    row = pc.index_in(table["key"], value_set=pa.array(facts.keys, table["key"].type))
    known = pc.is_valid(row)
    rows = row.filter(known).to_numpy()
    if not len(rows):
        raise MisuseError(
            f"--truth: none of its {len(facts.keys)} keys is among the {len(table)} pairs of "
            f"{folder} (truth: {some(facts.keys, 2)}; "
            f"pairs: {some(table['key'][:3].to_pylist(), 2)})"
        )
    matched = np.bincount(rows, minlength=len(facts.keys))
    if repeated := [facts.keys[i] for i in np.flatnonzero(matched > 1)]:
        raise MisuseError(f"--truth: {len(repeated)} keys stand for several pairs of {folder} ({some(repeated)})")
    if unmatched := [facts.keys[i] for i in np.flatnonzero(matched == 0)]:
        notes.append(f"{len(unmatched)} of {len(facts.keys)} truth keys match no pair: {some(unmatched)}")
    if left := len(table) - len(rows):
        notes.append(f"{left} of {len(table)} pairs have no truth and are left out")
    area = np.full((len(rows), len(phrases.objects)), np.nan, dtype=np.float32)
    place = {name: index for index, name in enumerate(phrases.objects)}
    area[:, [place[name] for name in facts.objects]] = facts.area[rows]
    return table.filter(known), area


def _named_by_captions(
    pairs: Any, shape: tuple[int, ...], phrases: Phrases
) -> tuple[NDArray[np.int64], NDArray[np.int32], dict[str, NDArray[np.bool_]]]:
    """What the captions name.

    Returns the captions' concepts as rows of (pair, object or -1), and for each way of looking the
    objects named, bool [pairs, objects].
    """
    lists = pairs["caption_concepts"].combine_chunks()
    concepts = pc.list_flatten(lists).dictionary_encode()
    codes = concepts.indices.to_numpy(zero_copy_only=False)
    named = named_by_concepts(concepts.dictionary, phrases)[codes]
    owner = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    by_concepts, by_words = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    by_concepts[owner[named >= 0], named[named >= 0]] = True
    by_words[named_in_texts(pairs["caption"], phrases)] = True
    ways = {"either": by_concepts | by_words, "concepts": by_concepts, "words": by_words}
    return owner, named, ways


def _concepts(folder: Path, phrases: Phrases) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """Corpus frequency and named object of each concept, sorted by id; and the ids."""
    path = folder / "tables" / "concepts.parquet"
    table = _table(path, ["concept_id", "concept", "count"]).sort_by("concept_id")
    ids = table["concept_id"].to_numpy().astype(np.int64)
    counts = table["count"].to_numpy().astype(np.int64)
    return counts, named_by_concepts(table["concept"], phrases), ids


def _archives(
    folder: Path, keys: Any, ids: NDArray[np.int64], surest: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.float64]]:
    """Archive rows of the pairs `keys`, best first: (pair, concept's place in ids, in_caption, `surest`)."""
    keys = keys.combine_chunks()
    table = _read(folder, "archives", ["key", "rank", "concept_id", "in_caption", surest], keys)
    pair = pc.index_in(table["key"], value_set=keys).to_numpy().astype(np.int64)
    concept_id = table["concept_id"].to_numpy()
    if unknown := int((~np.isin(concept_id, ids)).sum()):
        raise CocuError(
            f"{folder}/tables: {unknown} archive rows are of concepts that concepts.parquet lacks, "
            f"as if the tables were of two runs; {_AGAIN}"
        )
    order = np.lexsort((table["rank"].to_numpy(), pair))
    concept = np.searchsorted(ids, concept_id)
    confidence = pc.fill_null(table[surest].cast(pa.float64()), math.nan).to_numpy()
    return pair[order], concept[order], table["in_caption"].to_numpy()[order], confidence[order]


def _read(folder: Path, name: str, columns: list[str], keys: Any = None) -> Any:
    """Columns of all shards of a table; with keys, only the rows of these pairs."""
    files = sorted((folder / "tables" / name).glob("*.parquet"))
    if not files:
        raise CocuError(f"{folder}/tables/{name}: holds no table; {_AGAIN}")
    tables = []
    for file in files:
        table = _table(file, columns)
        tables.append(table if keys is None else table.filter(pc.is_in(table["key"], value_set=keys)))
    return pa.concat_tables(tables)


def _table(path: Path, columns: list[str]) -> Any:
    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in columns if name not in file.schema_arrow.names and name not in LATER]
            if not missing:
                table = file.read(columns=columns)
                for name in set(columns).difference(table.column_names):
                    table = table.append_column(ARCHIVES.field(name), pa.nulls(len(table), ARCHIVES.field(name).type))
                return table
    except (pa.ArrowException, OSError) as error:
        raise CocuError(f"{path}: cannot be read ({error}); {_AGAIN}") from error
    raise CocuError(f"{path}: has no column {', '.join(missing)}; {_AGAIN}")


def _as_json(scores: Scores) -> dict[str, Any]:
    def by_k(figures: tuple[Figure, ...]) -> dict[str, Any]:
        return {str(k): _figure(figure) for k, figure in zip(scores.ks, figures, strict=True)}

    return {
        "precision_new": by_k(scores.precision_new),
        "recall": by_k(scores.recall),
        "precision": by_k(scores.precision),
        "precision_strict": by_k(scores.precision_strict),
        "mean_average_precision": _figure(scores.mean_average_precision),
    }


def _figure(figure: Figure) -> dict[str, float | None]:
    values = {"value": figure.value, "low": figure.low, "high": figure.high}
    return {name: None if math.isnan(value) else value for name, value in values.items()}
