"""Making batches for training, stage by stage and whole, against webdataset with torchvision's ordinary transforms.

    python -m benchmarks.speed.loader_speed                        # synthetic pairs: 500 x 375 pixels, some 45 kB
    python -m benchmarks.speed.loader_speed runs/curated --size 112

Both sides read the same shards and make the same of a pair: DeiT's augmentation, the caption's tokens, and three
concepts drawn, prompted and tokenised. The peer is what one would write first: `webdataset` decodes with Pillow,
torchvision v2's transforms work on the Pillow image, open_clip's tokenizer takes the texts, the DataLoader collates. It
gets RandAugment of our strength: two operations, each applied half the time. CPU seconds of one process are what the
stages and the first ratio count, so that they hold on a busy machine, too; whole loaders are timed by the clock.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset

from benchmarks.speed.measure import print_table
from benchmarks.speed.tiny_pairs import PLACES, THINGS, caption, write_tar
from files.pictures import with_header
from training.batches import augment, concepts
from training.batches.augment import Augmentation
from training.batches.loader import BatchOptions, Loader
from training.batches.pair_maker import ConceptChoice, PairMaker
from training.batches.raw_pairs import read_pair
from training.batches.tokens import Tokenizer
from training.shards.files import ShardFiles
from training.shards.found import find_data
from training.shards.order import Slot
from training.shards.stream import Stream
from training.shards.tar_index import read_members

CONTEXT, CONCEPTS = 77, 3
TURNS = 3
CPU = time.process_time


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Measure and print; returns the ratios and the microseconds of the stages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="*", help="curated shards; none: synthetic ones")
    parser.add_argument("--size", type=int, default=224, help="pixels of a side in training")
    parser.add_argument("--augment", default="deit", choices=augment.LEVELS[1:])
    parser.add_argument("--pairs", type=int, default=600, help="pairs of one repeat in one process")
    parser.add_argument("--workers", type=int, default=2, help="processes of whole loaders; 0: leave these out")
    parser.add_argument("--batch", type=int, default=128, help="pairs of a batch of whole loaders")
    parser.add_argument("--seconds", type=float, default=10, help="that a whole loader is timed for at a turn")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="loader-speed-") as folder:
        names = given.shards or [str(draw_shards(Path(folder)))]
        return measure(names, given)


def measure(names: Sequence[str], given: argparse.Namespace) -> dict[str, float]:
    """All figures on these shards."""
    shards, collections = find_data(names)
    files = ShardFiles(shards)
    stream = Stream(collections, files, Slot(0, 0, 1, window=4096))
    places = stream.take(given.pairs)
    augmentation = Augmentation(given.size, given.augment)
    maker = PairMaker(files, augmentation, ConceptChoice("curated-cluster", CONCEPTS), Tokenizer(CONTEXT), seed=0)
    paths = [files.path(number) for number in range(len(shards))]
    peer = PeerPipeline(paths, given.size, given.augment)

    once = Stages(maker, files, augmentation, places)
    stages: dict[str, list[float]] = {name: [] for name in once.names}
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(given.repeats + 1):  # in turns, so that both meet the same weather
        for name, seconds in once.run().items():
            stages[name].append(seconds / given.pairs)
        ours.append(seconds_of(lambda: [maker[part] for part in np.array_split(places, -(-given.pairs // 27))]))
        theirs.append(seconds_of(lambda: list(islice(peer.pairs(), given.pairs))))
    rows = {name: median(values[1:]) * 1e6 for name, values in stages.items()}
    one, other = (median(values[1:]) / given.pairs * 1e6 for values in (ours, theirs))
    sizes = np.diff(places[:, 2:], axis=1)
    print(
        f"{len(shards)} shards, {sizes.mean() / 1000:.1f} kB a sample; {given.size} px, augment {given.augment}, "
        f"context {CONTEXT}, {CONCEPTS} concepts; medians of {given.repeats} repeats over {given.pairs} pairs"
    )
    print_table(["stage, one process", "CPU µs a pair"], [[name, f"{value:,.1f}"] for name, value in rows.items()])
    table = [["one process, CPU time", f"{1e6 / one:,.0f}", f"{1e6 / other:,.0f}", f"{other / one:.2f} x"]]
    found = {"one process": other / one} | rows
    if given.workers:
        speeds = whole_loaders(names, peer, given)
        table.append(
            [f"loader of {given.workers} workers", *(f"{s:,.0f}" for s in speeds), f"{speeds[0] / speeds[1]:.2f} x"]
        )
        found["whole"] = speeds[0] / speeds[1]
        print(f"{speeds[0] / given.workers:,.0f} pairs/s for each of {given.workers} workers")
    print_table(["pairs/s", "cocu", "webdataset + torchvision", "ratio"], table)
    return found


def seconds_of(call: Callable[[], Any], clock: Callable[[], float] = CPU) -> float:
    """Seconds that a call takes."""
    start = clock()
    call()
    return clock() - start


class Stages:
    """What a worker does for a pair, one stage at a time over the same pairs."""

    names = ("read", "decode", "augment", "parse concepts", "draw concepts", "tokenise")

    def __init__(self, maker: PairMaker, files: ShardFiles, augmentation: Augmentation, places: np.ndarray) -> None:
        self.maker, self.files, self.augmentation, self.places = maker, files, augmentation, places
        self.tokenizer = Tokenizer(CONTEXT)

    def run(self) -> dict[str, float]:
        """CPU seconds of each stage over all pairs."""
        clock = [CPU()]

        def lap() -> None:
            clock.append(CPU())

        members = [read_members(sample)[1] for sample, _ in self.maker._read(self.places) if isinstance(sample, bytes)]
        lap()
        pictures = [with_header(m["jpg"]) for m in members]
        boxes = [self._box(i, picture) for i, picture in enumerate(pictures)]
        for picture, m, box in zip(pictures, members, boxes, strict=True):  # kept, the pixels would cost new pages
            augment._decoded(picture, m["jpg"], min(box[2:]) // self.augmentation.size)
        lap()
        for i, m in enumerate(members):
            self.augmentation(m["jpg"], Random(i))
        lap()
        archives = [read_pair(m, "curated-cluster").archive for m in members]
        lap()
        random = Random(0)
        drawn = [concepts.draw("curated-cluster", a, CONCEPTS, random) for a in archives if a is not None]
        lap()
        for m, names in zip(members, drawn, strict=True):
            rows = np.zeros((1 + CONCEPTS, CONTEXT), np.uint16)
            self.tokenizer.write(rows[0], self.tokenizer.caption(str(m["txt"], "utf-8")))
            for row, name in zip(rows[1:], names, strict=False):
                self.tokenizer.write(row, self.tokenizer.prompted(name, int(random.random() * 80))[0])
        lap()
        read, decode, both, parse, draw, tokenise = np.diff(clock).tolist()
        return dict(zip(self.names, (read, decode, both - decode, parse, draw, tokenise), strict=True))

    def _box(self, i: int, picture: Image.Image) -> augment.Box:
        width, height = picture.size
        return augment.draw_crop(height, width, self.augmentation.crop_scale, Random(i))


class PeerPipeline:
    """webdataset, torchvision v2 on Pillow images, open_clip's tokenizer."""

    def __init__(self, paths: Sequence[str], size: int, level: str) -> None:
        import open_clip
        from torchvision.transforms import InterpolationMode, v2

        fill = [round(255 * mean) for mean in augment.MEAN]
        strong = [
            # Magnitude 9 of 10 is bin 27 of 30.
            v2.RandomApply([v2.RandAugment(1, 27, interpolation=InterpolationMode.BILINEAR, fill=fill)], p=0.5)
            for _ in range(2)
        ]
        self.transform = v2.Compose(
            [
                v2.RandomResizedCrop(size, interpolation=InterpolationMode.BICUBIC),
                v2.RandomHorizontalFlip(),
                *(strong if level == "deit" else []),
                v2.PILToTensor(),
            ]
        )
        self.paths = list(paths)
        self.tokenizer = open_clip.tokenizer.SimpleTokenizer(context_length=CONTEXT)
        self.templates = open_clip.OPENAI_IMAGENET_TEMPLATES

    def pairs(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Pixels and the token ids of caption and concepts, without end."""
        import webdataset

        pipeline = webdataset.WebDataset(self.paths, shardshuffle=False, empty_check=False).shuffle(1000)
        yield from pipeline.decode("pilrgb").map(self.pair).repeat()

    def pair(self, sample: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """One of them."""
        listed = sample["concepts.json"]["concepts"]
        scores = np.array([concept["score"] for concept in listed])
        weights = np.exp(scores - scores.max()) if len(listed) else scores
        count = min(CONCEPTS, len(listed))
        texts = [sample["txt"]]
        if count:
            drawn = np.random.choice(len(listed), count, replace=False, p=weights / weights.sum())
            texts += [self.templates[np.random.randint(80)](listed[i]["concept"]) for i in drawn]
        texts += [sample["txt"]] * (1 + CONCEPTS - len(texts))
        return self.transform(sample["jpg"]), self.tokenizer(texts)


class PeerStream(IterableDataset[Any]):
    """The peer as a data set whose workers all read all shards."""

    def __init__(self, peer: PeerPipeline) -> None:
        self.peer = peer

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        import webdataset

        # Each worker reads everything: what is measured is how fast, not in which order.
        plain = webdataset.SimpleShardList(self.peer.paths)
        pipeline = webdataset.DataPipeline(plain, webdataset.tarfile_to_samples(), webdataset.shuffle(1000))
        while True:
            yield from map(self.peer.pair, webdataset.decode("pilrgb")(iter(pipeline)))


def whole_loaders(names: Sequence[str], peer: PeerPipeline, given: argparse.Namespace) -> tuple[float, float]:
    """Pairs/s of both loaders with worker processes, medians over turns; who waits has its queues full and rests."""
    ours, theirs = [], []
    other = iter(DataLoader(PeerStream(peer), given.batch, num_workers=given.workers))
    with Loader(
        names,
        BatchOptions(
            batch_size=given.batch,
            image_size=given.size,
            concepts="curated-cluster",
            concepts_per_image=CONCEPTS,
            context_length=CONTEXT,
            workers=given.workers,
        ),
        augment=given.augment,
    ) as loader:
        for _ in range(TURNS):
            ours.append(speed(loader, given))
            theirs.append(speed(other, given))
    return median(ours), median(theirs)


def speed(batches: Iterator[Any], given: argparse.Namespace) -> float:
    """Pairs/s over about so many seconds, after what had been read ahead when the clock began."""
    for _ in range(1 + given.workers * 2):
        next(batches)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < given.seconds:
        next(batches)
        count += given.batch
    return count / (time.perf_counter() - start)


def draw_shards(folder: Path, shards: int = 4, pairs: int = 200) -> Path:
    """Curated shards of photograph-like pictures: noise whose spectrum falls as that of photographs does."""
    for shard in range(shards):
        members = []
        for i in range(pairs):
            seed = shard * pairs + i
            key = f"{seed:06d}"
            members += [
                (f"{key}.jpg", photograph(seed)),
                (f"{key}.txt", caption(seed).encode()),
                (f"{key}.concepts.json", archive(seed)),
            ]
        write_tar(folder / f"{shard:05d}.tar", members)
    return folder


def photograph(seed: int, size: tuple[int, int] = (500, 375)) -> bytes:
    """A JPEG of octaves of noise, each half as strong as the one before."""
    rng = np.random.default_rng(seed)
    total = np.zeros((size[1], size[0], 3), np.float32)
    for octave in range(8):
        cells = rng.normal(0, 60 * 0.6**octave, (2 << octave, 2 << octave, 3)).astype(np.float32)
        bands = [np.asarray(Image.fromarray(cells[..., c]).resize(size, Image.Resampling.BICUBIC)) for c in range(3)]
        total += np.stack(bands, -1)
    out = io.BytesIO()
    Image.fromarray((total + 120).clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=88)
    return out.getvalue()


def archive(seed: int) -> bytes:
    """`.concepts.json` of as many concepts and clusters as curation finds on photographs, some 17 in 9."""
    rng = np.random.default_rng(seed)
    names = rng.permutation([*THINGS, *PLACES])[: int(rng.integers(12, 22))].tolist()
    scores = np.sort(rng.uniform(0, 1, len(names)))[::-1].round(5).tolist()
    listed = [
        {"concept": name, "score": score, "cluster": int(rng.integers(0, len(names) // 2)), "in_caption": i < 3}
        for i, (name, score) in enumerate(zip(names, scores, strict=True))
    ]
    return json.dumps({"version": 1, "concepts": listed}).encode()


if __name__ == "__main__":
    main()
