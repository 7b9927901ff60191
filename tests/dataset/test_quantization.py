import numpy as np
import pytest

from satxlate_jax.instruments import SATELLITES
from satxlate_jax.l1g.quantization import MISSING, dequantize, quantize, scale_and_offset


@pytest.mark.parametrize("satellite", SATELLITES)
def test_round_trip_errs_by_at_most_half_a_step(satellite):
    bands = SATELLITES[satellite].bands
    random = np.random.default_rng(0)
    low, high = np.array([band.valid_range for band in bands]).T
    values = random.uniform(low - 0.05, high + 0.05, (40, 40, 16)).astype(np.float32)
    restored = dequantize(quantize(values, bands), bands)
    step = np.array([1e-4 if band.kind == "reflectance" else 0.01 for band in bands])
    # half a step, and the rounding of float32 at 400 K
    assert np.all(np.abs(restored.astype(np.float64) - values) <= step / 2 + 4 * np.spacing(np.float32(high)))
    assert restored.dtype == np.float32


def test_missing_stays_missing_and_nothing_else_becomes_missing():
    bands = SATELLITES["H8"].bands[5:8]
    values = np.array([[np.nan, 1e9, -1e9], [np.inf, 0.0, 300.0], [0.0, -np.inf, 210.0]], np.float32)
    codes = quantize(values, bands)
    assert codes.dtype == np.uint16
    expected = ~np.isfinite(values)
    np.testing.assert_array_equal(codes == MISSING, expected)
    np.testing.assert_array_equal(np.isnan(dequantize(codes, bands)), expected)


def test_every_code_survives():
    bands = [SATELLITES["G16"].band(1), SATELLITES["G16"].band(13)]
    codes = np.repeat(np.arange(65536, dtype=np.uint16)[:, None], 2, axis=1)
    np.testing.assert_array_equal(quantize(dequantize(codes, bands), bands), codes)


def test_scale_and_offset_describe_the_codes():
    bands = SATELLITES["G17"].bands
    scale, offset = scale_and_offset(bands)
    codes = np.random.default_rng(1).integers(0, MISSING, (50, 16), dtype=np.uint16)
    np.testing.assert_allclose(dequantize(codes, bands), codes * scale + offset, rtol=3e-7, atol=3e-7)


def test_values_of_a_file_are_codes():
    # A file's DN step is the code's step, so data at native resolution loses nothing.
    bands = [SATELLITES["G16"].band(2), SATELLITES["G16"].band(14)]
    numbers = np.arange(0, 30000, 7)
    values = np.stack([numbers * 1e-4, numbers * 0.01 + 100.0], axis=1).astype(np.float32)
    np.testing.assert_allclose(dequantize(quantize(values, bands), bands), values, rtol=2e-7, atol=2e-7)
