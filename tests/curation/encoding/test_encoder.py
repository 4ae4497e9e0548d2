"""The encoder against open_clip's own calls, on a tiny model that is made on the spot."""

from __future__ import annotations

import io
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from benchmarks.speed.tiny_pairs import caption
from curation.encoding.encoder import Encoder, resolve_device, resolve_precision
from curation.encoding.model_names import EncoderSpec, weights_digest
from files.errors import CocuError, MisuseError
from files.pictures import BadPicture, open_picture
from tests.tiny_world import TINY_CONFIG, make_tiny_clip, picture

TEXTS = [
    "a dog",
    "",
    "two people walk over a very long bridge in the rain while a dog and a cat look on from a boat",
    "word " * 200,
    "café 🐶",
    *[caption(i) for i in range(9)],
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_tiny_clip(tmp_path_factory.mktemp("encoder") / "clip")


@pytest.fixture(scope="module")
def encoder(tiny: str) -> Encoder:
    return Encoder(EncoderSpec(tiny, None, "fp32"), "cpu", batch_size=4, workers=2)


def unit(vectors: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(vectors.float(), dim=-1).numpy()


@pytest.fixture(scope="module")
def oracle(tiny: str) -> tuple[object, object, object]:
    model, _, preprocess = open_clip.create_model_and_transforms(tiny)
    return model.eval(), preprocess, open_clip.get_tokenizer(tiny)


def vectors_of(encoder: Encoder, pictures: list[bytes]) -> np.ndarray:
    found = [vector for _, vector in encoder.encode_pictures((str(i), data) for i, data in enumerate(pictures))]
    return np.stack(found).astype(np.float32)  # type: ignore[arg-type]


def test_pictures_get_open_clips_own_vectors(encoder: Encoder, oracle: tuple) -> None:
    model, preprocess, _ = oracle
    pictures = [picture(i, (33 + i, 60 - i), form) for i, form in enumerate(["JPEG", "PNG", "WEBP"] * 3)]
    with torch.no_grad():
        batch = torch.stack([preprocess(Image.open(io.BytesIO(data)).convert("RGB")) for data in pictures])
        expected = unit(model.encode_image(batch))
    found = vectors_of(encoder, pictures)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-3)


def test_texts_get_open_clips_own_vectors(encoder: Encoder, oracle: tuple) -> None:
    model, _, tokenizer = oracle
    with torch.no_grad():
        expected = unit(model.encode_text(tokenizer(TEXTS)))
    np.testing.assert_allclose(encoder.encode_texts(TEXTS).astype(np.float32), expected, atol=1e-3)
    prompts = encoder.encode_texts(["a photo of a dog", "a photo of a fire truck"])
    np.testing.assert_array_equal(encoder.encode_concepts(["dog", "fire truck"]), prompts)


def test_trimmed_texts_get_the_vectors_of_padded_ones(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    assert encoder._trims
    trimmed = encoder.encode_texts(TEXTS)
    monkeypatch.setattr(encoder, "_trims", False)
    np.testing.assert_allclose(trimmed.astype(np.float32), encoder.encode_texts(TEXTS).astype(np.float32), atol=1e-3)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_order_and_vectors_do_not_hang_on_the_batch_size(encoder: Encoder, tiny: str, batch_size: int) -> None:
    other = Encoder(EncoderSpec(tiny, None, "fp32"), "cpu", batch_size=batch_size, workers=3)
    pictures = [(f"k{i}", picture(i)) for i in range(11)]
    ours, theirs = (list(e.encode_pictures(iter(pictures))) for e in (encoder, other))
    assert [key for key, _ in theirs] == [key for key, _ in pictures]
    for (_, a), (_, b) in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(np.asarray(a, np.float32), np.asarray(b, np.float32), atol=1e-3)
    a, b = (e.encode_texts(TEXTS * 3).astype(np.float32) for e in (encoder, other))
    np.testing.assert_allclose(a, b, atol=1e-3)


def test_bad_pictures_stand_where_they_were(encoder: Encoder) -> None:
    pictures = [picture(i) for i in range(10)]
    pictures[2], pictures[5], pictures[9] = b"", b"no picture", picture(9, (400, 400))[:900]
    found = [vector for _, vector in encoder.encode_pictures((str(i), data) for i, data in enumerate(pictures))]
    assert [i for i, vector in enumerate(found) if isinstance(vector, BadPicture)] == [2, 5, 9]
    good = vectors_of(encoder, [data for i, data in enumerate(pictures) if i not in (2, 5, 9)])
    kept = np.stack([vector for vector in found if not isinstance(vector, BadPicture)]).astype(np.float32)
    np.testing.assert_allclose(kept, good, atol=1e-3)
    assert "truncated" in str(found[9])
    assert list(encoder.encode_pictures(iter([]))) == []


def test_decoding_runs_a_bounded_way_ahead(encoder: Encoder) -> None:
    taken = 0

    def pictures() -> Iterator[tuple[str, bytes]]:
        nonlocal taken
        for i in range(40):
            taken += 1
            yield str(i), picture(i)

    next(encoder.encode_pictures(pictures()))
    assert taken <= 2 * encoder.batch_size


def test_bf16_agrees_with_fp32(encoder: Encoder, tiny: str) -> None:
    rough = Encoder(EncoderSpec(tiny, None, "bf16"), "cpu", batch_size=4)
    pictures = [picture(i) for i in range(6)]
    assert (vectors_of(rough, pictures) * vectors_of(encoder, pictures)).sum(1).min() > 0.995
    a, b = (e.encode_texts(TEXTS).astype(np.float32) for e in (rough, encoder))
    assert (a * b).sum(1).min() > 0.995


def test_a_large_jpeg_is_decoded_small_and_stays_the_same_picture(encoder: Encoder) -> None:
    rng = np.random.default_rng(0)
    fine = rng.integers(0, 256, (37, 50, 3), dtype=np.uint8)
    photo = Image.fromarray(fine).resize((2000, 1480), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    photo.save(out, "JPEG", quality=92)
    small = open_picture(out.getvalue(), 32)
    assert min(small.size) < 300
    assert min(small.size) >= 32
    full = io.BytesIO()
    open_picture(out.getvalue()).save(full, "PNG")
    with_draft, without = vectors_of(encoder, [out.getvalue(), full.getvalue()])
    assert with_draft @ without > 0.99


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)  # type: ignore[arg-type]
    return out.getvalue()


def test_pictures_of_every_mode(encoder: Encoder) -> None:
    colour = Image.open(io.BytesIO(picture(3, form="PNG"))).convert("RGB")
    grey = colour.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    alpha = colour.copy()
    alpha.putalpha(Image.new("L", colour.size, 255))
    seen = {
        "RGBA": saved(alpha, "PNG"),
        "palette": saved(colour.quantize(256), "PNG"),
        "CMYK": saved(colour.convert("CMYK"), "JPEG", quality=95),
        "grey": saved(grey, "PNG"),
        "grey and alpha": saved(grey.convert("LA"), "PNG"),
        "16 bits": saved(deep, "PNG"),
        "1 bit": saved(grey.convert("1"), "PNG"),
    }
    for name, data in seen.items():
        found = np.asarray(open_picture(data), np.float32)
        assert found.shape == (40, 48, 3), name
        if name != "1 bit":
            expected = np.asarray(grey.convert("RGB") if name.startswith(("grey", "16")) else colour, np.float32)
            assert np.abs(found - expected).mean() < 12, name
    assert vectors_of(encoder, list(seen.values())).shape == (len(seen), encoder.dim)


def test_orientation_in_exif_is_left_alone(encoder: Encoder) -> None:
    """As in open_clip's training loader, so that vectors are those the model was trained to give."""
    image = Image.open(io.BytesIO(picture(5, (48, 40)))).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    turned, plain = saved(image, "JPEG", exif=exif), saved(image, "JPEG")
    assert open_picture(turned).size == (48, 40)
    a, b = vectors_of(encoder, [turned, plain])
    np.testing.assert_array_equal(a, b)


def test_the_fingerprint_tells_models_apart(encoder: Encoder, tmp_path: Path) -> None:
    stored = encoder.fingerprint()
    encoder.check_fingerprint(stored, "INDEX")
    other = Encoder(EncoderSpec(make_tiny_clip(tmp_path / "other", seed=1), None, "fp32"), "cpu")
    with pytest.raises(MisuseError, match=r"INDEX was built with another model.*cosine"):
        other.check_fingerprint(stored, "INDEX")
    with pytest.raises(MisuseError, match="has 32 dimensions, the index 8"):
        encoder.check_fingerprint(stored[:8], "INDEX")


def test_a_config_file_with_its_checkpoint(encoder: Encoder, tiny: str, tmp_path: Path) -> None:
    config = tmp_path / "tiny-by-file.json"
    config.write_text(json.dumps(TINY_CONFIG["model_cfg"]))
    weights = Path(tiny.removeprefix("local-dir:")) / "open_clip_model.safetensors"
    by_file = Encoder(EncoderSpec(str(config), str(weights), "fp32"), "cpu")
    np.testing.assert_allclose(
        by_file.encode_texts(TEXTS).astype(np.float32), encoder.encode_texts(TEXTS).astype(np.float32), atol=1e-3
    )
    assert weights_digest(by_file.spec) is not None
    with pytest.raises(MisuseError, match="needs its checkpoint"):
        Encoder(EncoderSpec(str(config), "openai"), "cpu")


def test_the_digest_follows_the_weights(tiny: str, tmp_path: Path) -> None:
    same, other = make_tiny_clip(tmp_path / "same"), make_tiny_clip(tmp_path / "other", seed=1)
    assert weights_digest(EncoderSpec(tiny)) == weights_digest(EncoderSpec(same))
    assert weights_digest(EncoderSpec(tiny)) != weights_digest(EncoderSpec(other))
    assert weights_digest(EncoderSpec("ViT-B-16", "openai")) is None


@pytest.mark.parametrize(
    ("model", "pretrained", "message"),
    [
        ("ViT-B16", "openai", r"knows no such model; near to it: ViT-B-16"),
        ("vit-b/32", "openai", r"knows no such model; near to it: ViT-B-32"),
        ("qqqq", "openai", r"knows no such model$"),
        ("ViT-B-16", "opnai", r"--pretrained opnai: no such file, and no such weights of ViT-B-16; there are openai"),
        ("ViT-B-16", None, "needs --pretrained"),
        ("local-dir:/nowhere", None, "no folder /nowhere"),
        ("nowhere.json", None, "no such file"),
    ],
)
def test_names_that_lead_nowhere(model: str, pretrained: str | None, message: str) -> None:
    with pytest.raises(MisuseError, match=message):
        Encoder(EncoderSpec(model, pretrained), "cpu")


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"no open_clip_config\.json"):
        Encoder(EncoderSpec(f"local-dir:{tmp_path}", None), "cpu")
    (tmp_path / "open_clip_config.json").write_text(json.dumps(TINY_CONFIG))
    with pytest.raises(CocuError, match=r"cannot be loaded(.|\n)*is damaged, incomplete"):
        Encoder(EncoderSpec(f"local-dir:{tmp_path}", None), "cpu")


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights", bytes(range(256)) * 8])
def test_damaged_weights_on_the_disk_are_not_a_matter_of_the_network(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CocuError, match=rf"cannot be loaded(.|\n)*{name}: is damaged, incomplete") as raised:
        Encoder(EncoderSpec("ViT-B-32", str(path)), "cpu")
    assert "network" not in str(raised.value)
    assert "weights_only" not in str(raised.value)


def test_weights_that_cannot_be_fetched_are_given_up_soon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """At the hub's address nobody listens: left to itself, the hub's client tries for a minute."""
    import huggingface_hub.constants

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("curation.encoding.model_names.getproxies", dict)
    with closing(socket.socket()) as held:
        held.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{held.getsockname()[1]}")
        start = time.monotonic()
        with pytest.raises(CocuError, match=r"ViT-B-16 \(laion400m_e31\).*not on this machine.*cannot be reached"):
            Encoder(EncoderSpec("ViT-B-16", "laion400m_e31"), "cpu")
        assert time.monotonic() - start < 40


def test_devices_and_precisions() -> None:
    assert resolve_device("cpu") == "cpu"
    if not torch.cuda.is_available():
        assert resolve_device("auto") == "cpu"
        with pytest.raises(MisuseError, match="--device cuda: no CUDA device"):
            resolve_device("cuda")
    with pytest.raises(MisuseError, match="--device tpu: expected"):
        resolve_device("tpu")
    assert resolve_precision("fp32", "cuda") == "fp32"
    assert resolve_precision("auto", "cuda") == "fp16"
    assert resolve_precision("auto", "cpu") in ("fp32", "bf16")
    with pytest.raises(MisuseError, match="--precision fp8: expected"):
        resolve_precision("fp8", "cpu")
