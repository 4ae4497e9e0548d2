"""What a run is told: the recipe, its sections, and which learner it names."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from training.models.learner import LEARNERS, Learner
from training.models.noise import number_draws

ConceptSource = Literal["caption", "curated-top", "curated-cluster", "none"]

Count = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0)]
Tower = Literal["image_tower", "text_tower"]
Part = Literal["image_tower", "text_tower", "head"]


class Section(BaseModel):
    """A part of a recipe: cannot be changed once made, and takes no key that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Data(Section):
    """How batches are made.

    batch: pairs of an optimiser step over all ranks. micro_batch: pairs that a rank sends through the encoders at
    once; null: all of its share of the batch. The loss is that of the whole batch either way
    (training/step/gradient_cache.py). concept_temperature: of the softmaxes of curated-cluster. augment, crop_scale,
    interpolation: training/batches/augment.py. streams: of the order of samples (training/batches/shares.py); as many
    of them as divide both this and the batch. Best a multiple of the number of ranks.
    shuffle_buffer: samples of a stream that are shuffled together. samples: how many the shards hold; null: they are
    counted.
    """

    batch: Count = 4096
    micro_batch: Count | None = None
    concepts_per_image: Count = 3
    concept_temperature: Annotated[float, Field(gt=0)] = 1.0
    augment: Literal["none", "light", "deit"] = "deit"
    crop_scale: tuple[Share, Share] = (0.08, 1.0)
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    streams: Count = 8
    shuffle_buffer: Count = 10000
    samples: Count | None = None


class Loss(Section):
    """The losses.

    kind: which of training/step/losses.py both are. concept_weight: of the multi-label loss over concepts, beside the
    caption loss's 1. mask_duplicates: an equal concept drawn for another picture of the batch is a positive of both,
    not a negative.
    """

    kind: str = "contrastive"
    concept_weight: Rate = 1.0
    mask_duplicates: bool = True


class Optimizer(Section):
    """AdamW, and its rate over the run.

    The three rates are for a batch of `base_batch` and scaled linearly to the batch at hand. clip: largest norm of the
    whole gradient. With `steps` in the recipe the warm-up keeps its share of the run, warmup_epochs / epochs. schedule:
    cosine, or that of GroupViT's release (training/step/schedule.py). decay_scales: weight decay on the logit scales,
    too. rates: by
    what the rate of a part is multiplied (image_tower, text_tower, and head, which is the rest). layer_decay: by what
    it is multiplied for each layer that lies above, in either tower (training/models/layers.py).
    """

    base_lr: Annotated[float, Field(gt=0)] = 1.6e-3
    warmup_lr: Rate = 4e-6
    final_lr: Rate = 4e-5
    base_batch: Count = 4096
    warmup_epochs: Rate = 2.0
    schedule: Literal["cosine", "released"] = "cosine"
    weight_decay: Rate = 0.05
    decay_scales: bool = False
    betas: tuple[Share, Share] = (0.9, 0.999)
    eps: Annotated[float, Field(gt=0)] = 1e-8
    clip: Annotated[float, Field(gt=0)] = 5.0
    rates: dict[Part, Annotated[float, Field(gt=0)]] = {}
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0


class CheckpointRule(Section):
    """When the state is saved, and how many of the last are kept. The best is kept besides.

    every_minutes, every_steps: whichever comes first; null: not by this measure.
    """

    every_minutes: Annotated[float, Field(gt=0)] | None = 10.0
    every_steps: Count | None = None
    keep: Count = 2


class Validation(Section):
    """How the run is measured on the validation shards.

    every_steps: null: after each epoch. batch: pairs among which a caption has to find its picture; the loss is
    comparable between runs of one such batch only. pairs: those looked at, at most; null: all.
    """

    every_steps: Count | None = None
    batch: Count = 256
    pairs: Count | None = None


class Recipe(Section):
    """Everything that shapes the result of a run, apart from the shards themselves.

    concepts: what the second loss aligns pictures with: nouns of the caption (the baseline), the best curated concepts,
    or draws from their clusters; none: there is no second loss. epochs: passes over the shards; steps, if given, is the
    length of the run in their stead. precision: auto is bf16 on a GPU, fp32 on the CPU; fp16 is for GPUs without bf16.
    init: what a new run begins with, a checkpoint or weights of others (training/run/start.py). freeze: towers that
    stay as they are. ema: decay of a running mean of the weights, which then is what is measured and kept
    (training/run/ema.py). checkpoint_activations: layers compute theirs again for the gradient: less memory, more time.
    """

    learner: str
    concepts: ConceptSource
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    epochs: Annotated[float, Field(gt=0)] = 30.0
    steps: Count | None = None
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    init: str | None = None
    freeze: tuple[Tower, ...] = ()
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    checkpoint_activations: bool = False
    log_every: Count = 50
    data: Data = Data()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    checkpoints: CheckpointRule = CheckpointRule()
    validation: Validation = Validation()
    model: Any = None

    # May differ when a run goes on: they shape what is written, not what is learnt.
    FREE: ClassVar[tuple[str, ...]] = ("log_every", "checkpoints", "checkpoint_activations", "data.micro_batch")

    @model_validator(mode="after")
    def _agrees(self) -> Recipe:
        if self.concepts == "none" and getattr(LEARNERS[self.learner].build, "takes_lists", False):
            raise ValueError(f"concepts none: {self.learner} is taught by concepts; give caption or one of the curated")
        if self.optimizer.warmup_epochs >= self.epochs:
            raise ValueError(
                f"optimizer.warmup_epochs {self.optimizer.warmup_epochs:g} leaves nothing of epochs {self.epochs:g}; "
                "give a shorter warm-up"
            )
        if frozen := [part for part in self.freeze if part in self.optimizer.rates]:
            raise ValueError(
                f"optimizer.rates: {frozen[0]} is frozen and so has no rate; take it out here or of freeze"
            )
        if self.data.micro_batch is not None and self.data.micro_batch > self.data.batch:
            raise ValueError(f"data.micro_batch {self.data.micro_batch} is more than data.batch {self.data.batch}")
        return self


@cache
def recipe_kind(learner: str) -> type[Recipe]:
    """The recipe of a learner: its sizes are the section `model`. Raises MisuseError where there is no such learner."""
    config = LEARNERS[learner].config
    fields: dict[str, Any] = {"learner": (Literal[learner], ...), "model": (config, config())}
    return create_model(f"Recipe of {learner}", __base__=Recipe, **fields)


def build_learner(recipe: Recipe) -> Learner:
    """The learner that a recipe names, with fresh weights from torch's global random state."""
    learner = LEARNERS[recipe.learner].build(recipe.model)
    number_draws(learner)
    return learner
