"""Scores by pixel and by area against formulas written out here, in one pass, in parts, and with missing pixels."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.signal import convolve2d

from satxlate_jax.evaluation.metrics import (
    AREA_METRICS,
    DATA_RANGE,
    METRICS,
    SPREAD_METRICS,
    band_scores,
    band_sums,
    merge_sums,
    similarity_to,
)
from satxlate_jax.instruments import get_satellite


def structural_similarity(prediction, truth, data_range):
    return similarity_to(truth, np.isfinite(prediction) & np.isfinite(truth), data_range)[0](prediction)


def score(*tables):
    """The scores of some sums together."""
    scores = band_scores(merge_sums(pd.concat(tables)))
    return scores.iloc[0].to_dict() if len(scores) else {"n": 0}


def sums(prediction, truth, data_range=200.0, groups=None, area=None):
    return band_sums(prediction, truth, data_range, groups, area)


def _fields(seed=0, shape=(64, 48), missing=0.0):
    """A prediction that is worse in the north, and a truth."""
    random = np.random.default_rng(seed)
    truth = 280 + 10 * random.standard_normal(shape).cumsum(0).cumsum(1) / 30
    prediction = truth + 0.7 + np.linspace(2, 0.1, shape[0])[:, None] * random.standard_normal(shape)
    prediction[random.random(shape) < missing] = np.nan
    truth[random.random(shape) < missing] = np.nan
    return prediction.astype(np.float32), truth.astype(np.float32)


def _area(seed=0):
    return np.cos(np.radians(60 - 0.5 * np.arange(64) - 3 * seed))[:, None]


def _textbook(prediction, truth, area=1.0):
    """The scores as (weighted) means, all pixels at once; ssim from the tested similarity."""
    seen = np.isfinite(prediction) & np.isfinite(truth)
    weights = np.broadcast_to(area, truth.shape)
    p, t, w = prediction[seen].astype(np.float64), truth[seen].astype(np.float64), weights[seen]
    p0, t0 = np.average(p, weights=w), np.average(t, weights=w)
    variances = [np.average((v - v0) ** 2, weights=w) for v, v0 in ((p, p0), (t, t0))]
    mse = np.average((p - t) ** 2, weights=w)
    similarity = structural_similarity(prediction, truth, 200.0)
    similar = np.isfinite(similarity)
    return {
        "bias": p0 - t0,
        "mae": np.average(np.abs(p - t), weights=w),
        "rmse": np.sqrt(mse),
        "psnr": 10 * np.log10(200.0**2 / mse),
        "ssim": np.average(similarity[similar], weights=weights[similar]),
        "correlation": np.average((p - p0) * (t - t0), weights=w) / np.sqrt(np.prod(variances)),
    }


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_scores_are_the_textbook_formulas(missing):
    prediction, truth = _fields(missing=missing)
    found = score(sums(prediction, truth, area=_area()))
    assert found["n"] == (np.isfinite(prediction) & np.isfinite(truth)).sum()
    for name, value in _textbook(prediction, truth).items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9)
    for name, value in _textbook(prediction, truth, _area()).items():
        np.testing.assert_allclose(found[f"{name}_area"], value, rtol=1e-9)
    assert found["rmse_area"] < 0.99 * found["rmse"]  # the bad north is small
    plain = score(sums(prediction, truth))
    assert [found[name] for name in METRICS] == pytest.approx([plain[name] for name in METRICS], rel=1e-12)
    assert all(np.isnan(plain[name]) for name in AREA_METRICS)


def test_crps_is_the_integral_and_coverage_counts_what_has_a_standard_deviation():
    prediction, truth = np.array([[280.0, 281, 300, 280, 280]]), np.array([[280.5, 280, 280, 280, np.nan]])
    std = np.array([[1.0, 0.4, 5, 0, 1]])
    x = np.linspace(100, 500, 4_000_001)
    integrals = []
    for p, t, s in zip(prediction[0, :3], truth[0, :3], std[0, :3], strict=True):
        integrals.append(np.sum((stats.norm.cdf(x, p, s) - (x >= t)) ** 2) * (x[1] - x[0]))
    found = score(band_sums(prediction, truth, 200.0, std=std))
    assert found["crps"] == pytest.approx(np.sum(integrals) / 4, rel=1e-4)  # a perfect certainty adds nothing
    assert found["coverage_1sd"] == 2 / 4 and found["coverage_2sd"] == 2 / 4
    std[0, 2] = np.nan
    found = score(band_sums(prediction, truth, 200.0, std=std))
    assert found["coverage_1sd"] == found["coverage_2sd"] == 2 / 3
    assert found["crps"] == pytest.approx((sum(integrals[:2]) + 20) / 4, rel=1e-4)
    plain = score(band_sums(prediction, truth, 200.0))
    assert plain["crps"] == plain["mae"] and np.isnan(plain["coverage_1sd"])
    halves = (
        band_sums(prediction[:, part], truth[:, part], 200.0, std=std[:, part]) for part in (slice(2), slice(2, 5))
    )
    together = score(*halves)
    assert [together[name] for name in SPREAD_METRICS] == pytest.approx([found[name] for name in SPREAD_METRICS])


def _published_ssim(x, y, data_range):
    """SSIM as Wang et al. write it: an 11 x 11 window, means, variances and covariance inside it, valid part only."""
    grid = np.arange(-5, 6)
    window = np.exp(-(grid[:, None] ** 2 + grid[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(values):
        return convolve2d(values, window, mode="valid")

    mu_x, mu_y = mean(x), mean(y)
    var_x, var_y, cov = mean(x * x) - mu_x**2, mean(y * y) - mu_y**2, mean(x * y) - mu_x * mu_y
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    return (2 * mu_x * mu_y + c1) * (2 * cov + c2) / ((mu_x**2 + mu_y**2 + c1) * (var_x + var_y + c2))


def test_ssim_is_the_published_formula():
    prediction, truth = (values.astype(np.float64) for values in _fields())
    ours = structural_similarity(prediction, truth, 200.0)
    np.testing.assert_allclose(ours[5:-5, 5:-5], _published_ssim(prediction, truth, 200.0), atol=1e-8)
    assert np.isnan(ours[:5]).all() and np.isnan(ours[:, -5:]).all()


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


def test_parts_give_the_same_as_one_pass():
    tiles = [(*_fields(seed, missing=0.2), _area(seed)) for seed in range(6)]
    tables = [sums(p, t, area=area) for p, t, area in tiles]
    half = merge_sums(pd.concat([tables[4], tables[1], tables[0]]))
    merged, together = score(half, tables[5], merge_sums(pd.concat(tables[2:4]))), score(*tables)
    for name in (*METRICS, *AREA_METRICS):
        np.testing.assert_allclose(merged[name], together[name], rtol=1e-9)
    # and the same as all pixels at once, where the metric does not look at neighbours
    p, t, area = (np.concatenate(values) for values in zip(*tiles, strict=True))
    at_once, by_area = _textbook(p, t), _textbook(p, t, area)
    for name in ("bias", "mae", "rmse", "psnr", "correlation"):
        np.testing.assert_allclose(merged[name], at_once[name], rtol=1e-9)
        np.testing.assert_allclose(merged[f"{name}_area"], by_area[name], rtol=1e-9)


def test_with_a_part_whose_area_is_not_known_the_areas_are_not_known():
    p, t = _fields()
    known, unknown, empty = sums(p, t, area=_area()), sums(p, t), sums(p * np.nan, t)
    for parts in ((known, unknown), (unknown, known)):
        found = score(*parts)
        assert found["n"] == 2 * p.size and np.isfinite(found["rmse"])
        assert all(np.isnan(found[name]) for name in AREA_METRICS)
    np.testing.assert_equal(score(empty, known, empty), score(known))


def test_small_errors_on_large_values_do_not_cancel():
    random = np.random.default_rng(1)
    truth = 300 + 1e-3 * random.standard_normal((400, 400))
    found = score(*(sums(part + 1e-4, part) for part in np.split(truth, 4)))
    np.testing.assert_allclose([found["bias"], found["rmse"]], 1e-4, rtol=1e-6)
    np.testing.assert_allclose(found["correlation"], 1.0, atol=1e-6)


def test_only_the_pixels_of_a_group_count():
    prediction, truth = _fields()
    where = np.zeros(truth.shape, bool)
    where[10:20, 10:20] = True
    table = band_scores(sums(prediction, truth, groups={"some": where, "none": ~where & where}))
    error = (prediction.astype(np.float64) - truth)[10:20, 10:20]
    assert list(table.index) == ["some"] and table.loc["some", "n"] == 100
    np.testing.assert_allclose(table.loc["some", "rmse"], np.sqrt(np.mean(error**2)), rtol=1e-6)


def test_a_constant_has_no_correlation_and_a_perfect_match_no_finite_psnr():
    _, truth = _fields()
    constant = score(sums(np.full_like(truth, 280.3), truth))
    assert np.isnan(constant["correlation"]) and constant["rmse"] > 1
    perfect = score(sums(truth, truth))
    assert perfect["psnr"] == np.inf and perfect["ssim"] == pytest.approx(1.0) and perfect["rmse"] == 0.0


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="differ in shape"):
        sums(np.zeros((3, 4)), np.zeros((4, 3)))


def test_the_published_ranges():
    assert [DATA_RANGE[get_satellite("G16").band(number).kind] for number in (1, 7)] == [1.6, 200.0]
