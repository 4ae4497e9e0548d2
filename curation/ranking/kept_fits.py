"""Fitted models, kept with the index as `INDEX/fits/INDEX-OPTIONS.npz`: made once for all that ask for the same.

The name tells what they were fitted to, and by which code, so that none is ever taken for another's. A file may have
come from anybody: nothing in it is believed before its shape is checked, and what is damaged is fitted again.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.index.opened import index_identity
from curation.ranking.confidence import ConfidenceModel, indexed_captions
from curation.ranking.evidence import PictureWeight
from curation.ranking.fitted import FittedModels, fit_models
from curation.ranking.merging import MOST_TAILS, WordFamilies
from curation.ranking.options import CurateOptions
from curation.ranking.picture_statistics import PictureStatistics
from curation.ranking.relevance import RANKINGS
from curation.ranking.support import SupportModel
from curation.ranking.witness import Witness
from files.atomic import atomic
from files.errors import MisuseError
from files.machine import give_back
from files.remote_folders import remove
from files.saying import say
from files.shapes import check_shape, count
from files.strict_json import parse_json

if TYPE_CHECKING:
    from curation.index.opened import Index

# Rooms whose code says what is fitted.
FITTING = ("ranking", "concepts", "index")
SOURCES = (".py", ".tsv", ".toml")
VALUES: dict[str, dict[str, Any]] = {
    "support?": {"mu": float, "neighbours": count, "kappa": float, "report": (None, dict)},
    "judge?": {"diagram": [[float]], "report": dict},
    "picture?": {"weight": float, "width": float, "report": dict},
}


def fitted_models(index: Index, options: CurateOptions) -> FittedModels:
    """What the options ask for, as it is kept with the index, else fitted to it and kept.

    Raises MisuseError where a least confidence is asked for, and the index has too few pairs to fit one.
    """
    path = index.path / "fits" / f"{_of_index(index)}-{_of_options(options)}.npz"
    fitted = _read(path, index) if path.exists() else None
    if fitted is None:
        if RANKINGS[options.ranking].fitted:
            say(f"ranking {options.ranking}: fitting it to held-out captions of the index")
        fitted = fit_models(index, options)
        _keep(path, fitted)
    if fitted.judge is None and options.confidence > 0:
        raise MisuseError(
            f"--confidence {options.confidence:g}: {index.path} has too few pairs with captions that name things to "
            "fit a probability to; leave it out, or index more pairs"
        )
    return fitted


def fit_default(index: Index) -> None:
    """Keep with a new index what curations ask for that give no options; nothing where it has no pictures."""
    if index.images is not None:
        give_back()  # of what built it
        fitted_models(index, CurateOptions())


def _of_index(index: Index) -> str:
    return _digest([index_identity(index), _of_code()])


def _of_options(options: CurateOptions) -> str:
    judged = RANKINGS[options.ranking].fitted or options.confidence > 0
    asked = (options.ranking, options.expansion, options.neighbours, options.grounded, options.merge, judged)
    return _digest(asked)


@lru_cache(maxsize=1)
def _of_code() -> str:
    rooms = [Path(__file__).parents[1] / room for room in FITTING]
    files = sorted(path for room in rooms for path in room.rglob("*") if path.suffix in SOURCES)  # no compiled ones
    return _digest([(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def _keep(path: Path, fitted: FittedModels) -> None:
    """Write the file, and take away those of what the index was; where there is no room for it, say so and go on."""
    arrays, values = packed(fitted)
    try:
        with atomic(path) as temporary, temporary.open("wb") as file:
            arrays["values"] = np.frombuffer(json.dumps(values).encode(), np.uint8)
            np.savez(file, **arrays)
        for other in path.parent.glob("*.npz"):
            if other.name.partition("-")[0] != path.name.partition("-")[0]:
                remove(other)
    except OSError as error:
        say(f"{path}: what was fitted can't be kept there ({error.strerror or error}); it will be fitted again")


def packed(fitted: FittedModels) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays and values of fitted models, without the index that they are of: for a file, or another process."""
    arrays: dict[str, Any] = {}
    values: dict[str, Any] = {}
    if "sampled" in vars(fitted.statistics):  # the fit asked for it
        arrays["pictures_mean"], arrays["pictures_covariance"] = fitted.statistics.sampled
    if (support := fitted.support) is not None:
        arrays["support_prior"] = support.prior
        values["support"] = {name: getattr(support, name) for name in VALUES["support?"]}
    if (judge := fitted.judge) is not None:
        arrays |= {f"judge_{name}": getattr(judge, name) for name in ("weights", "steps_at", "steps", "prior")}
        arrays |= {"directions": judge.witness.statistics.concepts, "trust": judge.witness.trust}
        if judge.naming is not None:
            arrays["judge_naming"] = judge.naming
        values["judge"] = {"diagram": judge.diagram, "report": judge.report}
    if (picture := fitted.picture) is not None:
        arrays |= {f"picture_{name}": getattr(picture, name) for name in ("proven", "lift", "typical")}
        values["picture"] = {name: getattr(picture, name) for name in VALUES["picture?"]}
    if (families := fitted.families) is not None:
        arrays |= {f"families_{name}": getattr(families, name) for name in ("tails", "same", "order")}
    return arrays, values


def _read(path: Path, index: Index) -> FittedModels | None:
    """What a file keeps; None, and a word, where it is damaged."""
    concepts, dim = index.vocabulary.vectors.shape
    shapes: dict[str, tuple[type, tuple[int | None, ...]]] = {
        "values": (np.uint8, (None,)),
        **dict.fromkeys(("support_prior", "judge_prior", "trust", "picture_lift"), (np.float32, (concepts,))),
        **{"directions": (np.float32, (concepts, dim)), "picture_typical": (np.float32, (dim,))},
        **{"judge_weights": (np.float64, (4,)), "judge_naming": (np.float64, (5,))},
        **dict.fromkeys(("judge_steps_at", "judge_steps"), (np.float64, (None,))),
        **{"picture_proven": (np.int32, (None,)), "families_tails": (np.int32, (concepts, MOST_TAILS))},
        **{"pictures_mean": (np.float32, (dim,)), "pictures_covariance": (np.float32, (dim, dim))},
        **{"families_same": (np.int32, (concepts,)), "families_order": (np.int64, (concepts,))},
    }
    try:
        arrays = _read_arrays(path, shapes)
        values = parse_json(arrays.pop("values").tobytes())
        check_shape(values, VALUES)
        for name, least in (("picture_proven", 0), ("families_tails", -1), ("families_same", 0)):
            ids = arrays.get(name, np.zeros(0))
            if ids.size and not (ids.min() >= least and ids.max() < concepts):
                raise ValueError(f"{name} holds what is none of the {concepts:,} concepts")
        if faulty := [name for name, array in arrays.items() if not np.isfinite(array).all()]:
            raise ValueError(f"{faulty[0]} holds what is no number")
        return unpacked(index, arrays, values)
    except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile) as error:
        say(f"{path}: cannot be read ({str(error) or type(error).__name__}); what it kept is fitted again")
        return None


def _read_arrays(path: Path, shapes: Mapping[str, tuple[type, tuple[int | None, ...]]]) -> dict[str, np.ndarray]:
    """The arrays of a file, by name. Raises ValueError for another than `shapes` has; None in a shape is any length."""
    arrays: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(path) as file:
        for member in file.infolist():
            name = member.filename.removesuffix(".npy")
            if name not in shapes or member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"its part {member.filename!r:.80} is none that is kept")
            kind, wanted = shapes[name]
            with file.open(member) as stream:
                np.lib.format.read_magic(stream)
                shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
                fits = len(shape) == len(wanted) and all(w in (None, s) for s, w in zip(shape, wanted, strict=True))
                if dtype != kind or by_columns or not fits:
                    raise ValueError(f"{name} is {dtype} {list(shape)}")
                # a stored part is no longer than its file, whatever its header says
                arrays[name] = np.frombuffer(stream.read(), kind).reshape(shape)
    return arrays


def unpacked(index: Index, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> FittedModels:
    """What was packed, of the index that it is of."""

    def named(prefix: str, *names: str) -> dict[str, Any]:
        return {name: arrays[f"{prefix}_{name}"] for name in names}

    rows = index.rows
    sampled = (arrays["pictures_mean"], arrays["pictures_covariance"]) if "pictures_covariance" in arrays else None
    statistics = PictureStatistics(index.vocabulary.vectors, rows.image_vectors, sampled)
    support = judge = picture = families = None
    if "support" in values:
        support = SupportModel(**named("support", "prior"), statistics=statistics, **values["support"])
    if "judge" in values:
        judge = ConfidenceModel(
            **named("judge", "weights", "steps_at", "steps", "prior"),
            witness=Witness(statistics.of(arrays["directions"]), arrays["trust"]),
            captions=indexed_captions(rows),
            diagram=tuple((mean, share, int(entries)) for mean, share, entries in values["judge"]["diagram"]),
            report=values["judge"]["report"],
            naming=arrays.get("judge_naming"),
        )
    if "picture" in values:
        picture = PictureWeight(**named("picture", "proven", "lift", "typical"), **values["picture"])
    if "families_tails" in arrays:
        families = WordFamilies(**named("families", "tails", "same", "order"))
    return FittedModels(statistics, support, judge, picture, families)
