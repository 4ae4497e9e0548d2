"""The evaluation: a segmenter and benchmarks in, figures and pictures out. Read from top to bottom.

One process on a CPU or a GPU as it is; under torchrun one process for each GPU. Figures are the same for any number.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from data_cards.cards import Card
from data_cards.layouts.benchmark import Benchmark, open_benchmark
from evaluation.figures.tally import PictureTally, Share, chosen_pictures, merged, refuse_missing, tally
from evaluation.labels.inference import Rules
from evaluation.mode_search import AUTO, ModeSearch
from evaluation.models.segmenters import Precision, Segmenter, asked_mode, in_dense_mode, load_segmenter
from evaluation.parts import PARTS, EvalPart, all_counts, keep_counts
from evaluation.progress import shown
from evaluation.results import background_sweep, gallery
from evaluation.results import result as results
from evaluation.results.distractors import Distraction
from evaluation.results.doubts import refuse_empty_truth
from evaluation.results.result import Result
from evaluation.results.text import write_results
from evaluation.setting import TextSetting, Wording, setting_of
from files.atomic import sweep
from files.errors import CocuError, MisuseError
from files.locks import locked, locked_file
from files.saying import say
from training.processes import Place, by_leader, joined, of_all

# Told the benchmark's name, how many of its pictures were done now, and of how many in this process.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class EvaluateOptions:
    """What a run may choose; the cards say the rest.

    split: in place of the cards'. limit: pictures of each benchmark, spread evenly over it. batch: pictures that are
    segmented together. threads: that decode. skip_bad: leave bad pictures out, and say so. sweep: the background's
    thresholds, besides. shown: best, worst and random pictures of the gallery, so many each. wording: the protocol, and
    what is put to the text encoder.
    """

    split: str | None = None
    limit: int | None = None
    batch: int = 8
    threads: int = 4
    skip_bad: bool = False
    sweep: bool = False
    shown: int = 8
    rules: Rules = field(default_factory=Rules)
    wording: Wording = field(default_factory=Wording)


@dataclass(frozen=True)
class Opened:
    """A benchmark that was found on the disk; its card is as the protocol has it."""

    card: Card
    path: Path
    benchmark: Benchmark


@dataclass(frozen=True)
class Evaluated:
    """Figures of a checkpoint. content: what results.json holds. leads: under torchrun, whether this process speaks."""

    path: Path
    content: dict[str, Any]
    leads: bool = True

    @property
    def miou(self) -> dict[str, float]:
        """Mean intersection over union of each benchmark, 0 to 1."""
        return {one["name"]: one["mean_iou"]["value"] for one in self.content["benchmarks"]}

    def __repr__(self) -> str:
        return f"<results {self.path}: {', '.join(f'{name} mIoU {value:.4f}' for name, value in self.miou.items())}>"


def open_all(wanted: Sequence[tuple[Card, Path]], options: EvaluateOptions) -> list[Opened]:
    """Find the benchmarks, and files that are missing. Raises MisuseError, or CocuError for a tar."""
    wanted = [(card.under(options.wording.protocol), path) for card, path in wanted]
    options.wording.check([card for card, _ in wanted])
    if twice := next((card.name for n, (card, _) in enumerate(wanted) if card.name in _names(wanted[:n])), None):
        raise MisuseError(f"benchmark {twice!r} is given twice; results are kept by name, use two --out folders")
    if options.rules.as_released and options.wording.protocol != "groupvit":
        raise MisuseError("--as-released: is of GroupViT's evaluation; give --protocol groupvit")
    if options.sweep and not any(card.background for card, _ in wanted):
        raise MisuseError("--sweep-background: none of the benchmarks has a background")
    opened = [Opened(card, path, open_benchmark(card, path, options.split)) for card, path in wanted]
    for one in opened:
        if not options.skip_bad and options.limit is None:
            refuse_missing(one.benchmark)
    return opened


def evaluate_checkpoint(
    checkpoint: str,
    wanted: Sequence[tuple[Card, Path]],
    out: Path,
    options: EvaluateOptions,
    device: str = "auto",
    precision: Precision = "fp32",
    command: Sequence[str] = (),
    overwrite: bool = False,
    trust_remote_code: bool = False,
    dense: str | None = None,
    dense_pictures: Path | None = None,
    part: EvalPart | None = None,
) -> Evaluated:
    """Measure the model of this name, as `load_segmenter` takes it, in the processes that torchrun started, or alone.

    part: of the pictures, counts of which it leaves; or what adds up those of all. dense: its dense mode, or AUTO;
    dense_pictures: a folder of pictures on which AUTO chooses, in place of the benchmarks'. Raises MisuseError where
    there is no such model or device, and as `evaluate_all`.
    """
    source, mode = asked_mode(checkpoint, dense)
    auto = ModeSearch(dense_pictures) if mode == AUTO else None
    if dense_pictures is not None and auto is None:
        raise MisuseError(f"--dense-pictures {dense_pictures}: is for --dense {AUTO}, which chooses on them")
    with joined(device, exact=True) as place, shown(place.leads) as progress:
        segmenter = load_segmenter(
            source if auto else checkpoint, place.device, precision, trust_remote_code, None if auto else dense
        )
        more: dict[str, Any] = {"command": command, "overwrite": overwrite, "progress": progress, "search": auto}
        more["part"] = part
        content = evaluate_all(segmenter, wanted, out, options, place, **more)
    return Evaluated(out, content, place.leads)


def evaluate_all(
    segmenter: Segmenter,
    wanted: Sequence[tuple[Card, Path]],
    out: Path,
    options: EvaluateOptions,
    place: Place,
    *,
    command: Sequence[str] = (),
    overwrite: bool = False,
    progress: Progress = lambda name, done, total: None,
    search: ModeSearch | None = None,
    part: EvalPart | None = None,
) -> dict[str, Any]:
    """Measure every benchmark and write the folder `out`; what results.json holds, on every process.

    search: for the dense mode in which the model is read. Raises MisuseError for arguments that do not go together;
    BadItem for a bad picture, unless they are skipped; CocuError where another run is at work on `out`.
    """
    opened = by_leader(lambda: open_all(wanted, options), place)
    with ExitStack() as stack:
        by_leader(lambda: _lock(stack, out, part), place)
        segmenter, dense = _in_best_mode(segmenter, opened, options, place, search)
        checkpoint = {"name": segmenter.name, "kind": segmenter.kind, "sha256": segmenter.digest, **dense}
        by_leader(lambda: _make_room(out, checkpoint, opened, overwrite, part), place)
        head = results.header(
            checkpoint,
            command,
            datetime.now(UTC).isoformat(timespec="seconds"),
            device=_device(place),
            precision=segmenter.precision,
            processes=place.world,
        )
        return _measure_all(segmenter, opened, out, options, place, head, progress, part)


def _lock(stack: ExitStack, out: Path, part: EvalPart | None) -> None:
    """Take the folder for one run alone; parts stand beside each other, and each takes its own place there."""
    among = part is not None and part.number > 0
    stack.enter_context(locked(out, None, (lambda alone: None) if among else None))
    if part and among:
        stack.enter_context(locked_file(out / f"part {part.number} of {part.count}", part.name))


def _in_best_mode(
    segmenter: Segmenter, opened: Sequence[Opened], options: EvaluateOptions, place: Place, search: ModeSearch | None
) -> tuple[Segmenter, dict[str, Any]]:
    """A segmenter in the mode that a search finds, and what results.json says of dense modes; of a learner nothing."""
    if search is not None:
        of_benchmarks = [(one.card, one.benchmark) for one in opened]
        found = by_leader(lambda: search.found(segmenter, of_benchmarks), place)
        return in_dense_mode(segmenter, found.mode), {"dense": asdict(found)}
    mode = getattr(segmenter.model, "mode", None)
    return segmenter, {"dense": {"mode": mode}} if mode else {}


def _measure_all(
    segmenter: Segmenter,
    opened: Sequence[Opened],
    out: Path,
    options: EvaluateOptions,
    place: Place,
    head: Mapping[str, Any],
    progress: Progress,
    part: EvalPart | None,
) -> dict[str, Any]:
    done: list[dict[str, Any]] = []
    galleries: list[gallery.BenchmarkGallery] = []
    for one in opened:
        setting = setting_of(segmenter, one.card, options.wording, options.rules, place)
        alike = {"checkpoint": head["checkpoint"], "precision": head["precision"], **_alike(one, setting, options)}
        if part and part.number:
            _keep(part, out, one, alike, partial(count, segmenter, one, setting, options), place, progress)
            continue
        counts = all_counts(out, one.card.name, alike) if part else None
        result = evaluate(segmenter, one, setting, options, place, progress, counts)

        def write(one: Opened = one, setting: TextSetting = setting, result: Result = result) -> dict[str, Any]:
            folder = out / one.card.name
            results.write_benchmark(folder, result)
            found = results.summary(result)
            if options.sweep and one.card.background:
                found["background_sweep"] = background_sweep.write_sweep(folder, result)
            if options.shown:
                how = (segmenter, *setting.alone(), options.shown)
                galleries.append(gallery.write_pictures(folder, result, one.benchmark, *how))
                gallery.write_page(out, head, galleries)
            write_results(out, head, [*done, found], [other.card.name for other in opened[len(done) + 1 :]])
            return found

        done.append(by_leader(write, place))
    if part and not part.number:
        by_leader(lambda: shutil.rmtree(out / PARTS), place)
    return {**head, "benchmarks": done}


def _keep(
    part: EvalPart,
    out: Path,
    opened: Opened,
    alike: Mapping[str, Any],
    counted: Callable[[Share, Progress], PictureTally],
    place: Place,
    progress: Progress,
) -> None:
    """Leave what a part counts of a benchmark."""
    started = time.perf_counter()
    whole = merged(of_all(counted(part.share(place.rank, place.world), progress), place))
    seconds, name = time.perf_counter() - started, opened.card.name
    by_leader(lambda: keep_counts(out, part, name, alike, whole, seconds), place)
    if place.leads:
        say(
            f"{out}: part {part.name} has counted {len(whole.indices):,} pictures of {name}, {len(whole.bad):,} were "
            "bad; --part finish comes when all have ended"
        )


def _alike(opened: Opened, setting: TextSetting, options: EvaluateOptions) -> dict[str, Any]:
    """What is the same in all parts of a measure."""
    asked = {"limit": options.limit, "batch": options.batch, "skip bad": options.skip_bad, "sweep": options.sweep}
    found = {"split": opened.benchmark.split, "pictures": len(opened.benchmark)}
    return {**setting.said, **asked, **found, "distractors": list(setting.distractors)}


def count(
    segmenter: Segmenter,
    opened: Opened,
    setting: TextSetting,
    options: EvaluateOptions,
    share: Share,
    progress: Progress,
) -> PictureTally:
    """What is counted of a share of a benchmark's pictures."""
    benchmark, card = opened.benchmark, opened.card
    indices = chosen_pictures(len(benchmark), options.limit)
    rules = setting.rules
    if options.sweep and card.background:
        rules = replace(rules, sweep=background_sweep.THRESHOLDS)
    return tally(
        segmenter,
        benchmark,
        setting.vectors,
        rules,
        indices=indices,
        batch=options.batch,
        threads=options.threads,
        skip_bad=options.skip_bad,
        share=share,
        progress=lambda done: progress(card.name, done, -(-len(indices) // share.of)),
    )


def evaluate(
    segmenter: Segmenter,
    opened: Opened,
    setting: TextSetting,
    options: EvaluateOptions,
    place: Place,
    progress: Progress = lambda name, done, total: None,
    counts: tuple[PictureTally, float] | None = None,
) -> Result:
    """Measure one benchmark; the result is the same on every process. Raises CocuError where nothing is left.

    counts: what parts have counted, and in how many seconds.
    """
    benchmark, card = opened.benchmark, opened.card
    if counts is None:
        started = time.perf_counter()
        mine = count(segmenter, opened, setting, options, Share(place.rank, place.world), progress)
        counts = merged(of_all(mine, place)), time.perf_counter() - started
    whole, seconds = counts
    if not len(whole.indices):
        first = f"; the first: {whole.bad[0].path}: {whole.bad[0].reason}" if whole.bad else ""
        raise CocuError(f"{card.name}={opened.path}: no picture could be measured{first}")
    refuse_empty_truth(whole.counts, card, opened.path)
    return Result(
        card=card,
        path=opened.path,
        split=benchmark.split,
        available=len(benchmark),
        keys=tuple(benchmark.keys[index] for index in whole.indices.tolist()),
        tally=whole,
        rules=setting.said | ({} if options.limit is None else {"limit": options.limit}),
        seconds=seconds,
        distraction=Distraction(setting.distractors, setting.rules.distractors, str(options.wording.vocabulary)),
    )


def _make_room(
    out: Path, checkpoint: Mapping[str, Any], opened: Sequence[Opened], overwrite: bool, part: EvalPart | None
) -> None:
    """Remove results that may go: of the same checkpoint, where their run was cut short; others if asked to.

    A part among others removes nothing.
    """
    if (out / results.RESULTS).exists():
        there = results.read_results(out)
        if not overwrite and not ("unfinished" in there and there.get("checkpoint") == checkpoint):
            raise MisuseError(f"{out}: holds results; give another --out, or --overwrite to replace them")
        if part and part.number:
            return
        _remove_results(out, there)
    if part and part.number:
        return
    for folder in (out / one.card.name for one in opened):
        sweep(folder, deep=False)
        sweep(folder / gallery.PICTURES, deep=False)
    sweep(out, deep=False)


def _remove_results(out: Path, there: Mapping[str, Any]) -> None:
    """Remove what an evaluation wrote into a folder, nothing else; results.json, which vouches for it, first."""
    names = [Path(one["name"]).name for one in there["benchmarks"]]
    written = [out / results.RESULTS, out / results.TABLE, out / gallery.GALLERY]
    for folder in (out / name for name in names):
        written += [folder / name for name in (results.CLASSES, results.COUNTS)]
        written += [folder / name for name in (background_sweep.SWEEP, background_sweep.PLOT)]
        written += sorted((folder / gallery.PICTURES).glob("*.png"))
    for file in written:
        file.unlink(missing_ok=True)


def _names(wanted: Sequence[tuple[Card, Path]]) -> set[str]:
    return {card.name for card, _ in wanted}


def _device(place: Place) -> str:
    if place.device.type == "cuda":
        return f"{place.world} x {torch.cuda.get_device_name(place.device)}"
    return f"{place.world} x {place.device.type}"
