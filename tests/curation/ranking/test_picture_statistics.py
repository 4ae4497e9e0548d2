"""Mean, deviation and z of similarities against all products, one by one."""

import numpy as np

from curation.ranking.picture_statistics import PictureStatistics
from tests.curation.small_index import small_index


def test_statistics_are_those_of_all_products() -> None:
    rng = np.random.default_rng(1)
    concepts, pictures = rng.standard_normal((9, 16)).astype(np.float32), rng.standard_normal((300, 16))
    statistics = PictureStatistics(concepts, pictures.astype(np.float16))
    products = pictures.astype(np.float16).astype(np.float64) @ concepts.T
    np.testing.assert_allclose(statistics.centre, products.mean(0), atol=1e-3)
    np.testing.assert_allclose(statistics.spread, products.std(0, ddof=1), rtol=1e-2)
    mean, covariance = statistics.moments
    np.testing.assert_allclose(mean, pictures.mean(0), atol=1e-3)
    np.testing.assert_allclose(covariance, np.cov(pictures.T), atol=1e-2)


def test_z_of_what_captions_name_is_that_of_each_pair() -> None:
    """Captions without pictures take no part."""
    index = small_index()
    statistics = PictureStatistics(index.concepts, index.rows.image_vectors)
    concept, z = statistics.z_named(index.rows)
    products = index.rows.image_vectors.astype(np.float64) @ index.concepts.T
    wanted = (products - products.mean(0)) / products.std(0, ddof=1)
    named = [(pair, c) for pair, own in enumerate(index.named[:60]) for c in sorted(own)]
    assert concept.tolist() == [c for _, c in named]
    np.testing.assert_allclose(z, [wanted[at] for at in named], atol=1e-2)


def test_an_index_without_pictures_has_no_statistics() -> None:
    statistics = PictureStatistics(np.eye(3, dtype=np.float32), np.zeros((0, 3), np.float16))
    assert statistics.centre.tolist() == [0, 0, 0]
    assert statistics.spread.tolist() == [1, 1, 1]
    assert statistics.moments[1].tolist() == np.eye(3).tolist()
