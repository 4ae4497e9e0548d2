"""The words, tables and plots of the report, all from its figures; what is not there yet is a dash."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.reproduce.document import Block, Code, Heading, Paragraph, Picture, Table
from benchmarks.reproduce.plots import draw_ablations, draw_convergence, draw_quality
from benchmarks.reproduce.remaining import duration

_NAMES = {"miou": "mIoU", "stuff": "mIoU of stuff", "things": "mIoU of things"}


def document(found: Mapping[str, Any], out: Path) -> list[Block]:
    """The whole report; draws its plots into OUT/plots."""
    (out / "plots").mkdir(parents=True, exist_ok=True)
    blocks = [*_opening(found)]
    several = len(found["learners"]) > 1
    for one in found["learners"]:
        if several:
            blocks.append(Heading(f"Learner: {one['learner']}"))
        blocks += _main(one, judged=found["preset"]["judged"])
        for section in (_convergence, _ablations, _quality):
            blocks += section(one, out)
    return [*blocks, *_made(found)]


def _opening(found: Mapping[str, Any]) -> Iterator[Block]:
    preset = found["preset"]
    yield Heading("Training with curated concepts against captions alone", 1)
    yield Paragraph(
        f"Preset {preset['name']}: {preset['pairs']:,} pairs of the miniature (seed {preset['seed']}), "
        f"{preset['epochs']:g} epochs; measured on {preset['validation_pairs']:,} other pictures (seed "
        f"{preset['validation_seed']}). The arms differ in their concepts alone; recipe, tuning, data order and number "
        "of steps are the same. Every figure is of the last checkpoint: the best one would be chosen on the pictures "
        "that it is measured on."
    )
    yield Paragraph(
        "The CLIP that curates, and with which self-training begins, was trained on other drawn pictures with full "
        "supervision of the same 52 classes (data_cards/miniature/clip/weights/README.md). What it has by itself is "
        "the arm clip, of which nothing is trained."
    )
    if preset["note"]:
        yield Paragraph(preset["note"])
    if missing := found["made"]["missing"]:
        yield Paragraph(f"Not done, and left out: {', '.join(missing)}.")


def _main(one: Mapping[str, Any], *, judged: bool) -> Iterator[Block]:
    table = one["main"]
    yield Heading("Baseline and CoCu", 2)
    head = ["arm", "trains with", "seeds", "mIoU", "of each seed", "stuff", "things", "pixel accuracy"]
    rows = [
        [
            *(arm["arm"], arm["differs"], ", ".join(map(str, arm["seeds"]))),
            _spread(arm["miou"]),
            ", ".join(_percent(value) for value in arm["miou"]["values"]) or "-",
            *(_spread(arm[name]) for name in ("stuff", "things", "pixel_accuracy")),
        ]
        for arm in table["arms"]
    ]
    yield Table(head, rows, left=3)
    yield Paragraph("In per cent; mean ± standard deviation over seeds.")
    if table["pairs"]:
        head = ["CoCu less baseline", *(cell for name in _NAMES.values() for cell in (name, "gain"))]
        rows = [
            [f"seed {pair['seed']}", *(cell for name in _NAMES for cell in _difference(pair[name]))]
            for pair in table["pairs"]
        ]
        yield Table(head, rows)
        yield Paragraph(
            "Differences in points, on the same pictures; in brackets what holds 95 % of a paired bootstrap over "
            "pictures. Gain: the difference as a share of the baseline's figure."
        )
    for goal in table["goals"] if judged else ():
        gains = ", ".join(_signed_percent(gain) for gain in goal["gains"]) or "not measured"
        met = {True: "met", False: "missed", None: "open"}[goal["met"]]
        yield Paragraph(
            f"Goal, {_NAMES[goal['figure']]} at least {goal['least_gain']:.0%} above the baseline's in every seed: "
            f"{met} ({gains})."
        )


def _convergence(one: Mapping[str, Any], out: Path) -> Iterator[Block]:
    table = one["convergence"]
    plot = out / "plots" / f"convergence-{one['learner']}.png"
    if not draw_convergence(plot, table):
        return
    yield Heading("Convergence", 2)
    yield Picture(
        plot,
        "mIoU and validation loss (captions'; self-training's own) against samples seen, mean and range over seeds",
    )
    rows = [
        [
            f"seed {each['seed']}",
            _percent(each["target"]),
            _count(each["baseline"]),
            ("at most " if each["cocu_at_most"] else "") + _count(each["cocu"], "not reached"),
            "-" if each["ratio"] is None else f"{'≥ ' if each['cocu_at_most'] else ''}{each['ratio']:.1f}",
        ]
        for each in table["reached"]
    ]
    if rows:
        yield Table(["", "baseline's last mIoU", "baseline reaches it at", "CoCu reaches it at", "ratio"], rows)
        yield Paragraph(
            "Samples seen when the curve first reaches the mIoU with which the baseline of the same seed ends, "
            "interpolated between validations."
        )


def _ablations(one: Mapping[str, Any], out: Path) -> Iterator[Block]:
    table = one["ablations"]
    if not any(row["miou"]["mean"] is not None for row in table["rows"]):
        return
    yield Heading("Ablations, floor and ceiling", 2)
    head = ["arm", "what differs", "recall@5", "precision@5", "mIoU", "from cocu", "stuff", "things", "gap closed"]
    rows = [
        [
            *(row["arm"], row["differs"]),
            *(_share(row[name]) for name in ("recall", "precision")),
            _spread(row["miou"]),
            _from_cocu(row["from_cocu"]),
            *(_spread(row[name]) for name in ("stuff", "things")),
            "-" if row["gap_closed"]["mean"] is None else f"{row['gap_closed']['mean']:.0%}",
        ]
        for row in table["rows"]
    ]
    cocu = [place for place, row in enumerate(table["rows"]) if row["arm"] == "cocu"]
    yield Table(head, rows, left=2, marked=cocu)
    plural = "s" if len(table["seeds"]) > 1 else ""
    sd = next((arm["miou"]["sd"] for arm in one["main"]["arms"] if arm["arm"] == "cocu"), None)
    between = (
        f" Between seeds, cocu's mIoU has a standard deviation of {_percent(sd)} points." if sd is not None else ""
    )
    yield Paragraph(
        f"Seed{plural} {', '.join(map(str, table['seeds']))}. Each arm differs from cocu in what is named, the usual "
        "value in brackets. Recall and precision are of the five best recovered concepts, against the truth of the "
        "training pictures. From cocu: difference in mIoU on the same pictures, with the 95 % interval over pictures. "
        f"Gap closed: (arm - baseline) / (oracle - baseline) of the same seed.{between}"
    )
    plot = out / "plots" / f"ablations-{one['learner']}.png"
    if draw_ablations(plot, table):
        yield Picture(plot, "mIoU of every arm")


def _quality(one: Mapping[str, Any], out: Path) -> Iterator[Block]:
    plot = out / "plots" / f"quality-{one['learner']}.png"
    if not draw_quality(plot, one["quality"]):
        return
    yield Heading("Is better curation better training?", 2)
    yield Picture(plot, "F1 of curation against mIoU")
    yield Paragraph(
        f"Arms that differ in nothing but the curation. {_correlation('All', one['quality']['all'])} "
        f"{_correlation('Without oracle and shuffled', one['quality']['without_bounds'])}"
    )


def _correlation(which: str, found: Mapping[str, Any]) -> str:
    if found["pearson"] is None:
        return f"{which}: {found['points']} points, too few for a correlation."
    return f"{which}: {found['points']} points, Pearson {found['pearson']:.2f}, Spearman {found['spearman']:.2f}."


def _made(found: Mapping[str, Any]) -> Iterator[Block]:
    made = found["made"]
    yield Heading("How it was made", 2)
    machines = "; ".join(
        f"{one['cores']} cores of {one['cpu']}" + (f", {', '.join(one['gpu'])}" if one["gpu"] else ", no GPU")
        for one in made["machines"]
        if one
    )
    versions = "; ".join(
        ", ".join(f"{name} {number}" for name, number in one.items()) for one in made["versions"] if one
    )
    time = f"{duration(made['wall_seconds'])}; of all steps together {duration(made['step_seconds'])}"
    if made["again"]:
        time += f"; begun more than once, and the last time counted: {', '.join(made['again'])}"
    yield Table(
        ["", ""],
        [
            ["preset", found["preset"]["name"]],
            ["device", found["preset"]["device"]],
            ["machine", machines or "-"],
            ["begun", made["began"] or "-"],
            ["commit", ", ".join(commit or "not in a checkout" for commit in made["commits"]) or "-"],
            ["versions", versions or "-"],
            ["time", time],
        ],
        left=2,
    )
    lines = [line for step in made["steps"] for line in _step_lines(step)]
    yield Code("The command of every step, and how long it took", lines)


def _step_lines(step: Mapping[str, Any]) -> tuple[str, str]:
    seconds = "not done" if step["seconds"] is None else f"{step['seconds']:.0f} s"
    return f"# {step['name']}: {seconds}", step["command"]


def _spread(figure: Mapping[str, Any]) -> str:
    if figure["mean"] is None:
        return "-"
    return _percent(figure["mean"]) + (f" ± {_percent(figure['sd'])}" if figure["sd"] is not None else "")


def _difference(one: Mapping[str, float | None]) -> tuple[str, str]:
    return f"{_signed(one['value'])} ({_span(one)})", _signed_percent(one["gain"])


def _from_cocu(found: Sequence[Mapping[str, Any]]) -> str:
    if len(found) == 1:
        return f"{_signed(found[0]['value'])} ({_span(found[0])})"
    return ", ".join(_signed(one["value"]) for one in found) or "-"


def _span(one: Mapping[str, float | None]) -> str:
    return f"{_signed(one['low'])} to {_signed(one['high'])}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"


def _signed(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:+.2f}"


def _signed_percent(share: float | None) -> str:
    return "-" if share is None else f"{share:+.0%}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _count(samples: float | None, none: str = "-") -> str:
    return none if samples is None else f"{samples:,.0f}"
