"""Augmentation: each operation against timm's, each distribution against torchvision's, decoding against Pillow's."""

import contextlib
import io
import math
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import ks_2samp
from timm.data import auto_augment as timm
from torch import Tensor
from torchvision.transforms import v2

from files.errors import MisuseError
from files.pictures import MEAN, STD
from tests.examples import examples
from tests.tiny_world import picture, png_bomb
from training.batches import augment
from training.batches.augment import Augmentation, BadPicture, draw_crop, draw_erasing, finish, rand_augment

LEAST_P = 1e-4


def photo(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """Smooth shapes with some texture."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(20, 236, (6, 6, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    return Image.fromarray((np.asarray(coarse) * 0.9 + rng.integers(0, 20, (size[1], size[0], 3))).astype(np.uint8))


def file(image: Image.Image, form: str = "JPEG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def difference(a: Tensor, b: Tensor) -> float:
    return float((a.int() - b.int()).abs().float().mean())


# --- RandAugment ---

# Operation by its place in ours: timm's name; how far pixels may differ on average, for rounding and interpolation.
SAME = [
    *[("AutoContrast", 0.05), ("Equalize", 0), ("Invert", 0), ("Rotate", 1.0), ("PosterizeIncreasing", 0)],
    *[("SolarizeIncreasing", 0), ("SolarizeAdd", 0), ("ColorIncreasing", 0.6), ("ContrastIncreasing", 0.9)],
    *[("BrightnessIncreasing", 0), ("SharpnessIncreasing", 0), ("ShearX", 1.0), ("ShearY", 1.0)],
    *[("TranslateXRel", 1.0), ("TranslateYRel", 2.5)],  # by whole pixels
]


@pytest.mark.parametrize("magnitude", [0.9, 0.83])
@pytest.mark.parametrize(("number", "name", "tolerance"), [(i, *of) for i, of in enumerate(SAME)])
def test_operations_are_those_of_timm(number: int, name: str, tolerance: float, magnitude: float) -> None:
    image = photo((96, 80), seed=number)
    found = {s: augment._OPERATIONS[number](tensor(image), magnitude, s) for s in (1.0, -1.0)}
    level = timm.LEVEL_TO_ARG[name]
    theirs = []
    for _ in range(64):  # timm draws the sign itself, so that either comes up
        args = level(10 * magnitude, {}) if level else ()
        options = {"fillcolor": tuple(augment._FILL), "resample": Image.Resampling.BILINEAR}
        theirs.append(tensor(timm.NAME_TO_OP[name](image, *args, **options)))
    for pixels in found.values():
        assert pixels.shape == (3, 80, 96)
        assert pixels.dtype == torch.uint8
        assert min(difference(pixels, other) for other in theirs) <= tolerance
        assert difference(pixels, tensor(image)) > max(2, 3 * tolerance)  # it does something
    assert len(SAME) == len(augment._OPERATIONS)


def test_each_operation_is_applied_half_the_time() -> None:
    pixels = tensor(photo((32, 32)))
    same = [torch.equal(rand_augment(pixels, Random(i)), pixels) for i in range(4000)]
    assert np.mean(same) == pytest.approx(0.25, abs=0.03)


def test_operations_follow_each_other_and_all_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[int, float, float]] = []

    def noting(number: int) -> object:
        def operation(pixels: Tensor, magnitude: float, sign: float) -> Tensor:
            drawn.append((number, magnitude, sign))
            return pixels + 1

        return operation

    monkeypatch.setattr(augment, "_OPERATIONS", tuple(noting(i) for i in range(15)))
    added = [int(rand_augment(torch.zeros(3, 2, 2, dtype=torch.uint8), Random(i))[0, 0, 0]) for i in range(6000)]
    np.testing.assert_allclose(np.bincount(added) / 6000, [0.25, 0.5, 0.25], atol=0.03)
    numbers, magnitudes, signs = map(np.array, zip(*drawn, strict=True))
    np.testing.assert_allclose(np.bincount(numbers) / len(numbers), 1 / 15, atol=0.015)
    assert abs(signs.mean()) < 0.05
    rng = np.random.default_rng(0)
    assert ks_2samp(magnitudes, rng.normal(9, 0.5, 6000).clip(0, 10) / 10).pvalue > LEAST_P


# --- crops and rectangles ---


@pytest.mark.parametrize(
    ("size", "scale"), [((300, 200), (0.08, 1.0)), ((90, 400), (0.5, 1.0)), ((64, 64), (0.08, 0.3))]
)
def test_crops_are_distributed_as_torchvisions(size: tuple[int, int], scale: tuple[float, float]) -> None:
    height, width = size
    theirs = v2.RandomResizedCrop(10, scale=scale)
    image = torch.zeros(3, height, width)
    torch.manual_seed(0)
    made = [theirs.make_params([image]) for _ in range(4000)]
    expected = np.array([[m["top"], m["left"], m["height"], m["width"]] for m in made])
    random = Random(0)
    found = np.array([draw_crop(height, width, scale, random) for _ in range(4000)])
    for column in range(4):
        assert ks_2samp(found[:, column], expected[:, column]).pvalue > LEAST_P
    assert ks_2samp(found[:, 2] * found[:, 3], expected[:, 2] * expected[:, 3]).pvalue > LEAST_P


@given(st.integers(1, 3000), st.integers(1, 3000), st.floats(0.01, 1), st.integers(0, 99))
def test_crops_lie_inside_of_any_picture(height: int, width: int, low: float, seed: int) -> None:
    for top, left, tall, wide in (draw_crop(height, width, (low, 1.0), Random(seed)), augment.centre(height, width)):
        assert tall >= 1
        assert wide >= 1
        assert 0 <= top <= height - tall
        assert 0 <= left <= width - wide


def test_rectangles_are_distributed_as_torchvisions() -> None:
    theirs = v2.RandomErasing(p=1, scale=augment.ERASE_AREA, ratio=augment.ERASE_RATIO)
    torch.manual_seed(0)
    made = [theirs.make_params([torch.zeros(3, 64, 64)]) for _ in range(3000)]
    expected = np.array([[m["i"], m["j"], m["h"], m["w"]] for m in made])
    random = Random(0)
    drawn = [draw_erasing(64, random) for _ in range(12_000)]
    found = np.array([box for box in drawn if box[2]])
    assert len(found) / len(drawn) == pytest.approx(0.25, abs=0.02)
    for column in range(4):
        assert ks_2samp(found[:, column], expected[:, column]).pvalue > LEAST_P


# --- what is made of a file ---


def test_the_seed_decides_all_and_nothing_else_does() -> None:
    data, make = file(photo((150, 100))), Augmentation(48)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = [make(data, Random(i)) for i in range(30)]
    assert torch.equal(torch.get_rng_state(), state)  # the model's randomness is its own
    torch.manual_seed(99)
    again = [make(data, Random(i)) for i in reversed(range(30))][::-1]
    for (pixels, box), (same, same_box) in zip(first, again, strict=True):
        assert torch.equal(pixels, same)
        assert box == same_box
    assert len({pixels.numpy().tobytes() for pixels, _ in first}) == 30


def test_without_augmentation_it_is_torchvisions_resize_and_centre_crop() -> None:
    for size in [(150, 100), (60, 200), (48, 48), (30, 40)]:
        image = photo(size)
        pixels, box = Augmentation(48, "none")(file(image, "PNG"), Random(0))
        theirs = v2.Compose([v2.CenterCrop(min(size)), v2.Resize(48, v2.InterpolationMode.BICUBIC, antialias=True)])
        assert difference(pixels, tensor(theirs(image))) < 0.6
        assert box == (0, 0, 0, 0)


def test_light_flips_half_of_the_time_and_only_crops_besides() -> None:
    image = photo((64, 64))
    make, data = Augmentation(64, "light", (1.0, 1.0)), file(image, "PNG")
    kinds = []
    for i in range(400):
        pixels, box = make(data, Random(i))
        flipped = difference(pixels, tensor(image).flip(2)) < difference(pixels, tensor(image))
        kinds.append(flipped)
        assert box == (0, 0, 0, 0)
    assert np.mean(kinds) == pytest.approx(0.5, abs=0.1)


def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = file(photo((1600, 1200)), quality=95)
    small = [Augmentation(64, "light")(data, Random(i))[0] for i in range(12)]
    shrinks = []
    whole = augment._decoded

    def never_smaller(image: Image.Image, data: bytes, shrink: int) -> Tensor:
        shrinks.append(shrink)
        return whole(image, data, 1)

    monkeypatch.setattr(augment, "_decoded", never_smaller)
    full = [Augmentation(64, "light")(data, Random(i))[0] for i in range(12)]
    assert max(shrinks) >= 8
    assert max(difference(a, b) for a, b in zip(small, full, strict=True)) < 2


@pytest.mark.parametrize(
    ("form", "mode", "options"),
    [
        *[("JPEG", mode, {"quality": 95}) for mode in ("RGB", "L", "CMYK")],
        ("JPEG", "RGB", {"progressive": True, "quality": 95}),
        *[("PNG", mode, {}) for mode in ("RGB", "RGBA", "LA", "L", "P", "1", "I;16")],
        ("WEBP", "RGB", {"lossless": True}),
        ("GIF", "P", {}),
        ("BMP", "RGB", {}),
    ],
)
def test_pictures_of_all_kinds_are_read(form: str, mode: str, options: dict[str, object]) -> None:
    image = photo((40, 40))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) << 8)
    elif mode in ("P", "1"):
        image = image.quantize(64) if mode == "P" else image.convert("1")
    else:
        image = image.convert(mode)
    data = file(image, form, **options)
    pixels, _ = Augmentation(40, "none")(data, Random(0))
    shown = Image.open(io.BytesIO(data))
    if mode == "I;16":
        shown = Image.fromarray((np.asarray(shown) >> 8).astype(np.uint8))
    assert difference(pixels, tensor(shown.convert("RGBA").convert("RGB"))) < 0.1


GOOD = picture(0, (120, 90))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not in a known format"),
        (b"\xff\xd8\xff", "unreadable|not in a known format"),
        (b"<html>not found</html>", "not in a known format"),
        (GOOD[: len(GOOD) // 2], "truncated picture"),
        (GOOD[:-30], "truncated picture"),
        (picture(0, (120, 90), "PNG")[:-100], "truncated picture"),
        (png_bomb(60_000, 60_000), "oversized picture"),
        (file(photo((8, 8)), "PPM"), "not in a known format"),
    ],
)
@pytest.mark.parametrize("level", augment.LEVELS)
def test_bad_pictures_are_refused_with_the_reason(data: bytes, reason: str, level: str) -> None:
    with pytest.raises(BadPicture, match=reason):
        Augmentation(32, level)(data, Random(0))


@examples(150)
@given(st.data())
def test_damage_gives_a_picture_or_a_reason(data: st.DataObject) -> None:
    damaged = bytearray(data.draw(st.sampled_from([GOOD, picture(1, (50, 60), "PNG"), picture(2, (50, 60), "WEBP")])))
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=8)):
        damaged[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadPicture):
        pixels, _ = Augmentation(32, "light")(bytes(damaged), Random(0))
        assert pixels.shape == (3, 32, 32)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 2)])
def test_tiny_and_narrow_pictures_are_enlarged(size: tuple[int, int]) -> None:
    for level in augment.LEVELS:
        for form in ("PNG", "JPEG"):
            pixels, _ = Augmentation(32, level)(file(photo(size), form), Random(1))
            assert pixels.shape == (3, 32, 32)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(MisuseError, match="augment: heavy; expected one of none, light, deit"):
        Augmentation(32, "heavy")
    for scale in [(0.0, 1.0), (0.5, 0.4), (0.5, 1.1), (math.nan, 1.0)]:
        with pytest.raises(MisuseError, match="crop_scale"):
            Augmentation(32, crop_scale=scale)


# --- on the device ---


def test_finish_normalises_as_torchvision_does() -> None:
    pixels = torch.randint(0, 256, (4, 3, 16, 12), dtype=torch.uint8)
    expected = v2.functional.normalize(pixels / 255, list(MEAN), list(STD))
    torch.testing.assert_close(finish(pixels), expected, rtol=0, atol=1e-5)
    nothing = torch.zeros(4, 4, dtype=torch.int64)
    assert torch.equal(finish(pixels, nothing, torch.arange(4)), finish(pixels))


def test_finish_fills_rectangles_with_normal_noise_and_leaves_the_rest() -> None:
    pixels = torch.full((3, 3, 64, 48), 200, dtype=torch.uint8)
    erase = torch.tensor([[5, 7, 50, 30], [0, 0, 0, 0], [60, 40, 4, 8]])
    plain, found = finish(pixels), finish(pixels, erase, torch.tensor([7, 8, 9]))
    inside = torch.zeros(3, 1, 64, 48, dtype=torch.bool)
    inside[0, :, 5:55, 7:37] = True
    inside[2, :, 60:64, 40:48] = True
    inside = inside.expand_as(plain)
    assert torch.equal(found[~inside], plain[~inside])
    noise = found[inside]
    assert noise.unique().numel() > 0.99 * noise.numel()  # each pixel and channel its own
    assert abs(float(noise.mean())) < 0.08
    assert float(noise.std()) == pytest.approx(1, abs=0.05)
    assert torch.equal(finish(pixels, erase, torch.tensor([7, 8, 9])), found)
    assert not torch.equal(finish(pixels, erase, torch.tensor([8, 8, 9])), found)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_the_crop_is_resized_as_asked(interpolation: str) -> None:
    picture = photo((90, 70), 3)
    data = io.BytesIO()
    picture.save(data, "PNG")
    pixels, _ = Augmentation(32, "light", interpolation=interpolation)(data.getvalue(), Random(5))
    random = Random(5)
    top, left, tall, wide = draw_crop(70, 90, (0.08, 1.0), random)
    kind = Image.Resampling[interpolation.upper()]
    expected = picture.crop((left, top, left + wide, top + tall)).resize((32, 32), kind)
    flipped = expected.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else expected
    found, wanted = pixels.permute(1, 2, 0).numpy().astype(int), np.asarray(flipped).astype(int)
    assert abs(found - wanted).max() <= 1
