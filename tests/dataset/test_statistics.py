import numpy as np
import pytest

from satxlate_jax.cli import InputError
from satxlate_jax.dataset.statistics import PERCENTILES, BandCounts, count_tile, read_statistics
from satxlate_jax.instruments import SATELLITES
from satxlate_jax.l1g.quantization import dequantize, quantize

BANDS = (SATELLITES["G16"].band(2), SATELLITES["G16"].band(7), SATELLITES["G16"].band(13))


def codes_of_tile(seed):
    random = np.random.default_rng(seed)
    values = random.normal((0.3, 300, 280), (0.2, 8, 15), (40, 40, 3))
    return np.moveaxis(quantize(values, BANDS), -1, 0)


def test_statistics_are_those_of_the_values():
    tiles = [codes_of_tile(seed) for seed in range(4)]
    counts, half = BandCounts(3), BandCounts(3)
    for index, codes in enumerate(tiles):
        (counts if index % 2 else half).add(count_tile(codes, np.ones((40, 40), int), np.full(3, 1600)))
    counts.merge(half)
    values = dequantize(np.stack(tiles, axis=-1).transpose(1, 2, 3, 0), BANDS).reshape(-1, 3).astype(np.float64)
    for index, (name, found) in enumerate(counts.as_json(BANDS).items()):
        assert name == BANDS[index].name and found["values"] == 6400
        tolerance = 1e-3 if found["unit"] == "K" else 1e-6  # dequantize rounds to float32
        assert found["mean"] == pytest.approx(values[:, index].mean(), abs=tolerance)
        assert found["std"] == pytest.approx(values[:, index].std(), abs=tolerance)
        assert found["min"] == pytest.approx(values[:, index].min(), abs=tolerance)
        assert found["max"] == pytest.approx(values[:, index].max(), abs=tolerance)
        expected = np.percentile(values[:, index], PERCENTILES, method="inverted_cdf")
        np.testing.assert_allclose(list(found["percentiles"].values()), expected, atol=tolerance)
        assert found["finite_fraction"] == 1.0
        histogram = found["histogram"]
        edges = histogram["start"] + histogram["step"] * np.arange(len(histogram["counts"]) + 1)
        edges -= 1e-6 + histogram["step"] / 1000  # values lie on the edges
        np.testing.assert_array_equal(histogram["counts"], np.histogram(values[:, index], edges)[0])


def test_finite_fraction_is_of_all_pixels_read_and_the_rest_of_the_patches_kept():
    codes = codes_of_tile(0)
    finite = np.array([1600, 1200, 1600])
    counts = BandCounts(3)
    cover = np.zeros((40, 40), int)
    counts.add(count_tile(codes, cover, finite))
    cover[20:, :20] = 1
    counts.add(count_tile(codes, cover, finite))
    found = counts.as_json(BANDS)
    assert [band["finite_fraction"] for band in found.values()] == [1.0, 0.75, 1.0]
    assert [band["values"] for band in found.values()] == [400] * 3


def test_a_pixel_in_several_patches_counts_as_often():
    codes = codes_of_tile(1)
    cover = np.random.default_rng(0).integers(0, 4, (40, 40))
    counts = BandCounts(3)
    counts.add(count_tile(codes, cover, np.full(3, 1600)))
    for band, found in zip(codes, counts.counts, strict=True):
        np.testing.assert_array_equal(found, np.bincount(np.repeat(band.ravel(), cover.ravel()), minlength=65536))


def test_no_values_no_statistics(tmp_path):
    found = BandCounts(1).as_json(BANDS[:1])["BAND02"]
    assert found["values"] == 0 and found["mean"] is None and found["finite_fraction"] is None
    with pytest.raises(InputError, match="no statistics.json in"):
        read_statistics(tmp_path)
