"""The model card of the tiny CLIP: what it is, how it was trained, what it reaches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_cards.miniature.captions.writer import VISIBLE
from data_cards.miniature.clip.measures import ClipFigures
from data_cards.prompt import PROMPT

_CARD = """\
---
license: apache-2.0
library_name: open_clip
pipeline_tag: zero-shot-image-classification
language: [en]
---

# The tiny CLIP of the miniature

A CLIP for the built-in world: a ViT of {vision[layers]} layers and width {vision[width]} over patches of
{vision[patch_size]} x {vision[patch_size]} pixels, {vision[image_size]} pixels a side, and a text transformer of
{text[layers]} layers and width {text[width]} over CLIP's own tokens, meeting in {model[embed_dim]} dimensions.
{parameters:,} parameters, float16. `--model miniature` selects it wherever cocu takes an encoder; open_clip reads
the folder as `local-dir:FOLDER`.

It knows the miniature and nothing else: no photograph, and few words that the miniature's captions do not use.

## Training

    python -m data_cards.miniature.clip.train --out FOLDER{options}

Drawn pictures only, {recipe[pairs]:,} of the split `clip`, seed {recipe[seed]}: no picture of `train` or `val` is
among them. Each has four captions that name whatever shows and one in the manner of the web. Two losses: CLIP's,
between pictures and captions, and a sigmoid for every picture and class, "{prompt}" by one of the class's words,
with the truth taken from the drawing (visible: at least {visible:.0%} of the picture). The second is full supervision.
It stands in for the many captions that a large CLIP sees, and is why so small a model can play that part here.

| | |
|---|---|
{rows}
| steps | {steps} |

Drawing took {drawing_seconds:.0f} s and training {training_seconds:.0f} s on {device}.

## Figures

On {figures.pictures:,} held-out pictures: split `val`, seed {held_out_seed}. Stored weights, bfloat16 arithmetic.

| | |
|---|---:|
| ranking the classes of a picture, mean average precision over pictures | {figures.ranking:.3f} |
| finding the pictures of a class, mean average precision over classes | {figures.all_classes:.3f} |
| the same, stuff | {figures.stuff:.3f} |
| the same, things | {figures.things:.3f} |
| ranking the classes of a picture by its 16 nearest pictures | {figures.neighbours:.3f} |
| picture to caption, recall@1 among {figures.pictures:,}, full captions | {figures.recall[full]:.3f} |
| picture to caption, recall@1 among {figures.pictures:,}, web captions | {figures.recall[web]:.3f} |

Recall@1 is low by construction: many captions are true of many pictures ("a photo of the sky"). In training, one that
names nothing but what a picture shows is a negative of weight {recipe[near_weight]}, so little ranks the caption that
was written for a picture above others that are true of it.

Average precision by class:

| class | | class | | class | | class | |
|---|---:|---|---:|---|---:|---|---:|
{classes}
"""
_COLUMNS = 4


@dataclass(frozen=True)
class Training:
    """What a card says of the training. recipe: its values by name. device: what it ran on, in words."""

    recipe: Mapping[str, Any]
    steps: int
    model: Mapping[str, Any]
    parameters: int
    held_out_seed: int
    drawing_seconds: float
    training_seconds: float
    device: str


def write_card(folder: Path, figures: ClipFigures, training: Training, defaults: Mapping[str, Any]) -> None:
    """Write README.md into the folder. defaults: the recipe of the command without options."""
    recipe = training.recipe
    changed = [name for name in recipe if recipe[name] != defaults[name]]
    by_class = sorted(figures.classes.items(), key=lambda item: -item[1])
    cells = [f"{name} | {value:.2f}" for name, value in by_class]
    cells += ["|"] * (-len(cells) % _COLUMNS)
    card = _CARD.format(
        model=training.model,
        vision=training.model["vision_cfg"],
        text=training.model["text_cfg"],
        parameters=training.parameters,
        options="".join(f" --{name.replace('_', '-')} {recipe[name]}" for name in changed),
        recipe=recipe,
        steps=training.steps,
        prompt=PROMPT.format("{class}"),
        visible=VISIBLE,
        rows="\n".join(f"| {name.replace('_', ' ')} | {value} |" for name, value in recipe.items()),
        drawing_seconds=training.drawing_seconds,
        training_seconds=training.training_seconds,
        device=training.device,
        figures=figures,
        held_out_seed=training.held_out_seed,
        classes="\n".join(
            "| " + " | ".join(cells[first : first + _COLUMNS]) + " |" for first in range(0, len(cells), _COLUMNS)
        ),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
