"""Heat maps of concepts: the same as those of the evaluator's model, and of things where they are."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from curation.encoding.dense import DenseEncoder
from curation.encoding.encoder import Encoder
from curation.encoding.model_names import EncoderSpec
from curation.ranking.localisation import enlarged
from data_cards.cards import read_card
from data_cards.miniature.pairs import draw_pair
from evaluation.models.segmenters import load_segmenter
from files.errors import MisuseError
from files.pictures import BadPicture
from tests.tiny_world import make_tiny_clip, picture


@pytest.fixture(scope="module")
def encoder() -> DenseEncoder:
    return DenseEncoder(Encoder(EncoderSpec("miniature", precision="fp32"), "cpu"))


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def test_heat_is_the_cosine_with_each_cell_of_the_whole_picture(tmp_path: Path) -> None:
    model = make_tiny_clip(tmp_path / "model")
    dense = DenseEncoder(Encoder(EncoderSpec(model, precision="fp32"), "cpu"))
    assert dense.side == 48
    texts = dense.encoder.encode_concepts(["dog", "sky", "tree"]).astype(np.float32)
    good, bad, other = dense.decode([picture(0), b"no picture", picture(1, (20, 90))])
    assert isinstance(bad, BadPicture)
    assert not isinstance(good, BadPicture)
    assert not isinstance(other, BadPicture)
    first, second = dense.heat(np.stack([good, other]), [texts, texts[:0]])
    assert (first.shape, second.shape) == ((3, 3, 3), (0, 3, 3))
    segmenter = load_segmenter(model, dense="maskclip")
    pixels = (torch.tensor(good).permute(2, 0, 1)[None] / 255 - 0.5) / 0.5
    cells = segmenter.dense(pixels).vectors[0].numpy()
    np.testing.assert_allclose(first, (texts @ cells.T).reshape(3, 3, 3), atol=2e-3)


def test_things_light_up_where_they_are(encoder: DenseEncoder) -> None:
    """The picture's centre lies in the class in 18 % of them."""
    names = [one.name for one in read_card("miniature").classes]
    texts = encoder.encoder.encode_concepts(names).astype(np.float32)
    pairs = [draw_pair("val", 5, index) for index in range(24)]
    pixels = [one for one in encoder.decode([png(pair.image) for pair in pairs]) if not isinstance(one, BadPicture)]
    hits = []
    for pair, heat in zip(pairs, encoder.heat(np.stack(pixels), [texts] * len(pairs)), strict=True):
        for number in np.unique(pair.mask):
            if number < len(names) and (pair.mask == number).mean() > 0.01:
                fine = enlarged(heat[number : number + 1])[0]
                y, x = np.unravel_index(fine.argmax(), fine.shape)
                scale = len(pair.mask) / len(fine)
                hits.append(pair.mask[int((y + 0.5) * scale), int((x + 0.5) * scale)] == number)
    assert np.mean(hits) > 0.45


def test_a_tower_without_dense_features_is_refused_with_those_that_have_them(
    encoder: DenseEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder.encoder.model.visual, "pool_type", "none")
    with pytest.raises(MisuseError, match=r"--localise: miniature: an image tower .* give a ViT with pooling by class"):
        DenseEncoder(encoder.encoder)
