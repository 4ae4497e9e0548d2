"""One pair out of its bytes in a tar, and the arrays of many pairs: what the workers do.

Every random number of a pair comes from a hash of seed, epoch, shard and key, so that it does not matter which worker
makes it, when, or beside which others. A pair that cannot be used is left out and its reason handed on.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from io import FileIO
from itertools import groupby
from random import Random

import numpy as np
import torch
from torch import Tensor

from files.errors import MisuseError
from files.pictures import BadPicture
from files.tar_headers import BrokenTar
from training.batches import concepts
from training.batches.augment import Augmentation
from training.batches.raw_pairs import (
    MAX_SAMPLE_BYTES,
    MODES,
    NO_CONCEPTS,
    BadPair,
    RawPair,
    read_pair,
    with_concepts,
)
from training.batches.tokens import Tokenizer, text_id
from training.shards.files import ShardFiles
from training.shards.order import BESIDE, EPOCH, SHARD, START
from training.shards.tar_index import read_members
from training.shards.weights import PairWeights, is_drawn


@dataclass(frozen=True)
class ConceptChoice:
    """mode: one of MODES. count: texts for each picture. temperature: of curated-cluster's softmaxes.

    whole: the best `count` of each list instead of draws, in one prompt; what is short stays short.
    """

    mode: str = NO_CONCEPTS
    count: int = 3
    temperature: float = 1.0
    whole: bool = False

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise MisuseError(f"concepts: {self.mode}; expected one of {', '.join(MODES)}")
        if self.mode != NO_CONCEPTS and self.count < 1:
            raise MisuseError(f"concepts_per_image: {self.count}; give 1 or more, or concepts: {NO_CONCEPTS}")
        if not self.temperature > 0:
            raise MisuseError(f"concept_temperature: {self.temperature}; give a number above 0")

    @property
    def width(self) -> int:
        """Concept texts of each picture in a batch."""
        return 0 if self.mode == NO_CONCEPTS else self.count


@dataclass(frozen=True)
class Made:
    """The usable pairs among n places, g of them, as they pass from worker to main process.

    pixels uint8 [g, 3, S, S] in shared memory. Small ones, by value: erase int64 [g, 4], captions [g, T], caption_ids
    int64 [g], concepts [g, K, T] (token ids unsigned), concept_ids int64 [g, K], concept_weights float32 [g, K], keys
    (batch.py). seeds: one of each. good: which of the places they are. bad: "shard/key" and reason of the others.
    count: n. not_drawn: how many the weights pass over; unweighted: those of them that have none.
    """

    pixels: Tensor
    erase: np.ndarray
    captions: np.ndarray
    caption_ids: np.ndarray
    concepts: np.ndarray
    concept_ids: np.ndarray
    concept_weights: np.ndarray
    keys: list[str]
    seeds: list[int]
    good: list[int]
    bad: list[tuple[str, str]]
    count: int
    not_drawn: int = 0
    unweighted: int = 0


class PairMaker:
    """Places of samples -> arrays; a data set for torch's DataLoader whose items are whole arrays of places."""

    def __init__(
        self,
        files: ShardFiles,
        augmentation: Augmentation,
        choice: ConceptChoice,
        tokenizer: Tokenizer,
        seed: int,
        weights: PairWeights | None = None,
    ) -> None:
        self._augmentation, self._choice, self._seed, self._weights = augmentation, choice, seed, weights
        self._names = [shard.name for shard in files.shards]
        self._paths = [(files.path(number), files.beside(number)) for number in range(len(files.shards))]
        self._tokenizer = tokenizer

    def __getitem__(self, places: np.ndarray) -> Made:
        """Arrays of the pairs at `places`, int64 [n, 6] (training/shards/order.py)."""
        n, size, tokens = len(places), self._augmentation.size, self._tokenizer.context_length
        width = self._choice.width
        pixels = torch.empty((n, 3, size, size), dtype=torch.uint8)
        erase = np.zeros((n, 4), np.int64)
        captions = np.zeros((n, tokens), self._tokenizer.dtype)
        caption_ids = np.zeros(n, np.int64)
        texts = np.zeros((n, width, tokens), self._tokenizer.dtype)
        ids = np.zeros((n, width), np.int64)
        weights = np.zeros((n, width), np.float32)
        keys: list[str] = []
        good: list[int] = []
        seeds: list[int] = []
        bad: list[tuple[str, str]] = []
        not_drawn = unweighted = 0
        for i, (place, (sample, beside)) in enumerate(zip(places.tolist(), self._read(places), strict=True)):
            shard, epoch = self._names[place[SHARD]], place[EPOCH]
            name, g = shard, len(good)
            try:
                if isinstance(sample, str):
                    raise BadPair(sample)
                key, members = read_members(sample)
                name = f"{shard}/{key}"
                if beside:
                    members = with_concepts(key, members, beside)
                if self._weights is not None:
                    weight = self._weights.of(place[SHARD], key)
                    if weight is None or not is_drawn(weight, self._seed, epoch, name):
                        not_drawn, unweighted = not_drawn + 1, unweighted + (weight is None)
                        continue
                pair = read_pair(members, self._choice.mode)
                seed = blake2b(f"{self._seed}/{epoch}/{name}".encode("utf-8", "replace"), digest_size=24).digest()
                for_image, for_text = (Random(int.from_bytes(part, "little")) for part in (seed[:8], seed[8:16]))
                pixels[g], erase[g] = self._augmentation(pair.image, for_image)
                self._write_texts(pair, for_text, captions[g], texts[g], ids[g], weights[g])
            except (BadPair, BadPicture, BrokenTar) as error:
                bad.append((name, str(error)))
                continue
            caption_ids[g] = text_id("caption", pair.caption)
            good.append(i)
            keys.append(name)
            seeds.append(int.from_bytes(seed[16:], "little") >> 1)
        g = len(good)
        return Made(
            pixels=pixels[:g],
            erase=erase[:g],
            captions=captions[:g],
            caption_ids=caption_ids[:g],
            concepts=texts[:g],
            concept_ids=ids[:g],
            concept_weights=weights[:g],
            keys=keys,
            seeds=seeds,
            good=good,
            bad=bad,
            count=n,
            not_drawn=not_drawn,
            unweighted=unweighted,
        )

    def _read(self, places: np.ndarray) -> Sequence[tuple[bytes | str, bytes | str]]:
        """The bytes of each sample, or why it cannot be read, and of its concepts, if these lie beside it.

        Every shard is opened once, one after the other.
        """
        samples: list[tuple[bytes | str, bytes | str]] = [("", "")] * len(places)
        by_shard = np.argsort(places[:, SHARD], kind="stable").tolist()  # so many may not be open at once
        for shard, together in groupby(by_shard, lambda i: int(places[i, SHARD])):
            some = list(together)
            path, beside = self._paths[shard]
            texts = _read_all(beside, places[some, BESIDE:]) if beside else [""] * len(some)
            for i, *found in zip(some, _read_all(path, places[some, START:BESIDE]), texts, strict=True):
                samples[i] = found[0], found[1]
        return samples

    def _write_texts(
        self,
        pair: RawPair,
        random: Random,
        caption: np.ndarray,
        texts: np.ndarray,
        ids: np.ndarray,
        weights: np.ndarray,
    ) -> None:
        """Put token ids and identities into rows of zeros: caption [T], texts [K, T], ids [K]; weights [K] of lists."""
        tokenizer, choice = self._tokenizer, self._choice
        caption_tokens = tokenizer.caption(pair.caption)
        tokenizer.write(caption, caption_tokens)
        if pair.archive is None:
            return
        if choice.whole:
            for k, (concept, weights[k]) in enumerate(concepts.listed(choice.mode, pair.archive, choice.count)):
                tokens, ids[k] = tokenizer.prompted(concept, tokenizer.plain)
                tokenizer.write(texts[k], tokens)
            texts[weights == 0] = texts[0] if weights[0] else caption  # of no weight, but a text
            return
        drawn = concepts.draw(choice.mode, pair.archive, choice.count, random, choice.temperature)
        for k, concept in enumerate(drawn):
            tokens, ids[k] = tokenizer.prompted(concept, int(random.random() * len(tokenizer.templates)))
            tokenizer.write(texts[k], tokens)
        for k in range(len(drawn), choice.count):  # PAPER: short archives are filled with the caption
            texts[k], ids[k] = caption, text_id("caption", pair.caption)


def _read_all(path: str, spans: np.ndarray) -> list[bytes | str]:
    try:
        with FileIO(path) as file:
            return [_read_at(file, start, stop) for start, stop in spans.tolist()]
    except OSError as error:
        return [f"cannot be read: {error.strerror or error}"] * len(spans)


def _read_at(file: FileIO, start: int, stop: int) -> bytes | str:
    if stop - start > MAX_SAMPLE_BYTES:
        return f"oversized sample: {stop - start:,} bytes, the limit is {MAX_SAMPLE_BYTES:,}"
    try:
        return os.pread(file.fileno(), stop - start, start)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
