"""The training loop: a recipe and shards in, checkpoints out. Read from top to bottom.

One process on a CPU or a GPU as it is; under torchrun one process for each GPU, on any number of nodes, each with its
share of every batch, of which the loss sees the whole.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from files.errors import CocuError, MisuseError
from files.locks import locked
from files.remote_code import trusting
from training.batches.augment import finish
from training.batches.batch import Batch, SampleCounts, all_counts
from training.batches.check import check_all
from training.batches.loader import BatchOptions, Loader, repeated, validation_batches
from training.batches.shared_memory import free_bytes, workers_that_fit
from training.batches.shares import made_more_than_once, streams_of
from training.models.layers import forget_activations
from training.processes import (
    Asked,
    Place,
    Signals,
    Wish,
    by_leader,
    fitting_workers,
    joined,
    memory_gb,
    of_all,
    random_states,
    seed_everything,
    sent,
    set_random_states,
)
from training.recipes.recipe import Recipe, build_learner
from training.run.checkpoint import CONFIG, Checkpoints, going_on, load_state, load_weights, random_of, rebuilt, take_up
from training.run.ema import Ema
from training.run.feature_cache import frozen_features
from training.run.options import TrainOptions
from training.run.run_folder import enter
from training.run.run_log import SKIPPED, RunLog
from training.run.start import begin, with_init
from training.run.throughput import LogWindow, Utilisation
from training.run.trained import Outcome, RunProgress
from training.run.validation import Sums, measured, validation_sums
from training.step.gradient_cache import Features, MicroBatch, accumulate, wrapped
from training.step.losses import LOSSES, LossParts, capped_scale, list_loss, total_loss
from training.step.optimizer import GuardedStep, Verdict, build_optimizer
from training.step.precision import precision
from training.step.schedule import learning_rate

MOST_SKIPPED_IN_A_ROW = 10
SCALE_HALVINGS = 16  # of the loss's scale in fp16, which begins at 2**16; a step is skipped for each
MOST_TOLD_OF = 10  # broken shards, when they are met; the last lines count all
TOKENS_MULTIPLE = 16  # compiled encoders see texts of a few lengths only


def train(recipe: Recipe, options: TrainOptions) -> Outcome:
    """Train to the recipe's last step, or until SIGTERM or SIGINT; the newest checkpoint then holds the state.

    Raises MisuseError for arguments that do not go together, CocuError where the loss stays non-finite, or where
    shards or checkpoints cannot be read or written.
    """
    with joined(options.device) as place, Signals(place) as signals, ExitStack() as stack:
        try:
            with signals.interruptible(), trusting(options.trust_remote_code):
                run = Run(recipe, options, place, signals, stack)
        except Asked:
            return Outcome(signals.asked, place.leads, 0, RunProgress(), None)
        return run.to_the_end()


class Run:
    """A run under way in this process."""

    def __init__(self, recipe: Recipe, options: TrainOptions, place: Place, signals: Signals, stack: ExitStack) -> None:
        LOSSES[recipe.loss.kind]  # a name that nobody has is told before anything begins
        autocast = precision(recipe, place)
        recipe, clip = with_init(recipe, options.init, options.run)
        self.recipe, self.options, self.place, self.signals, self.autocast = recipe, options, place, signals, autocast
        if recipe.data.batch % place.world:
            raise MisuseError(f"data.batch {recipe.data.batch} cannot be shared evenly by {place.world} processes")
        free = of_all(free_bytes(), place)[place.rank]  # before any of them takes of it
        by_leader(lambda: check_all((options.data, options.val), recipe.concepts), place)
        by_leader(lambda: stack.enter_context(locked(options.run, CONFIG)), place)
        found = by_leader(lambda: enter(options.run, recipe, options.resume), place)
        state = load_state(found) if found else None

        # The same weights in every process; noise of its own where it is not the samples' (training/models/noise.py).
        seed_everything(recipe.seed)
        self.learner = learner = rebuilt(recipe, found) if found else build_learner(recipe)
        load_weights(learner, found) if found else begin(learner, recipe, clip)
        learner.freeze(recipe.freeze)
        if recipe.checkpoint_activations:
            forget_activations(learner)
        seed_everything(recipe.seed + 1 + place.rank + (state["step"] << 16 if state else 0))
        learner.to(place.device).train()
        if place.world > 1 and place.device.type == "cuda":  # PyTorch has no synchronised batch norm for CPUs
            nn.SyncBatchNorm.convert_sync_batchnorm(learner)
        self.encoders, self.no_sync = wrapped(learner, place, compiled=options.compile)
        self.optimizer = build_optimizer(learner, recipe.optimizer)
        self.scaler = torch.amp.GradScaler(place.device.type, enabled=recipe.precision == "fp16")
        self.guard = GuardedStep(learner, self.optimizer, recipe.optimizer.clip, self.scaler)
        self.ema = Ema(learner, recipe.ema) if recipe.ema else None
        self.frozen = stack.enter_context(frozen_features(learner, recipe, options, place, autocast))

        self.workers = 1
        loaders = [self._of_training()]
        loaders += [self._batches(recipe.validation.batch)] if options.val else []
        usual, ranks = fitting_workers(place), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        self.workers = workers_that_fit(options.workers, usual, loaders, free, ranks, place.leads)
        with going_on(found) if found else nullcontext():
            self.loader = stack.enter_context(self._loader(state["streams"] if state else None))
        by_epochs = recipe.steps is None or (options.val and recipe.validation.every_steps is None)
        self.epoch = self.loader.steps_per_epoch if by_epochs else None
        self.rate = learning_rate(recipe, self.epoch)

        self.progress = RunProgress(**state["progress"]) if state else RunProgress()
        self.random, self.utilisation = random_of(state, place) if state else None, Utilisation(place)
        if found and state:
            take_up(found, state, self.optimizer, self.scaler, self.ema, place)
        self.checkpoints = Checkpoints(options.run, recipe.checkpoints.keep)
        self.log: RunLog | None = None
        if place.leads:
            # It was killed, perhaps, before it had done so.
            self.checkpoints.mark(self.progress.best.get("step"), self.progress.step)
            config, kinds = recipe.model_dump(mode="json"), (options.tensorboard, options.wandb)
            self.log = stack.enter_context(RunLog(options.run, self.progress.step, self.rate.steps, config, *kinds))
            self.log.say(self._greeting(found))
        self.val_counts, self.told_of = SampleCounts(), 0  # the latter: broken shards

    def to_the_end(self) -> Outcome:
        """The loop."""
        recipe, progress, steps = self.recipe, self.progress, self.rate.steps
        asked, verdict, window, saved_at = Wish.GO_ON, None, LogWindow(), time.monotonic()
        for step in range(progress.step, steps):
            try:
                with window.waiting():
                    batch = next(self.loader)
            except Asked:
                asked = self._without_batch(verdict)
                break
            if step == 0:
                self._tell_of_repeats(batch)
            if self.random:  # not earlier: the loader's start draws a random number, too
                set_random_states(self.random, self.place.device)
                self.random = None

            self.guard.begin()
            parts = self._gradients(batch)
            norm, finite = self.guard.end(parts.total, self.rate.at(step))
            if self.ema:
                self.ema.update(step, finite)
            progress.step = done = step + 1

            # The verdict on a step is read when the next is on its way, so that no GPU waits for it.
            self._judge(verdict)
            verdict = Verdict(done, batch.keys, finite, parts.total)
            window.pairs += recipe.data.batch
            if done % recipe.log_every == 0 or done == steps:
                self._log(parts, norm, window)
                window = LogWindow()

            validates = bool(self.options.val) and (
                done == steps or due(done, recipe.validation.every_steps or self.epoch)
            )
            minutes = (time.monotonic() - saved_at) / 60
            saves = validates or done == steps or due(done, recipe.checkpoints.every_steps)
            saves = saves or minutes >= (recipe.checkpoints.every_minutes or math.inf)
            asked = self.signals.agreed(Wish.SAVE if saves else Wish.GO_ON)
            if asked == Wish.GO_ON:
                continue
            self._judge(verdict)
            verdict = None
            if validates and asked == Wish.SAVE:
                self._validate()
            self._save()
            saved_at = time.monotonic()
            asked = self.signals.agreed()
            if asked != Wish.GO_ON:
                break
        counts = all_counts(of_all(self.loader.counts, self.place))
        if self.log:
            for name, some in (("", counts), ("validation: ", self.val_counts)):
                if left_out := some.left_out():
                    self.log.say(f"{name}{left_out}")
            if self.frozen:
                self.log.say(self.frozen.cache.said)
        return Outcome(asked, self.place.leads, steps, progress, self.checkpoints.best(), counts)

    def _tell_of_repeats(self, first: Batch) -> None:
        keys = [key for some in of_all(first.keys, self.place) for key in some]
        if self.log and (said := repeated(keys, self.loader)):
            self.log.say(said)

    def _without_batch(self, verdict: Verdict | None) -> Wish:
        """End where a run asked to has waited for its next batch in vain. Raises CocuError where others wait for it."""
        if self.place.world > 1:
            raise CocuError("asked to end while no batch came; the same command goes on from the last checkpoint")
        self._judge(verdict)
        if self.progress.step and self.random is None:  # else nothing has happened yet
            self._save()
        return self.signals.asked

    def _gradients(self, batch: Batch) -> LossParts:
        """The loss of the whole batch, its gradient left at the parameters."""
        recipe, device, learner = self.recipe, self.place.device, self.learner
        levels = batch.pixels if self.frozen else batch.pixels.to(device, non_blocking=True)
        rest = batch.erase, batch.seeds, learner.mean, learner.std
        pixels = self.frozen(levels) if self.frozen else finish(levels, *rest)
        captions = batch.captions[:, None, :][:, : 0 if learner.takes_lists else 1]
        texts = torch.cat([captions, batch.concepts], dim=1)
        multiple = TOKENS_MULTIPLE if self.options.compile else 1
        trimmed = learner.trimmed(texts.flatten(0, 1), multiple).unflatten(0, texts.shape[:2])
        sent_texts = sent(trimmed, device)
        self.utilisation.see(learner, pixels, sent_texts, self.autocast)
        captions, concepts = sent_texts.split([captions.shape[1], batch.concepts.shape[1]], dim=1)
        size = recipe.data.micro_batch or len(pixels)
        pieces = [
            MicroBatch(some, its_captions.flatten(0, 1), its_concepts if recipe.concepts != "none" else None, seeds)
            for some, its_captions, its_concepts, seeds in zip(
                *(whole.split(size) for whole in (pixels, captions, concepts, sent(batch.seeds, device))), strict=True
            )
        ]
        caption_ids, concept_ids = sent(batch.caption_ids, device), sent(batch.concept_ids, device)

        def loss_of(features: Features) -> LossParts:
            if learner.takes_lists:
                return list_loss(learner, features, concept_ids, sent(batch.concept_weights, device))
            return total_loss(
                self.learner,
                *features,
                concept_ids=concept_ids,
                caption_ids=caption_ids,
                mask_duplicates=recipe.loss.mask_duplicates,
                concept_weight=recipe.loss.concept_weight,
                kind=recipe.loss.kind,
            )

        scale = self.guard.scale(device)
        return accumulate(self.encoders, pieces, loss_of, autocast=self.autocast, no_sync=self.no_sync, scale=scale)

    def _judge(self, verdict: Verdict | None) -> None:
        """Count a step that was not taken. Raises CocuError after too many in a row."""
        if verdict is None:
            return
        progress = self.progress
        finite, loss = verdict.read()
        if finite:
            progress.skipped_in_a_row = 0
            return
        progress.skipped += 1
        progress.skipped_in_a_row += 1
        keys = [key for some in of_all(verdict.keys, self.place) for key in some]
        if self.log:
            self.log.skipped(verdict.step, loss, keys)
        if progress.skipped_in_a_row == (most := MOST_SKIPPED_IN_A_ROW + SCALE_HALVINGS * self.scaler.is_enabled()):
            raise CocuError(
                f"the loss or its gradient was not finite in {most} steps on end, up to step "
                f"{verdict.step:,}; {self.options.run / SKIPPED} lists their pairs. Look at these, or begin a new run "
                "from a checkpoint (--init) with a lower optimizer.base_lr, a longer warm-up, or precision=fp32"
            )

    @torch.no_grad()
    def _log(self, parts: LossParts, norm: Tensor, window: LogWindow) -> None:
        """The figures of the last step; the only place in the loop where the device is waited for."""
        if self.log is None:
            return
        learner, step = self.learner, self.progress.step
        named = parts.named() | {
            "grad_norm": norm,
            "scale": capped_scale(learner.logit_scale),
            "concept_scale": capped_scale(learner.concept_logit_scale),
        }
        figures = {name: float(value) for name, value in named.items()}
        figures |= {f"health/{name}": value for name, value in learner.health().items()}
        figures |= window.figures(pairs_left=(self.rate.steps - step) * self.recipe.data.batch)
        figures |= self.utilisation.figures(figures["pairs_per_s"])
        figures |= {"lr": self.rate.at(step - 1), "memory_gb": memory_gb(self.place.device)}
        counts, broken = self.loader.counts, list(self.loader.counts.broken_shards.items())
        figures |= {"skipped": self.progress.skipped, "bad_pairs": counts.bad_share, "broken_shards": len(broken)}
        if self.epoch:
            figures["epoch"] = step / self.epoch
        self.log.train(step, figures)
        for name, fault in broken[self.told_of : MOST_TOLD_OF]:
            self.log.say(f"shard {name}: {fault}")
        self.told_of = len(broken)

    def _validate(self) -> None:
        """Measure the learner, and note it if it is the best so far. A signal ends it with nothing measured."""
        figures = self._measured()
        if not figures:
            return
        progress = self.progress
        name, sign = ("miou", 1) if "miou" in figures else ("loss", -1)
        if name not in progress.best or sign * figures[name] > sign * progress.best[name]:
            progress.best = {name: figures[name], "step": progress.step}
        if self.log:
            self.log.validation(progress.step, figures)

    def _measured(self) -> dict[str, float]:
        recipe, learner, place = self.recipe, self.learner, self.place
        self.val_counts = SampleCounts()

        def sums() -> Sums:
            batches = validation_batches(self.options.val, self._batches(recipe.validation.batch), self.val_counts)
            return validation_sums(learner, batches, place, recipe.loss, recipe.validation.pairs, self.autocast)

        def others() -> dict[str, float]:
            return dict(self.options.measure(learner)) if self.options.measure else {}

        return measured(learner, sums, others, place, self.signals, self.averaged)

    def _save(self) -> None:
        streams, place = self.loader.state(), self.place
        each = of_all((random_states(place.device), streams), place)
        progress = self.progress

        def write() -> None:
            state = {
                "step": progress.step,
                "progress": asdict(progress),
                "optimizer": self.optimizer.state_dict(),
                "ranks": [{"random": random} for random, _ in each],
                "streams": {number: position for _, some in each for number, position in some.items()},
                **({"scaler": self.scaler.state_dict()} if self.scaler.is_enabled() else {}),
                **({"weights": self.ema.weights()} if self.ema else {}),
            }
            with self.averaged():
                towers = getattr(self.learner, "towers", None)
                self.checkpoints.save(progress.step, self.recipe, self.learner.state_dict(), state, towers)
            self.checkpoints.mark(progress.best.get("step"), progress.step)

        by_leader(write, self.place)

    def averaged(self) -> AbstractContextManager[None]:
        """Inside the block the learner is what is measured and kept: the running mean, where the recipe wants one."""
        return self.ema.in_place() if self.ema else nullcontext()

    def _loader(self, positions: Mapping[int, Any] | None) -> Loader:
        data = self.recipe.data
        return Loader(
            self.options.data,
            self._of_training(),
            augment=data.augment,
            crop_scale=data.crop_scale,
            interpolation=data.interpolation,
            shuffle_buffer=data.shuffle_buffer,
            samples=data.samples,
            resume=positions,
            weights=self.options.weights,
            look_up=self.signals.give_up,
        )

    def _of_training(self) -> BatchOptions:
        data, place = self.recipe.data, self.place
        wanted = self._batches(data.batch // place.world)
        streams = streams_of(data.batch, data.streams)
        return replace(wanted, rank=place.rank, world_size=place.world, streams=streams)

    def _batches(self, size: int) -> BatchOptions:
        """What training's and validation's batches have in common."""
        recipe, learner = self.recipe, self.learner
        return BatchOptions(
            batch_size=size,
            image_size=learner.image_size,
            context_length=learner.context_length,
            tokenizer=learner.tokenizer,
            concepts=recipe.concepts,
            concepts_per_image=recipe.data.concepts_per_image,
            concept_temperature=recipe.data.concept_temperature,
            whole_lists=learner.takes_lists,
            seed=recipe.seed,
            workers=self.workers,
            pin_memory=self.place.device.type == "cuda",
        )

    def _greeting(self, found: Path | None) -> str:
        count = sum(parameter.numel() for parameter in self.learner.parameters()) / 1e6
        what = f"{self.recipe.learner}, {count:.1f} million parameters, {self.place.world} x {self.place.device.type}"
        what += f", {self.rate.steps:,} steps" + (f", going on from {found}" if found else "")
        costly = made_more_than_once(self.recipe.data.batch, self._of_training().streams, self.place.world)
        return what + (f"\n{costly}" if costly else "")


def due(step: int, every: int | None) -> bool:
    """Whether something that comes every so many steps comes after this one."""
    return every is not None and step % every == 0
