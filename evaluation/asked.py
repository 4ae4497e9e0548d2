"""An evaluation as a person asks for it, in words and numbers, checked before anything heavy is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evaluation.evaluate import Evaluated


def evaluate_as_asked(
    checkpoint: Any,
    benchmark: Any,
    out: Any,
    *,
    split: str | None,
    limit: int | None,
    device: str,
    gpus: int | None,
    engine: str,
    address: str | None,
    precision: Any,
    batch_size: int,
    windows: int,
    workers: int,
    protocol: Any,
    templates: Any,
    prompts: Any,
    background_words: str | Sequence[str] | None,
    vocabulary: Any,
    distractors: int,
    as_released: bool,
    sweep_background: bool,
    skip_bad: bool,
    gallery: int,
    overwrite: bool,
    trust_remote_code: bool,
    tokenizer: Any,
    dense: str | None,
    dense_pictures: Any,
    part: str | None,
    quiet: bool,
    command: Sequence[str],
) -> Evaluated:
    """As `cocu.evaluate` has it."""
    from data_cards.cards import benchmarks_of

    wanted = benchmarks_of(benchmark)  # told before PyTorch is loaded
    from evaluation.evaluate import EvaluateOptions, evaluate_checkpoint
    from evaluation.labels.inference import Rules
    from evaluation.parts import parse_eval_part
    from evaluation.ranks import by_ranks, wanted_ranks
    from evaluation.setting import Wording
    from files.engines import RAY, check_engine
    from files.errors import MisuseError, check_numbers

    check_numbers(1, limit=limit, batch_size=batch_size, windows=windows, workers=workers, gpus=gpus)
    check_numbers(0, gallery=gallery, distractors=distractors)
    named = getattr(checkpoint, "best", checkpoint)
    if named is None:
        raise MisuseError(f"{checkpoint}: ended before its first checkpoint; train it on by the same call")
    if isinstance(background_words, str) and background_words != "auto":
        background_words = [word.strip() for word in background_words.split(",")]
    index, pictures = (None if one is None else Path(getattr(one, "path", one)) for one in (vocabulary, dense_pictures))
    words: Any = None if background_words is None else background_words
    wording = Wording(protocol, templates, prompts, words, index, distractors)
    shown = (gallery, Rules(windows_at_once=windows, as_released=as_released), wording)
    options = EvaluateOptions(split, limit, batch_size, workers, skip_bad, sweep_background, *shown)
    told = (Path(out), options, device, precision, command, overwrite, trust_remote_code, dense)
    measure = partial(evaluate_checkpoint, str(named), wanted, *told, pictures, parse_eval_part(part))
    check_engine(engine, address)
    if engine == RAY:
        from evaluation.ray_ranks import by_ray

        return by_ray(measure, device, gpus, address, tokenizer, quiet)
    return by_ranks(wanted_ranks(device, gpus), measure, tokenizer, quiet)
