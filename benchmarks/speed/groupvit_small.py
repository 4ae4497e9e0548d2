"""What keeps GroupViT's groups alive where the model and the data are small.

    python -m benchmarks.speed.groupvit_small --data runs/demo/curated/shards --val CURATED/shards \
        --benchmark miniature=VAL --out runs/groupvit-small --write docs/groupvit-small

Trains `miniature_groupvit_cocu` once for each setting, all else equal, and prints how many segments win a patch, how
sure the assignment is, the validation loss and the zero-shot mIoU. `--write PATH` draws the curves to PATH.png. A run
that has come to its end is not trained again; one that was killed goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed.measure import print_table


@dataclass(frozen=True)
class Setting:
    """One run. changes: of the paper's shape in small. after: the setting from whose last weights it begins."""

    name: str
    says: str
    changes: tuple[str, ...] = ()
    after: str | None = None

    def overrides(self) -> list[str]:
        """The recipe's keys as KEY=VALUE, each once."""
        return [f"{key}={value}" for key, value in dict(one.split("=", 1) for one in (*PAPER, *self.changes)).items()]


# Two groupings and the release's starting sizes, whatever the recipe has taken over from this study.
PAPER = (
    *("model.depths=[2,1,1]", "model.group_tokens=[16,8]", "model.output_groups=[16,8]"),
    *("model.init_std=0.02", "model.group_token_std=0.02"),
)
ONE_STAGE = ("model.depths=[1,3]", "model.group_tokens=[8]", "model.output_groups=[8]")
LARGER = ("model.init_std=0.06", "model.group_token_std=1")
SETTINGS = (
    Setting("paper", "as at the paper's size"),
    Setting("scale-4", "assignment logits x 4", ("model.assignment_scale=4",)),
    Setting("scale-16", "assignment logits x 16", ("model.assignment_scale=16",)),
    Setting("noise-0", "no Gumbel noise", ("model.gumbel_noise=0",)),
    Setting("scale-16-noise-0", "logits x 16, no noise", ("model.assignment_scale=16", "model.gumbel_noise=0")),
    Setting("soft", "soft assignment", ("model.hard_assignment=false",)),
    Setting("early", "no mixing layer before the first grouping", ("model.depths=[0,2,2]",)),
    Setting("one-stage", "one grouping, into 8 segments", ONE_STAGE),
    Setting("one-stage-scale-16", "one grouping, logits x 16", (*ONE_STAGE, "model.assignment_scale=16")),
    Setting("weights-0.06", "weights that start 3 times as large", ("model.init_std=0.06",)),
    Setting("tokens-1", "group tokens that start 50 times as large", ("model.group_token_std=1",)),
    Setting("larger", "weights and tokens that start larger", LARGER),
    Setting("one-stage-larger", "one grouping, weights and tokens that start larger", (*ONE_STAGE, *LARGER)),
    Setting("one-stage-both", "the same, logits x 16", (*ONE_STAGE, *LARGER, "model.assignment_scale=16")),
    Setting("batch-256", "batches of 256, the same number of samples", ("data.batch=256",)),
    Setting("noise-then-none", "the paper's weights, as long again without noise", ("model.gumbel_noise=0",), "paper"),
    Setting("longer", "the paper's weights, as long again", (), "paper"),
)
# Settings drawn in colour, and figures drawn against the pairs seen, with what they are called.
TOLD = ("paper", "scale-16", "noise-0", "larger", "one-stage", "one-stage-larger")
CURVES = {"health/groups": "segments that win a patch", "health/entropy_stage1": "entropy of stage 1's assignment"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what has not been trained, then print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="curated shards to train on")
    parser.add_argument("--val", required=True, help="curated shards to measure on")
    parser.add_argument("--benchmark", required=True, help="NAME=PATH of a card, for mIoU")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--write", type=Path, help="draw the curves to this path and .png")
    parser.add_argument("--pairs", type=int, default=38_400, help="pairs that each run sees")
    parser.add_argument("--batch", type=int, default=64, help="pairs of a step, where the setting gives none")
    parser.add_argument("--only", nargs="*", help="names of settings; default: all")
    parser.add_argument(
        "--lanes", type=int, default=len(os.sched_getaffinity(0)), help="runs side by side, a thread each"
    )
    given = parser.parse_args(arguments)
    chosen = [one for one in SETTINGS if not given.only or one.name in given.only]
    given.out.mkdir(parents=True, exist_ok=True)
    for first in (True, False):  # those that begin from nothing, then those that go on from them
        with ThreadPoolExecutor(given.lanes) as pool:
            list(pool.map(lambda one: train(one, given), [one for one in chosen if (one.after is None) == first]))
    logs = {one: read_log(given.out / one.name) for one in chosen}
    print_table(
        ["setting", "pairs seen", "segments", "groups of stage 1", "its entropy", "of stage 2", "val. loss", "mIoU"],
        [row(one, logs[one], batch(one, given.batch)) for one in chosen],
    )
    if given.write:
        draw(logs, given.batch, given.write.with_suffix(".png"))


def batch(setting: Setting, default: int) -> int:
    """Pairs of a step."""
    own = [change.removeprefix("data.batch=") for change in setting.changes if change.startswith("data.batch=")]
    return int(own[0]) if own else default


def train(setting: Setting, given: argparse.Namespace) -> None:
    """Run `cocu train`, unless its last checkpoint is there. Raises CalledProcessError where it fails."""
    size = batch(setting, given.batch)
    steps, run = given.pairs // size, given.out / setting.name
    if (run / "checkpoints" / f"step-{steps:08d}").is_dir():
        return
    command = [sys.executable, "-P", "-m", "cocu", "train", "miniature_groupvit_cocu", "--out", str(run)]
    command += ["--data", given.data, "--val", given.val, "--benchmark", given.benchmark, "--no-tensorboard"]
    if setting.after:
        last = sorted((given.out / setting.after / "checkpoints").iterdir())[-1]
        command += ["--init", str(last)]
    command += [f"steps={steps}", f"log_every={max(1, 1280 // size)}", f"validation.every_steps={max(1, steps // 3)}"]
    command += [f"data.batch={size}", f"optimizer.base_batch={size}", "epochs=4", "optimizer.warmup_epochs=0.25"]
    with (given.out / f"{setting.name}.txt").open("a") as log:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run(
            [*command, *setting.overrides()], env=environment, stdout=log, stderr=subprocess.STDOUT, check=True
        )


def read_log(run: Path) -> list[dict[str, Any]]:
    """Lines of a run's log."""
    return [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]


def row(setting: Setting, log: Sequence[dict[str, Any]], size: int) -> list[str]:
    """The last figures of a run; those of the groups are means of its last five lines."""
    trained = [line for line in log if line["event"] == "train"]
    measured = [line for line in log if line["event"] == "validation"][-1]
    late = trained[-5:]

    def mean(name: str) -> str:
        return f"{sum(line[name] for line in late) / len(late):.2f}"

    names = ("groups", "groups_stage1", "entropy_stage1", "entropy_stage2")
    health = [mean(f"health/{name}") if f"health/{name}" in late[-1] else "-" for name in names]
    seen = f"{trained[-1]['step'] * size:,}"
    return [f"`{setting.name}`: {setting.says}", seen, *health, f"{measured['loss']:.2f}", f"{measured['miou']:.3f}"]


def draw(logs: dict[Setting, list[dict[str, Any]]], default: int, path: Path) -> None:
    """Curves of the groups' health, and of mIoU, against the pairs seen; those that tell most in colour."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 5), layout="constrained")
    axes = figure.subplots(1, len(CURVES) + 1)
    for setting, log in logs.items():
        told = setting.name in TOLD
        style: dict[str, Any] = {
            "color": f"C{TOLD.index(setting.name)}" if told else "0.82",
            "zorder": 2 if told else 1,
        }
        style |= {"linewidth": 2 if told else 1, "label": setting.name if told else None}
        size = batch(setting, default)
        for axis, name in zip(axes, [*CURVES, "miou"], strict=True):
            lines = [line for line in log if name in line]
            axis.plot([line["step"] * size for line in lines], [line[name] for line in lines], **style)
    for axis, title in zip(axes, [*CURVES.values(), "zero-shot mIoU"], strict=True):
        axis.set(title=title, xlabel="pairs seen")
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].plot([], [], color="0.82", label="the others")
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
