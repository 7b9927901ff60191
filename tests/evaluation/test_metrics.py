"""Scores against formulas written out here, in one pass, in parts, and with missing pixels."""

import numpy as np
import pytest
from scipy.signal import convolve2d

from satxlate_jax.evaluation.metrics import FIGURES, BandScore, data_range, structural_similarity
from satxlate_jax.instruments import get_satellite


def _fields(seed=0, shape=(64, 48), missing=0.0):
    random = np.random.default_rng(seed)
    truth = 280 + 10 * random.standard_normal(shape).cumsum(0).cumsum(1) / 30
    prediction = truth + 0.7 + random.standard_normal(shape)
    prediction[random.random(shape) < missing] = np.nan
    truth[random.random(shape) < missing] = np.nan
    return prediction.astype(np.float32), truth.astype(np.float32)


def test_figures_are_the_textbook_formulas():
    prediction, truth = _fields(missing=0.1)
    figures = BandScore(200.0).update(prediction, truth).figures()
    seen = np.isfinite(prediction) & np.isfinite(truth)
    p, t = prediction[seen].astype(np.float64), truth[seen].astype(np.float64)
    assert figures["n"] == seen.sum()
    np.testing.assert_allclose(figures["bias"], np.mean(p - t), rtol=1e-10)
    np.testing.assert_allclose(figures["mae"], np.mean(np.abs(p - t)), rtol=1e-10)
    np.testing.assert_allclose(figures["rmse"], np.sqrt(np.mean((p - t) ** 2)), rtol=1e-10)
    np.testing.assert_allclose(figures["psnr"], 10 * np.log10(200.0**2 / np.mean((p - t) ** 2)), rtol=1e-10)
    np.testing.assert_allclose(figures["correlation"], np.corrcoef(p, t)[0, 1], rtol=1e-10)


def _published_ssim(x, y, data_range_):
    """SSIM as Wang et al. write it: an 11 x 11 window, means, variances and covariance inside it, valid part only."""
    grid = np.arange(-5, 6)
    window = np.exp(-(grid[:, None] ** 2 + grid[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(values):
        return convolve2d(values, window, mode="valid")

    mu_x, mu_y = mean(x), mean(y)
    var_x, var_y, cov = mean(x * x) - mu_x**2, mean(y * y) - mu_y**2, mean(x * y) - mu_x * mu_y
    c1, c2 = (0.01 * data_range_) ** 2, (0.03 * data_range_) ** 2
    return (2 * mu_x * mu_y + c1) * (2 * cov + c2) / ((mu_x**2 + mu_y**2 + c1) * (var_x + var_y + c2))


def test_ssim_is_the_published_formula():
    prediction, truth = (values.astype(np.float64) for values in _fields())
    ours = structural_similarity(prediction, truth, 200.0)
    np.testing.assert_allclose(ours[5:-5, 5:-5], _published_ssim(prediction, truth, 200.0), atol=1e-8)
    assert np.isnan(ours[:5]).all() and np.isnan(ours[:, -5:]).all()
    figure = BandScore(200.0).update(prediction, truth).figures()["ssim"]
    np.testing.assert_allclose(figure, _published_ssim(prediction, truth, 200.0).mean(), atol=1e-8)


def test_ssim_ignores_missing_pixels_but_not_their_neighbours():
    prediction, truth = _fields()
    whole = structural_similarity(prediction, truth, 200.0)
    holed = truth.copy()
    holed[30, 20] = np.nan
    partial = structural_similarity(prediction, holed, 200.0)
    assert np.isnan(partial[30, 20]) and np.isfinite(partial[30, 21])
    assert np.isfinite(partial).sum() == np.isfinite(whole).sum() - 1
    far = np.ones(truth.shape, bool)
    far[24:37, 14:27] = False
    np.testing.assert_allclose(partial[far], whole[far], atol=1e-9)
    assert np.nanmax(np.abs(partial - whole)) < 0.1


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_parts_give_the_same_as_one_pass(missing):
    tiles = [_fields(seed, missing=missing) for seed in range(6)]
    together = BandScore(200.0)
    for prediction, truth in tiles:
        together.update(prediction, truth)
    parts = [BandScore(200.0).update(*tile) for tile in tiles]
    merged = BandScore(200.0)
    for part in (parts[4], parts[1], parts[0], parts[5], parts[2], parts[3]):
        merged.merge(part)
    for name in FIGURES:
        np.testing.assert_allclose(merged.figures()[name], together.figures()[name], rtol=1e-9)
    # and the same as all pixels at once, where the figure does not look at neighbours
    at_once = BandScore(200.0).update(np.concatenate([t[0] for t in tiles]), np.concatenate([t[1] for t in tiles]))
    for name in ("n", "bias", "mae", "rmse", "psnr", "correlation"):
        np.testing.assert_allclose(merged.figures()[name], at_once.figures()[name], rtol=1e-9)


def test_small_errors_on_large_values_do_not_cancel():
    random = np.random.default_rng(1)
    truth = 300 + 1e-3 * random.standard_normal((400, 400))
    prediction = truth + 1e-4
    figures = BandScore(200.0).update(prediction, truth).figures()
    np.testing.assert_allclose([figures["bias"], figures["rmse"]], 1e-4, rtol=1e-6)
    np.testing.assert_allclose(figures["correlation"], 1.0, atol=1e-6)


def test_only_the_asked_pixels_count():
    prediction, truth = _fields()
    where = np.zeros(truth.shape, bool)
    where[10:20, 10:20] = True
    figures = BandScore(200.0).update(prediction, truth, where).figures()
    error = (prediction.astype(np.float64) - truth)[10:20, 10:20]
    assert figures["n"] == 100
    np.testing.assert_allclose(figures["rmse"], np.sqrt(np.mean(error**2)), rtol=1e-6)


def test_nothing_to_count_gives_nan_not_a_warning():
    empty = np.full((20, 20), np.nan)
    figures = BandScore(1.6).update(empty, empty).figures()
    assert figures["n"] == 0 and all(np.isnan(figures[name]) for name in FIGURES[1:])


def test_a_constant_has_no_correlation_and_a_perfect_match_no_finite_psnr():
    _, truth = _fields()
    constant = BandScore(200.0).update(np.full_like(truth, 280.3), truth).figures()
    assert np.isnan(constant["correlation"]) and constant["rmse"] > 1
    perfect = BandScore(200.0).update(truth, truth).figures()
    assert perfect["psnr"] == np.inf and perfect["ssim"] == pytest.approx(1.0) and perfect["rmse"] == 0.0


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="differ in shape"):
        BandScore(1.6).update(np.zeros((3, 4)), np.zeros((4, 3)))


def test_the_published_ranges():
    abi = get_satellite("G16")
    assert data_range(abi.band(1)) == 1.6 and data_range(abi.band(7)) == 200.0
