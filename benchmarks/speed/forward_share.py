"""`cocu index build`, embedding stage: how much of its wall time is the encoder's own forward pass.

    python -m benchmarks.speed.forward_share
    python -m benchmarks.speed.forward_share --model local-dir:FOLDER --shards SHARDS...

The stage reads pairs, decodes pictures, encodes and writes. Its peer is the forward pass alone: the same batches of
pixels and tokens once more through the model, in the same run, with nothing else going on. Noun phrases (spaCy) are
measured apart, as a share of both together. Without --model, an open_clip model of the named size gets random weights:
the time does not depend on them.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.speed.measure import print_table
from curation.concepts.extractor import ConceptExtractor
from curation.concepts.noun_phrases import NounOptions
from curation.encoding.encoder import Encoder
from curation.encoding.model_names import EncoderSpec
from curation.index.embedding import ShardResult, embed_shard
from curation.reading.pairs import CaptionOptions
from curation.reading.shards import Shard, find_shards
from files.tar_headers import tar_member

WORDS = ["dog", "cat", "horse", "boat", "car", "tree", "street", "beach", "bench", "kite", "bus", "bird", "sheep"]


def main(arguments: list[str] | None = None) -> float:
    """Measure and print; returns the share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="ViT-B-16", help="open_clip architecture with random weights")
    parser.add_argument("--model", help="a model with weights, as cocu takes it")
    parser.add_argument("--shards", nargs="+", help="real shards instead of synthetic pictures")
    parser.add_argument("--pairs", type=int, default=128, help="synthetic pairs")
    parser.add_argument("--picture", type=int, nargs=2, default=(640, 480), help="width and height of a picture")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = given.model or random_model(given.size, folder / "model")
        shards = find_shards(given.shards) if given.shards else [synthetic_shard(folder, given.pairs, given.picture)]
        encoder = RecordingEncoder(EncoderSpec(model, None), "auto", given.batch_size, given.workers)
        with ConceptExtractor(NounOptions(), given.workers) as extractor:
            extractor.extract(["a dog on a beach"])
            encoder.replay()  # the first passes of a process are slow
            runs = [one_run(shards, folder / "out.parquet", encoder, extractor) for _ in range(given.repeats)]
    share = statistics.median(run["alone"] / run["stage"] for run in runs)
    run = sorted(runs, key=lambda run: run["alone"] / run["stage"])[len(runs) // 2]
    name = Path(given.model).name if given.model else f"{given.size}, random weights"
    what = "real shards" if given.shards else f"{given.picture[0]} x {given.picture[1]} JPEGs"
    print(f"{name}, {encoder.precision}, {run['pairs']:,} pairs ({what}), {os.cpu_count()} cores")
    rows: list[tuple[str, float, float]] = [
        ("the stage, without noun phrases", run["stage"], 1.0),
        ("forward pass alone, same batches", run["alone"], run["alone"] / run["stage"]),
        ("forward pass inside the stage", run["forward"], run["forward"] / run["stage"]),
        ("reading", run["read"], run["read"] / run["stage"]),
        ("writing", run["write"], run["write"] / run["stage"]),
    ]
    print_table(["part", "seconds", "share"], [[name, f"{s:.2f}", f"{ratio:.1%}"] for name, s, ratio in rows])
    concepts = run["concepts"]
    print(
        f"noun phrases: {concepts:.2f} s, {concepts / (concepts + run['stage']):.1%} of reading, parsing and embedding"
    )
    return share


class RecordingEncoder(Encoder):
    """An encoder that remembers its batches."""

    def __init__(self, *arguments: Any) -> None:
        self.pixels: list[np.ndarray] = []
        self.tokens: list[Any] = []
        super().__init__(*arguments)

    def encode_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """As the encoder's."""
        self.pixels.append(pixels)
        return super().encode_pixels(pixels)

    def _encode_tokens(self, tokens: Any) -> Any:
        self.tokens.append(tokens)
        return super()._encode_tokens(tokens)

    def replay(self) -> float:
        """Seconds that the model takes for all remembered batches; forgets them."""
        pixels, tokens = self.pixels, self.tokens
        start = time.perf_counter()
        for batch in pixels:
            super().encode_pixels(batch)
        for words in tokens:
            super()._encode_tokens(words)
        self.pixels, self.tokens = [], []
        return time.perf_counter() - start


def one_run(shards: list[Shard], out: Path, encoder: RecordingEncoder, extractor: ConceptExtractor) -> dict[str, float]:
    """The stage over the shards, then the forward pass alone over the same batches; seconds."""
    start = time.perf_counter()
    results: list[ShardResult] = [embed_shard(s, out, encoder, extractor, CaptionOptions()) for s in shards]
    wall = time.perf_counter() - start
    found = {name: sum(vars(r.seconds)[name] for r in results) for name in ("concepts", "forward", "read", "write")}
    return found | {
        "stage": wall - found["concepts"],
        "alone": encoder.replay(),
        "pairs": sum(result.pairs for result in results),
    }


def random_model(size: str, folder: Path) -> str:
    """A model of open_clip's architecture `size` with random weights, in its local-dir form."""
    import open_clip
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    model = open_clip.create_model(size)
    config = {"model_cfg": open_clip.get_model_config(size), "preprocess_cfg": model.visual.preprocess_cfg}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"


def synthetic_shard(folder: Path, pairs: int, size: Sequence[int]) -> Shard:
    """A shard of pictures with about the detail, and so the bytes, of photographs."""
    rng = np.random.default_rng(0)
    with (folder / "00000.tar").open("wb") as tar:
        for i in range(pairs):
            coarse = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
            smooth = np.asarray(Image.fromarray(coarse).resize((size[0], size[1]), Image.Resampling.BICUBIC), np.int16)
            noisy = smooth + rng.integers(-12, 13, smooth.shape, dtype=np.int16)
            data = io.BytesIO()
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(data, "JPEG", quality=85)
            first, second, third = rng.choice(WORDS, 3, replace=False)
            text = f"A small {first} stands beside a {second} while a {third} waits on the other side of the road."
            tar.write(tar_member(f"{i:06d}.jpg", data.getvalue()) + tar_member(f"{i:06d}.txt", text.encode()))
        tar.write(bytes(1024))
    return find_shards([str(folder / "00000.tar")])[0]


if __name__ == "__main__":
    main()
