"""Baselines against numpy's own solvers and against the real tiles' known scores."""

import numpy as np
import pytest

from satxlate_jax.evaluation.baselines import BandCopy, Constant, LinearRegression, Task, has_partner, make_baselines
from satxlate_jax.evaluation.metrics import BandScore

TASK = Task("G17", (8, 9, 10, 16), "G16", (7, 8, 9, 10, 12, 16))


def _tiles(n=3, missing=0.1, seed=0):
    random = np.random.default_rng(seed)
    for _ in range(n):
        tile = 260 + 10 * random.standard_normal((20, 30, 6))
        tile[..., 0] = 0.3 * tile[..., 1] + 0.6 * tile[..., 5] + 4 + random.standard_normal((20, 30))
        tile[random.random(tile.shape) < missing] = np.nan
        yield tile.astype(np.float32)


def _fitted(baseline, tiles):
    for tile in tiles:
        baseline.fit_tile(tile)
    baseline.finish()
    return baseline


def test_linear_regression_is_least_squares_on_all_pixels_at_once():
    linear = _fitted(LinearRegression(TASK), _tiles())
    pixels = np.concatenate([tile.reshape(-1, 6) for tile in _tiles()]).astype(np.float64)
    for channel in range(6):
        rows = pixels[np.isfinite(pixels[:, [1, 2, 3, 5, channel]]).all(1)]
        design = np.concatenate([rows[:, [1, 2, 3, 5]], np.ones((len(rows), 1))], axis=1)
        expected = np.linalg.lstsq(design, rows[:, channel], rcond=None)[0]
        np.testing.assert_allclose(linear.weights[:, channel], expected[:-1], atol=1e-8)
        np.testing.assert_allclose(linear.offset[channel], expected[-1], atol=1e-5)


def test_linear_regression_copies_what_it_is_given():
    linear = _fitted(LinearRegression(TASK), _tiles())
    measured = 250 + np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_allclose(linear.predict(measured)[..., [1, 2, 3, 5]], measured, atol=1e-6)


def test_a_missing_input_costs_its_own_pixel():
    linear = _fitted(LinearRegression(TASK), _tiles())
    measured = np.full((5, 5, 4), 250.0)
    measured[2, 2, 0] = np.nan
    predicted = linear.predict(measured)
    assert np.isnan(predicted[2, 2]).all() and np.isnan(predicted).sum() == predicted.shape[-1]


def test_inputs_without_variance_do_not_break_the_fit():
    tiles = [tile for tile in _tiles(missing=0.0)]
    for tile in tiles:
        tile[..., 2] = 240.0  # band 9 constant
        tile[..., 3] = tile[..., 1]  # band 10 the same as band 8
    linear = _fitted(LinearRegression(TASK), tiles)
    assert np.isfinite(linear.weights).all()
    predicted = linear.predict(tiles[0][..., [1, 2, 3, 5]])
    assert BandScore(200.0).update(predicted[..., 0], tiles[0][..., 0]).figures()["rmse"] < 1.1


def test_a_band_never_seen_has_no_answer():
    tiles = list(_tiles())
    for tile in tiles:
        tile[..., 4] = np.nan
    for baseline in make_baselines(TASK):
        predicted = _fitted(baseline, tiles).predict(np.full((4, 4, 4), 250.0))
        assert np.isnan(predicted[..., 4]).all()
        assert np.isfinite(predicted[..., 5]).all()


def test_constant_is_the_mean_of_the_fitting_tiles():
    constant = _fitted(Constant(TASK), _tiles())
    pixels = np.concatenate([tile.reshape(-1, 6) for tile in _tiles()]).astype(np.float64)
    predicted = constant.predict(np.zeros((2, 3, 4)))
    assert predicted.shape == (2, 3, 6)
    np.testing.assert_allclose(predicted[1, 2], np.nanmean(pixels, axis=0), rtol=1e-9)


def test_band_copy_goes_by_wavelength():
    task = Task("G16", tuple(range(1, 17)), "H8", tuple(range(1, 17)))
    measured = np.arange(16.0) * np.ones((2, 2, 1))
    copied = BandCopy(task).predict(measured)[0, 0]
    # AHI 1, 3, 4, 5 are ABI 1, 2, 3, 5; AHI 2 (green) has no partner
    np.testing.assert_array_equal(copied, [0, np.nan, 1, 2] + list(range(4, 16)))
    assert has_partner(task, 3) and not has_partner(task, 2)


@pytest.fixture(scope="module")
def real_tiles(realdata_dir):
    """Reads the bands 7, 8, 9, 10, 12, 16 of one satellite's tiles, as L1G files hold them."""
    pyhdf = pytest.importorskip("pyhdf.SD")

    def read(pattern):
        for path in sorted((realdata_dir / "l1g").rglob(pattern)):
            file = pyhdf.SD(str(path), pyhdf.SDC.READ)
            bands = []
            for number in TASK.target_bands:
                data = file.select(f"BAND{number:02d}")
                raw, attributes = data.get().astype(np.int64), data.attributes()
                value = raw * attributes["Scale_Factor"] + attributes["Offset_Constant"]
                bands.append(np.where(raw == 32768, np.nan, value))
            yield path.name, np.stack(bands, -1)

    return read


def test_the_real_benchmark_of_linear_regression(real_tiles):
    """GOES-17's bands 7 and 12 from its 8, 9, 10, 16 by a regression on the GOES-16 tiles: the known scores.

    The data's README says 2.8 K (day) and 4.7 K (night) in band 12 and 5.6 K in band 7 at night.
    """
    linear = _fitted(LinearRegression(TASK), (tile for _, tile in real_tiles("GO16_*.hdf")))
    rmse = {}
    for name, tile in real_tiles("GO17_*_h09v03_02.hdf"):
        predicted = linear.predict(tile[..., [1, 2, 3, 5]])
        for channel, band in ((0, 7), (4, 12)):
            score = BandScore(200.0).update(predicted[..., channel], tile[..., channel]).figures()
            if score["n"]:
                rmse[name[11:24], band] = score["rmse"]
    assert rmse["20191027_2000", 12] == pytest.approx(2.75, abs=0.01)
    assert rmse["20191201_1027", 12] == pytest.approx(4.95, abs=0.01)
    assert rmse["20191201_1027", 7] == pytest.approx(5.41, abs=0.01)
    assert rmse["20191027_2000", 7] == pytest.approx(10.06, abs=0.01)  # the sun's part, which a night cannot teach
    # what the README of the data says, to its own accuracy
    assert rmse["20191027_2000", 12] == pytest.approx(2.8, abs=0.3)
    assert rmse["20191201_1027", 12] == pytest.approx(4.7, abs=0.3)
    assert rmse["20191201_1027", 7] == pytest.approx(5.6, abs=0.3)
