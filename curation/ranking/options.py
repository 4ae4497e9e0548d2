"""What shapes a curation, and the named ways to set it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from curation.ranking.expansion import parse_expansion
from curation.ranking.relevance import RANKINGS
from files.errors import MisuseError

PAPER_NEIGHBOURS = 8
# What is left of each shard: a whole copy, a tar of the concepts alone, or nothing; the tables always are.
OUTPUTS = ("shards", "sidecar", "tables")
SHARDS_FORMATS = ("webdataset", "parquet")  # of whole copies


@dataclass(frozen=True)
class CurateOptions:
    """What shapes a curation; the fields are the options of `cocu curate run`.

    neighbours 0: fitted to the index (`support.fit_support`), or the paper's 8 for rankings that fit nothing.
    keep 0: the whole archive. min_peak: of concepts that the caption does not name (localisation.py). tags: a table of
    another model's tags, for rankings that are fitted. confidence: least probability that another caption of the
    picture names a recovered concept (`confidence.fit_confidence`); 0 leaves out none. output: one of OUTPUTS.
    shards_format: one of SHARDS_FORMATS.
    """

    expansion: str = "mixed"
    neighbours: int = 0
    ranking: str = "evidence"
    keep: int = 16
    min_score: float | None = None
    confidence: float = 0.0
    merge: bool = True
    synonyms: bool = True
    grounded: bool = True
    write_caption: str | None = None
    seed: int = 0
    localise: bool = False
    min_peak: float | None = None
    tags: str | Path | None = None
    output: str = "shards"
    shards_format: str = "webdataset"

    def __post_init__(self) -> None:
        parse_expansion(self.expansion)
        ranking = RANKINGS[self.ranking]  # refuses one that there is not
        if self.tags is not None and not ranking.fitted:
            fitted = [name for name in RANKINGS if RANKINGS[name].fitted]
            raise MisuseError(
                f"--tags: joins rankings that are fitted to captions, and --ranking {self.ranking} is none; give "
                f"--ranking {' or '.join(fitted)}"
            )
        if self.write_caption is not None and not all(name.strip() for name in self.write_caption.split(".")):
            raise MisuseError(
                f"--write-caption {self.write_caption!r}: give a field of the .json member, as caption or meta.caption"
            )
        if self.output not in OUTPUTS:
            raise MisuseError(f"--output {self.output}: give one of {', '.join(OUTPUTS)}")
        if self.shards_format not in SHARDS_FORMATS:
            raise MisuseError(f"--shards-format {self.shards_format}: give one of {', '.join(SHARDS_FORMATS)}")
        if self.shards_format == "parquet" and self.output != "shards":
            raise MisuseError(f"--shards-format parquet: is of whole shards; leave out --output {self.output}")
        if self.output == "tables" and self.write_caption is not None:
            raise MisuseError("--write-caption: has no place in tables; give --output shards or sidecar")
        if self.min_peak is not None and not self.localise:
            raise MisuseError(f"--min-peak {self.min_peak:g}: is known of what is localised only; give --localise, too")

    @property
    def left(self) -> str:
        """What is left of each shard: "parquet" or one of OUTPUTS."""
        return "parquet" if self.shards_format == "parquet" else self.output

    def parameters(self) -> dict[str, Any]:
        """As a manifest names them; what is not localised, has no tags, or leaves tars goes without saying."""
        unsaid = [*([] if self.localise else ["localise", "min_peak"]), *(["tags"] if self.tags is None else [])]
        unsaid += ["output"] if self.output == "shards" else []
        unsaid += ["shards_format"] if self.shards_format == "webdataset" else []
        return {name: value for name, value in asdict(self).items() if name not in unsaid}


PRESETS: dict[str, CurateOptions] = {
    "default": CurateOptions(),
    "paper": CurateOptions("image", PAPER_NEIGHBOURS, "paper", keep=0, merge=False, synonyms=False, grounded=False),
    # For an encoder that knows the pictures: it alone decides.
    "clip": CurateOptions("image", neighbours=64, ranking="similarity", keep=6, synonyms=True, grounded=True),
}


def preset_options(preset: str, **overruled: Any) -> CurateOptions:
    """A preset's options, but for those that are given here and not None. Raises MisuseError for no preset's name."""
    if preset not in PRESETS:
        raise MisuseError(f"--preset {preset!r}: expected one of {', '.join(PRESETS)}")
    return replace(PRESETS[preset], **{name: value for name, value in overruled.items() if value is not None})
