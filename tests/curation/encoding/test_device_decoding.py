"""What the device decodes is what Pillow gives, nearly; what it must not decode goes Pillow's way.

The device is the CPU here, by the same functions of torchvision; tests/integration/test_on_a_gpu.py takes a GPU.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.speed.tiny_pairs import write_tar
from curation.concepts.extractor import ConceptExtractor
from curation.concepts.noun_phrases import NounOptions
from curation.encoding.device_decoding import DeviceDecoder, is_plain_jpeg
from curation.encoding.encoder import Encoder
from curation.encoding.model_names import EncoderSpec
from curation.index import feed
from curation.index.blocks import Naming
from curation.index.embedding import embed_shard
from curation.index.feed import Feed
from curation.reading.pairs import CaptionOptions
from curation.reading.shards import find_shards
from files.errors import MisuseError
from files.pictures import BadPicture
from tests.tiny_world import make_tiny_clip, pair_members, picture


def jpeg(seed: int, mode: str = "RGB", size: tuple[int, int] = (48, 40), **options: object) -> bytes:
    out = io.BytesIO()
    smooth = Image.open(io.BytesIO(picture(seed, size, "PNG"))).convert(mode)
    smooth.save(out, "JPEG", **options)
    return out.getvalue()


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    model = make_tiny_clip(tmp_path_factory.mktemp("decoding") / "clip")
    encoder = Encoder(EncoderSpec(model, None, "fp32"), "cpu", batch_size=5, workers=2)
    encoder._decoder = DeviceDecoder(encoder.preparation.transform, torch.device("cpu"))
    return encoder


@pytest.mark.parametrize(
    ("data", "plain"),
    [
        (jpeg(1), True),
        (jpeg(1, subsampling=0), True),
        (jpeg(1, subsampling=1), True),
        (jpeg(1, progressive=True), True),
        (jpeg(1, "L"), True),
        (jpeg(1) + bytes(100), True),
        (jpeg(1, "CMYK"), False),
        (jpeg(1)[:-2], False),
        (jpeg(1)[:-60], False),
        (jpeg(1, keep_rgb=True), False),
        (picture(1, form="PNG"), False),
        (picture(1, form="WEBP"), False),
        (jpeg(1, size=(2000, 1001)), False),
    ],
)
def test_what_the_device_may_decode(data: bytes, plain: bool) -> None:
    assert is_plain_jpeg(data, 32) == plain


def test_no_picture_and_one_too_narrow_are_told_at_once() -> None:
    with pytest.raises(BadPicture, match="not in a known format"):
        is_plain_jpeg(b"none", 32)
    with pytest.raises(BadPicture, match="too long and narrow"):
        is_plain_jpeg(jpeg(1, size=(60_000, 1)), 224)


def test_pixels_are_pillows(encoder: Encoder) -> None:
    assert encoder._decoder is not None
    files = [jpeg(seed, size=size) for seed in range(4) for size in ((48, 40), (40, 70))]
    found = encoder._decoder.pixels([np.frombuffer(file, np.uint8).copy() for file in files])
    for one, file in zip(found, files, strict=True):
        expected = encoder.preparation.pixels(file)
        assert isinstance(expected, np.ndarray)
        assert np.abs(one.permute(1, 2, 0).numpy().astype(int) - expected).max() <= 2


def test_preprocessing_that_knows_pictures_alone_is_refused() -> None:
    from torchvision.transforms import ColorJitter, Compose

    with pytest.raises(MisuseError, match=r"--decode gpu: this model's preprocessing \(ColorJitter\)"):
        DeviceDecoder(Compose([ColorJitter()]), torch.device("cpu"))
    with pytest.raises(MisuseError, match="--decode gpu: wants --device cuda"):
        Encoder(EncoderSpec("miniature", None), "cpu", decoder="gpu")


def test_a_shard_is_embedded_alike_and_bad_pictures_are_told(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = bytearray(jpeg(8))
    broken[2:20] = bytes(18)  # before the header, which Pillow finds no more
    amid = jpeg(9)
    amid = amid[:-60] + b"\xff\xc4\x00\x03\x00" + amid[-55:]  # a table of nothing within the scan
    others = {
        "k1.jpg": jpeg(1, "L"),
        "k2.jpg": jpeg(2, "CMYK"),
        "k4.jpg": jpeg(4)[:400],
        "k8.jpg": bytes(broken),
        "k9.jpg": amid,
        "k11.jpg": jpeg(11) + bytes(9),
        "k12.jpg": b"none",
        "k13.jpg": jpeg(13, size=(400, 300), quality=100, subsampling=0),
    }
    members = [(name, others.get(name, data)) for i in range(23) for name, data in pair_members(f"k{i}", i)]
    shard = find_shards([str(write_tar(tmp_path / "a.tar", members))])[0]
    monkeypatch.setattr(feed, "PORTION_PAIRS", 2)  # batches of several portions
    results = {}
    for name, by in (("device", Feed), ("here", None)):
        with ConceptExtractor(NounOptions()) as extractor:
            out = tmp_path / name
            if by is None:
                results[name] = embed_shard(shard, out, encoder, extractor, CaptionOptions())
                continue
            with by([(shard, CaptionOptions())], encoder, Naming(extractor), 2) as fed:
                results[name] = embed_shard(shard, out, encoder, extractor, CaptionOptions(), feed=fed)
    import pyarrow.parquet as pq

    device, here = results["device"], results["here"]
    assert (device.pairs, device.checksum) == (here.pairs, here.checksum)
    assert {r.key for r in here.rejects} >= {"k4", "k8", "k12"}
    assert sorted((r.key, r.reason) for r in device.rejects) == sorted((r.key, r.reason) for r in here.rejects)
    ours, theirs = (pq.read_table(tmp_path / name) for name in ("device", "here"))
    assert ours.select(["key", "caption", "concepts", "text_vec"]).equals(
        theirs.select(["key", "caption", "concepts", "text_vec"])
    )
    vectors = [np.array(table["image_vec"].to_pylist(), np.float32) for table in (ours, theirs)]
    assert (vectors[0] * vectors[1]).sum(1).min() > 0.995


def test_a_broken_picture_costs_its_batch_nothing_else(encoder: Encoder) -> None:
    room = np.zeros((4, 32, 32, 3), np.uint8)
    lengths = np.zeros(4, np.int64)
    for row, data in enumerate([jpeg(1), b"\xff\xd8none\xff\xd9", picture(3, form="PNG"), jpeg(4)]):
        if row == 1:
            room.reshape(4, -1)[row, : len(data)] = np.frombuffer(data, np.uint8)
            lengths[row] = len(data)
        else:
            found = encoder.preparation.pixels_into(room[row], data)
            assert isinstance(found, int)
            lengths[row] = found
    assert (lengths > 0).tolist() == [True, True, False, True]
    begun, bad = encoder.begin_pictures(room, lengths)
    assert list(bad) == [1]
    expected = dict(encoder.encode_pictures([("1", jpeg(1)), ("3", picture(3, form="PNG")), ("4", jpeg(4))]))
    for found, vector in zip(begun.fetch(), expected.values(), strict=True):
        assert isinstance(vector, np.ndarray)
        assert found.astype(np.float32) @ vector.astype(np.float32) > 0.995
