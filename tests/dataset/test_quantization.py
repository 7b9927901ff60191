import numpy as np
import pytest

from satxlate_jax.dataset.records import MISSING, quantize
from satxlate_jax.instruments import SATELLITES
from tests.archives import dequantize


@pytest.mark.parametrize("satellite", ["G16", "H8"])
def test_round_trip_errs_by_at_most_half_a_step(satellite):
    bands = SATELLITES[satellite].bands
    random = np.random.default_rng(0)
    low, high = np.array([band.valid_range for band in bands]).T
    values = random.uniform(low - 0.05, high + 0.05, (40, 40, 16)).astype(np.float32)
    restored = dequantize(quantize(values, bands), bands)
    step = np.array([1e-4 if band.kind == "reflectance" else 0.01 for band in bands])
    # half a step, and the rounding of float32 at 400 K
    assert np.all(np.abs(restored - values) <= step / 2 + 4 * np.spacing(np.float32(high)))


def test_missing_stays_missing_and_nothing_else_becomes_missing():
    bands = SATELLITES["H8"].bands[5:8]
    values = np.array([[np.nan, 1e9, -1e9], [np.inf, 0.0, 300.0], [0.0, -np.inf, 210.0]], np.float32)
    packed = quantize(values, bands)
    assert packed.dtype == np.uint16
    expected = ~np.isfinite(values)
    np.testing.assert_array_equal(packed == MISSING, expected)
    np.testing.assert_array_equal(np.isnan(dequantize(packed, bands)), expected)


def test_every_packed_value_survives():
    bands = [SATELLITES["G16"].band(1), SATELLITES["G16"].band(13)]
    packed = np.repeat(np.arange(65536, dtype=np.uint16)[:, None], 2, axis=1)
    np.testing.assert_array_equal(quantize(dequantize(packed, bands), bands), packed)


def test_values_of_a_file_are_packed():
    # A file's DN step is the packed step, so data at native resolution loses nothing.
    bands = [SATELLITES["G16"].band(2), SATELLITES["G16"].band(14)]
    numbers = np.arange(0, 30000, 7)
    values = np.stack([numbers * 1e-4, numbers * 0.01 + 100.0], axis=1).astype(np.float32)
    np.testing.assert_allclose(dequantize(quantize(values, bands), bands), values, rtol=2e-7, atol=2e-7)
