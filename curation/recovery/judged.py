"""What a person's judgements say of a curation: how many of its best recovered concepts the pictures show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from pathlib import Path
from typing import Any

from curation.curated.judgements import JudgedShare, Judgement, read_judgements, share_right
from curation.curated.query import connected
from curation.recovery.measures import KS
from files.errors import MisuseError


@dataclass(frozen=True)
class JudgedScore:
    """Precision by judgement. ks: how deep; drawn, everything: by k, of the pairs that were drawn, and of all.

    unjudged: of the k best recovered concepts of drawn pairs those without a judgement, by k. notes: what was left out.
    """

    ks: tuple[int, ...]
    drawn: tuple[JudgedShare, ...]
    everything: tuple[JudgedShare, ...]
    unjudged: tuple[int, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values; a share without a value is null."""

        def plain(share: JudgedShare) -> dict[str, Any]:
            return {k: None if isinstance(v, float) and isnan(v) else v for k, v in asdict(share).items()}

        return {
            "drawn": {str(k): plain(share) for k, share in zip(self.ks, self.drawn, strict=True)},
            "everything": {str(k): plain(share) for k, share in zip(self.ks, self.everything, strict=True)},
            "unjudged": {str(k): count for k, count in zip(self.ks, self.unjudged, strict=True)},
            "notes": list(self.notes),
        }


def score_judged(curated: Path, judged: Path, ks: Sequence[int] = KS) -> JudgedScore:
    """Score a curated folder by a file of judgements, which may be of another curation of the same pairs.

    Raises MisuseError for a file that holds none of its recovered concepts, CocuError for tables that cannot be read.
    """
    if not ks or min(ks) < 1:
        raise MisuseError(f"--top {','.join(map(str, ks))}: give numbers from 1, such as 1,3,5,8,16")
    ks = tuple(sorted(set(ks)))
    given = read_judgements(judged)
    ranked = recovered_of(curated, [(one.shard, one.key) for one in given])
    verdicts: dict[tuple[str, str], dict[str, Judgement]] = {}
    for one in given:
        verdicts.setdefault((one.shard, one.key), {})[one.concept] = one
    known = sum(one.concept in ranked.get((one.shard, one.key), ()) for one in given)
    if not known:
        raise MisuseError(f"--judged {judged}: none of its {len(given):,} judgements is of a recovered concept there")
    notes = []
    if left := len(given) - known:
        notes.append(f"{left:,} of {len(given):,} judgements are of concepts that {curated} has not recovered there")
    drawn = {pair for pair, of in verdicts.items() if any(one.drawn for one in of.values())}
    everything, only, unjudged = [], [], []
    for k in ks:
        counts = {
            pair: [verdicts[pair][concept].shown for concept in concepts[:k] if concept in verdicts[pair]]
            for pair, concepts in ranked.items()
        }
        everything.append(share_right([sum(c) for c in counts.values()], [len(c) for c in counts.values()]))
        blind = [counts[pair] for pair in ranked if pair in drawn]
        only.append(share_right([sum(c) for c in blind], [len(c) for c in blind]))
        unjudged.append(sum(len(ranked[pair][:k]) - len(counts[pair]) for pair in ranked if pair in drawn))
    if chosen := len(ranked.keys() - drawn):
        notes.append(f"{chosen:,} of {len(ranked):,} judged pairs were chosen by hand: they count in `all` only")
    if unjudged[-1]:
        notes.append(
            f"{unjudged[-1]:,} of the best {ks[-1]} recovered concepts of drawn pairs are not judged, and do not count"
        )
    return JudgedScore(ks, tuple(only), tuple(everything), tuple(unjudged), tuple(notes))


def recovered_of(curated: Path, given: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[str]]:
    """The recovered concepts of pairs by shard and key, best first. Raises CocuError for tables that are broken."""
    pairs = sorted(set(given))
    found: dict[tuple[str, str], list[str]] = {}
    with connected(curated) as connection:
        for start in range(0, len(pairs), 500):
            part = pairs[start : start + 500]
            marks = ", ".join("(?, ?)" for _ in part)
            rows = connection.execute(
                f"SELECT shard, key, concept FROM archives WHERE (shard, key) IN ({marks}) AND NOT in_caption "
                "ORDER BY shard, key, rank",
                [value for pair in part for value in pair],
            ).fetchall()
            for shard, key, concept in rows:
                found.setdefault((shard, key), []).append(concept)
    return found
