"""The arms of the experiment: what each trains with. All else, above all the tuning, is the same for all.

An arm is a curation (which concepts lie beside the pairs), and how training draws from them. The baseline draws nouns
of the caption, as GroupViT does; oracle and shuffled arm are ceiling and floor of what curation can give.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

CLIP = ("--preset", "clip")


@dataclass(frozen=True)
class Curation:
    """How a folder of curated shards comes about.

    options: of `cocu curate run`. rewritten: oracle or shuffled, where the shards of another curation, `source` (by its
    name), are written anew (benchmarks/reproduce/shards.py).
    """

    name: str
    options: tuple[str, ...] = CLIP
    rewritten: str | None = None
    source: str = "cocu"


@dataclass(frozen=True)
class Arm:
    """What one row of the tables trains with.

    group: main, ablation or bound. differs: from CoCu's arm, in words. concepts: nouns of the caption, or curated, or
    none, where the CLIP that curated is measured as it is; overrides: of the recipe, as on the command line.
    """

    name: str
    group: str
    differs: str
    curation: Curation
    concepts: str = "curated"
    overrides: tuple[str, ...] = ()

    def recipe(self, learner: str) -> str:
        """The recipe of `cocu train` for a learner."""
        setting = LEARNERS[learner]
        return setting.curated if self.concepts == "curated" else setting.captions


@dataclass(frozen=True)
class LearnerSetting:
    """A learner's recipes for the miniature, by captions alone and by curated concepts, and the pairs of a step."""

    captions: str
    curated: str
    batch: int


LEARNERS = {
    "self-training": LearnerSetting("clip_head_captions", "clip_head", 64),
    "patch-alignment": LearnerSetting("miniature", "miniature_cocu", 64),
    "groupvit": LearnerSetting("miniature_groupvit", "miniature_groupvit_cocu", 128),
}

COCU_CURATION = Curation("cocu")
BASELINE = Arm("baseline", "main", "nouns of the caption", COCU_CURATION, concepts="caption")
COCU = Arm("cocu", "main", "curated concepts", COCU_CURATION)
ORACLE = Arm("oracle", "bound", "all true visible classes: the ceiling", Curation("oracle", (), "oracle"))
SHUFFLED = Arm(
    "shuffled", "bound", "recovered concepts of another pair: the floor", Curation("shuffled", (), "shuffled")
)


def _curated_otherwise(name: str, differs: str, *options: str) -> Arm:
    return Arm(name, "ablation", differs, Curation(name, (*CLIP, *options)))


ABLATIONS = (
    _curated_otherwise("expansion-caption", "expansion by captions", "--expansion", "caption"),
    _curated_otherwise("expansion-both", "expansion by images and captions", "--expansion", "image+caption"),
    _curated_otherwise("expansion-language", "expansion by the caption's text", "--expansion", "language"),
    _curated_otherwise("ranking-random", "ranking: random", "--ranking", "random"),
    _curated_otherwise("ranking-global", "ranking: global only", "--ranking", "global"),
    _curated_otherwise("ranking-local", "ranking: local only", "--ranking", "local"),
    _curated_otherwise("ranking-paper", "ranking: global + local, the paper's", "--ranking", "paper"),
    Arm("sampling-top", "ablation", "sampling: the K best", COCU_CURATION, overrides=("concepts=curated-top",)),
    *(
        _curated_otherwise(f"neighbours-{count}", f"L = {count} (64)", "--neighbours", str(count))
        for count in (2, 4, 8, 16, 32)
    ),
    *(
        Arm(
            f"k-{count}", "ablation", f"K = {count} (3)", COCU_CURATION, overrides=(f"data.concepts_per_image={count}",)
        )
        for count in (1, 5)
    ),
)

MAIN = (BASELINE, COCU)
BOUNDS = (ORACLE, SHUFFLED)
ALL = (*MAIN, *BOUNDS, *ABLATIONS)

# Of self-training, which takes whole lists: as `cocu curate run` makes them unless told.
LISTS = Curation("lists", ())
LISTS_MAIN = tuple(replace(arm, curation=LISTS) for arm in MAIN)
LISTS_OTHERS = (
    Arm("clip", "bound", "nothing: the CLIP as it is", LISTS, concepts="none"),
    ORACLE,
    replace(SHUFFLED, curation=Curation("shuffled-lists", (), "shuffled", LISTS.name)),
)


def _listed_otherwise(name: str, differs: str, *options: str) -> Arm:
    return Arm(name, "ablation", differs, Curation(f"lists-{name}", options))


LISTS_ABLATIONS = (
    replace(COCU, name="preset-clip", group="ablation", differs="ranking: the CLIP's alone (`--preset clip`)"),
    Arm(
        "ranking-support",
        "ablation",
        "ranking: captions of like pictures, not the CLIP's",
        Curation("support", ("--ranking", "support")),
    ),
    _listed_otherwise("ranking-paper", "ranking: global + local, the paper's", "--ranking", "paper"),
    _listed_otherwise("ranking-random", "ranking: random", "--ranking", "random"),
    _listed_otherwise("expansion-image", "expansion by images (both)", "--expansion", "image"),
    _listed_otherwise("expansion-caption", "expansion by captions (both)", "--expansion", "caption"),
    _listed_otherwise("expansion-language", "expansion by the caption's text (both)", "--expansion", "language"),
    *(
        _listed_otherwise(f"neighbours-{count}", f"L = {count} (fitted)", "--neighbours", str(count))
        for count in (8, 32)
    ),
    *(
        _listed_otherwise(f"keep-{count}", f"at most {count} concepts (16)", "--keep", str(count))
        for count in (2, 4, 8, 32)
    ),
)
LISTS_ALL = (*LISTS_MAIN, *LISTS_OTHERS, *LISTS_ABLATIONS)
