"""What share of the time the GPU computes while pairs are embedded, and by what it is fed: pairs/s of the whole stage.

    python -m benchmarks.speed.gpu_share --workers 16
    python -m benchmarks.speed.gpu_share --models ViT-L-14 --decoders cpu --workers 4 8 16

The stage is that of `cocu index build --device cuda`; its peer is the towers alone, on pixels that are on the device
already. Weights are random, which costs the same; pictures are drawn. Counted from when all workers are at work
to the last vector: the share is the device's own clock over the wall's.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from benchmarks.speed.feed import BEGINNING, KINDS, draw_shards
from benchmarks.speed.measure import print_table
from curation.concepts.extractor import ConceptExtractor
from curation.concepts.noun_phrases import NounOptions
from curation.encoding.encoder import Encoder
from curation.encoding.model_names import EncoderSpec
from curation.encoding.prepared import OnDevice
from curation.index.blocks import Naming
from curation.index.embedding import embed_shard
from curation.index.feed import Feed
from curation.reading.pairs import CaptionOptions, Pair
from curation.reading.shards import Shard, find_shards, read_pairs
from files.errors import MisuseError

MODELS = {"ViT-B-16": 24_000, "ViT-L-14": 12_000}  # with pairs that are embedded
ALONE = 20  # batches
SAMPLE = 64  # pictures that are compared


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="open_clip's names")
    parser.add_argument("--pairs", type=int, help="the most that are embedded; by default some seconds' worth")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--workers", type=int, nargs="+", default=[16])
    parser.add_argument("--decoders", nargs="+", default=["cpu", "gpu"])
    parser.add_argument("--kinds", nargs="+", default=[f"{w}x{h}" for w, h in KINDS])
    given = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        raise MisuseError("gpu_share: wants a GPU")
    most = given.pairs or max(MODELS.get(model, 12_000) for model in given.models)
    rows = []
    with tempfile.TemporaryDirectory(prefix="gpu-share-") as temporary:
        kinds = {}
        for sides, size in KINDS.items():
            if (name := f"{sides[0]}x{sides[1]}") in given.kinds:
                draw_shards(Path(temporary) / name, most, sides, size)
                kinds[name] = find_shards([str(Path(temporary) / name)])
        for model in given.models:
            spec = EncoderSpec(write_random(model, Path(temporary) / model), None)
            for decoder in given.decoders:
                encoder = Counting(spec, "cuda", given.batch_size, 1, decoder)
                alone = towers_alone(encoder)
                for name, shards in kinds.items():
                    nearest = agreement(encoder, shards[0])
                    chosen = shards if given.pairs or MODELS.get(model, 0) == most else shards[:2]
                    for workers in given.workers:
                        speed, share = one_run(chosen, encoder, workers, Path(temporary) / "out.parquet")
                        figures = [f"{alone:,.0f}", f"{speed:,.0f}", f"{speed / alone:.0%}", f"{share:.0%}"]
                        rows.append([model, name, decoder, f"{workers}", *figures, nearest])
                        print("  ".join(rows[-1]), flush=True)
    print(f"{torch.cuda.get_device_name()}; torch {torch.__version__}; batches of {given.batch_size}")
    head = ["model", "pictures", "decoded on", "workers", "towers alone, pairs/s", "the stage", "of it", "GPU computes"]
    print_table([*head, "cosine to Pillow's, mean and least"], rows)


def write_random(model: str, folder: Path) -> str:
    """The model with random weights, as a folder that `--model` takes."""
    import open_clip
    from safetensors.torch import save_file

    folder.mkdir()
    torch.manual_seed(0)
    made = open_clip.create_model(model)
    preprocessing = {"mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD)}
    described = {"model_cfg": open_clip.get_model_config(model), "preprocess_cfg": preprocessing}
    (folder / "open_clip_config.json").write_text(json.dumps(described))
    save_file({k: v.contiguous() for k, v in made.state_dict().items()}, folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"


def towers_alone(encoder: Encoder) -> float:
    """Pairs/s with nothing to wait for: a batch of pixels after the other, and their texts."""
    batch, side = encoder.batch_size, encoder.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), np.uint8)
    levels = encoder._on_device(pixels)
    tokens = encoder.preparation.tokens([f"a dog runs over the green grass in the park {i}" for i in range(batch)])
    for count in (3, ALONE):
        torch.cuda.synchronize()
        start = time.perf_counter()
        begun = [one for _ in range(count) for one in (encoder._begin_levels(levels), encoder.begin_tokens(tokens))]
        torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        del begun
    return ALONE * batch / seconds


class Counting(Encoder):
    """Keeps what is begun while it counts, whose vectors know the device's time."""

    counts = False

    def reset(self, counts: bool) -> None:
        """Forget what was begun, and keep from now on, or no longer."""
        self.counts, self.begun = counts, list[OnDevice]()

    def _begin_levels(self, levels: torch.Tensor) -> OnDevice:
        return self._kept(super()._begin_levels(levels))

    def begin_tokens(self, tokens: np.ndarray) -> OnDevice:
        """As in `Encoder`."""
        return self._kept(super().begin_tokens(tokens))

    def _kept(self, begun: OnDevice) -> OnDevice:
        if self.counts:
            self.begun.append(begun)
        return begun


def one_run(shards: Sequence[Shard], encoder: Counting, workers: int, out: Path) -> tuple[float, float]:
    """Pairs/s, and the share of time that the device computes."""
    tasks = [(shard, CaptionOptions()) for shard in shards]
    with ConceptExtractor(NounOptions()) as extractor, Feed(tasks, encoder, Naming(extractor), workers) as feed:
        skipped, calls, counted, start = BEGINNING * workers, 0, 0, 0.0

        def advance(pairs: int, weight: float) -> None:
            nonlocal calls, counted, start
            calls += 1
            counted += pairs if calls > skipped else 0
            if calls == skipped:
                torch.cuda.synchronize()
                encoder.reset(counts=True)
                start = time.perf_counter()

        for shard in shards:
            embed_shard(shard, out, encoder, extractor, CaptionOptions(), None, advance, feed)
        torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    computed = sum(one.seconds() for one in encoder.begun)
    encoder.reset(counts=False)
    return counted / seconds, computed / seconds


def agreement(encoder: Encoder, shard: Shard) -> str:
    """How near vectors of pictures that the device decodes are to those of Pillow's pixels."""
    if not encoder.preparation.device_decodes:
        return ""
    read = islice(read_pairs(shard, CaptionOptions()), SAMPLE)
    files = [pair.image for pair in read if isinstance(pair, Pair)]
    room = np.zeros((2, len(files), encoder.image_size, encoder.image_size, 3), np.uint8)
    lengths = np.array([encoder.preparation.pixels_into(row, data) for row, data in zip(room[0], files, strict=True)])
    for row, data in zip(room[1], files, strict=True):
        row[:] = encoder.preparation.pixels(data)
    one, other = encoder.begin_pictures(room[0], lengths)[0].fetch(), encoder.encode_pixels(room[1])
    cosines = (one.astype(np.float64) * other.astype(np.float64)).sum(1)
    return f"{cosines.mean():.4f}, {cosines.min():.4f} ({np.count_nonzero(lengths)} of {len(files)})"


if __name__ == "__main__":
    main()
