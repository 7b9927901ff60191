"""Baselines against numpy's own solvers and against the real tiles' known scores."""

import numpy as np
import pytest

from satxlate_jax.cli import InputError
from satxlate_jax.evaluation.baselines import (
    BASELINES,
    BandCopy,
    BoostedTrees,
    Constant,
    HistogramMatching,
    LinearRegression,
    PairedLine,
    QuadraticRegression,
    SupervisedCnn,
    make_baselines,
)
from satxlate_jax.evaluation.case_selection import Task
from tests.evaluation.test_metrics import score, sums

TASK = Task("G17", (8, 9, 10, 16), "G16", (7, 8, 9, 10, 12, 16))


def _tiles(n=3, missing=0.1, seed=0):
    random = np.random.default_rng(seed)
    for _ in range(n):
        tile = 260 + 10 * random.standard_normal((20, 30, 6))
        tile[..., 0] = 0.3 * tile[..., 1] + 0.6 * tile[..., 5] + 4 + random.standard_normal((20, 30))
        tile[random.random(tile.shape) < missing] = np.nan
        yield tile.astype(np.float32)


def _fitted(baseline, tiles):
    for tile in tiles if "target" in baseline.wants else ():
        baseline.fit_target(tile)
    baseline.finish()
    return baseline


def _predicted(baseline, values):
    """All answers [h, w, target band], NaN where there is none."""
    answers = baseline.predict(values)
    none = np.full(values.shape[:2], np.nan)
    return np.stack([answers.get(number, none) for number in baseline.task.target_bands], -1)


def test_linear_regression_is_least_squares_on_all_pixels_at_once():
    linear = _fitted(LinearRegression(TASK), _tiles())
    pixels = np.concatenate([tile.reshape(-1, 6) for tile in _tiles()]).astype(np.float64)
    for place, channel in enumerate(TASK.lacking):
        rows = pixels[np.isfinite(pixels[:, [1, 2, 3, 5, channel]]).all(1)]
        design = np.concatenate([rows[:, [1, 2, 3, 5]], np.ones((len(rows), 1))], axis=1)
        expected = np.linalg.lstsq(design, rows[:, channel], rcond=None)[0]
        np.testing.assert_allclose(linear.weights[:, place], expected[:-1], atol=1e-8)
        np.testing.assert_allclose(linear.offset[place], expected[-1], atol=1e-5)


@pytest.mark.parametrize("regression", [LinearRegression, QuadraticRegression])
def test_a_regression_copies_what_it_is_given(regression):
    """Least squares of a band on itself and others is itself."""
    pixels = np.concatenate([tile.reshape(-1, 6) for tile in _tiles(missing=0.0)]).astype(np.float64)
    design = np.concatenate([pixels[:, [1, 2, 3, 5]], np.ones((len(pixels), 1))], axis=1)
    weights = np.linalg.lstsq(design, pixels[:, [1, 2, 3, 5]], rcond=None)[0]
    np.testing.assert_allclose(weights, np.eye(5, 4), atol=1e-8)
    fitted = _fitted(regression(TASK), _tiles())
    measured = 250 + np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_allclose(_predicted(fitted, measured)[..., [1, 2, 3, 5]], measured, atol=1e-6)


def test_a_missing_input_costs_its_own_pixel():
    linear = _fitted(LinearRegression(TASK), _tiles())
    measured = np.full((5, 5, 4), 250.0)
    measured[2, 2, 0] = np.nan
    predicted = _predicted(linear, measured)
    assert np.isnan(predicted[2, 2]).all() and np.isnan(predicted).sum() == predicted.shape[-1]


def test_inputs_without_variance_do_not_break_the_fit():
    tiles = [tile for tile in _tiles(missing=0.0)]
    for tile in tiles:
        tile[..., 2] = 240.0  # band 9 constant
        tile[..., 3] = tile[..., 1]  # band 10 the same as band 8
    linear = _fitted(LinearRegression(TASK), tiles)
    assert np.isfinite(linear.weights).all()
    predicted = _predicted(linear, tiles[0][..., [1, 2, 3, 5]])
    assert score(sums(predicted[..., 0], tiles[0][..., 0]))["rmse"] < 1.1


def test_a_band_never_seen_has_no_answer():
    tiles = list(_tiles())
    for tile in tiles:
        tile[..., 4] = np.nan
    for baseline in make_baselines(TASK):
        predicted = _predicted(_fitted(baseline, tiles), np.full((4, 4, 4), 250.0))
        assert np.isnan(predicted[..., 4]).all()
        if baseline.name in ("band_copy", "linear", "quadratic", "constant"):
            assert np.isfinite(predicted[..., 5]).all()


def test_constant_is_the_mean_of_the_fitting_tiles():
    constant = _fitted(Constant(TASK), _tiles())
    pixels = np.concatenate([tile.reshape(-1, 6) for tile in _tiles()]).astype(np.float64)
    predicted = _predicted(constant, np.zeros((2, 3, 4)))
    assert predicted.shape == (2, 3, 6)
    np.testing.assert_allclose(predicted[1, 2], np.nanmean(pixels, axis=0), rtol=1e-9)


def test_band_copy_goes_by_wavelength():
    task = Task("G16", tuple(range(1, 17)), "H8", tuple(range(1, 17)))
    measured = np.arange(16.0) * np.ones((2, 2, 1))
    copied = _predicted(BandCopy(task), measured)[0, 0]
    # AHI 1, 3, 4, 5 are ABI 1, 2, 3, 5; AHI 2 (green) has no partner
    np.testing.assert_array_equal(copied, [0, np.nan, 1, 2] + list(range(4, 16)))
    assert 3 in task.inputs and 2 not in task.inputs


def test_quadratic_regression_finds_a_parabola():
    tiles = list(_tiles(missing=0.0))
    for tile in tiles:
        tile[..., 0] = 0.01 * (tile[..., 1] - 260) ** 2 + 0.02 * (tile[..., 2] - 260) * (tile[..., 3] - 260) + 250
    quadratic = _fitted(QuadraticRegression(TASK), tiles)
    predicted = _predicted(quadratic, tiles[0][..., [1, 2, 3, 5]])
    np.testing.assert_allclose(predicted[..., 0], tiles[0][..., 0], atol=1e-3)


def test_histogram_matching_gives_the_targets_distribution():
    random = np.random.default_rng(0)
    matching = HistogramMatching(TASK)
    for _ in range(4):
        matching.fit_source((250 + 5 * random.standard_normal((100, 100, 4))).astype(np.float32))
        matching.fit_target((260 + 8 * random.standard_normal((100, 100, 6))).astype(np.float32))
    matching.finish()
    fresh = (250 + 5 * random.standard_normal((200, 200, 4))).astype(np.float32)
    fresh[0, 0] = np.nan
    predicted = _predicted(matching, fresh)
    assert np.isnan(predicted[..., [0, 4]]).all() and np.isnan(predicted[0, 0]).all()
    assert np.nanmean(predicted[..., 1]) == pytest.approx(260, abs=0.2)
    assert np.nanstd(predicted[..., 1]) == pytest.approx(8, abs=0.2)
    order = np.argsort(fresh[1:, :, 0].ravel())
    assert (np.diff(predicted[1:, :, 1].ravel()[order]) > -1e-6).all()


def test_a_line_per_band_from_pairs_is_polyfit():
    random = np.random.default_rng(0)
    sbaf, seen = PairedLine(TASK), []
    for _ in range(3):
        source = 250 + 5 * random.standard_normal((20, 20, 4))
        target = 300 + 5 * random.standard_normal((20, 20, 6))
        target[..., 1] = 1.05 * source[..., 0] - 9 + random.standard_normal((20, 20))
        source[2, 3, 0] = np.nan
        sbaf.fit_pair(source, target)
        seen.append(np.stack([source[..., 0], target[..., 1]])[:, np.isfinite(source[..., 0])])
    sbaf.finish()
    slope, offset = np.polyfit(*np.concatenate(seen, axis=1), 1)
    predicted = _predicted(sbaf, np.full((2, 2, 4), 251.0))
    np.testing.assert_allclose(predicted[..., 1], slope * 251 + offset, rtol=1e-9)
    assert np.isnan(predicted[..., 0]).all()


def test_green_formulas_make_the_green_band_alone():
    task = Task("G16", (1, 2, 3), "H8", (1, 2, 3))
    values = np.broadcast_to(np.array([0.2, 0.3, 0.5]), (2, 2, 3))
    predicted = _predicted(BASELINES["green_cimss"](task), values)
    np.testing.assert_allclose(predicted[0, 0], [np.nan, 0.45 * 0.2 + 0.45 * 0.3 + 0.1 * 0.5, np.nan])
    assert np.isnan(_predicted(BASELINES["green_edc"](TASK), np.full((2, 2, 4), 250.0))).all()


def test_trees_and_the_supervised_network_learn_what_a_line_cannot(monkeypatch):
    for name, value in (("steps", 300), ("patch", 16)):  # seconds instead of minutes
        monkeypatch.setattr(SupervisedCnn, name, value)
    random = np.random.default_rng(0)

    def tile():
        values = 240 + 4 * random.standard_normal((80, 90, 6))
        for channel, band in ((0, 285.0), (4, 251.0)):
            values[..., channel] = band + 3 * np.abs(values[..., 1] - 240)
        return values.astype(np.float32)

    tiles = [tile() for _ in range(3)]
    fresh = tile()
    rmse = {}
    for baseline in (LinearRegression(TASK), BoostedTrees(TASK), SupervisedCnn(TASK)):
        predicted = _predicted(_fitted(baseline, tiles), fresh[..., [1, 2, 3, 5]])
        rmse[baseline.name] = score(sums(predicted[..., 0], fresh[..., 0]))["rmse"]
        assert baseline.name == "linear" or np.isnan(predicted[..., 1]).all()  # a shared band is not theirs to make
    assert rmse["trees"] < 0.2 * rmse["linear"] and rmse["cnn"] < 0.5 * rmse["linear"]


def test_baselines_are_chosen_by_name():
    assert "cnn" not in {baseline.name for baseline in make_baselines(TASK)}
    assert [baseline.name for baseline in make_baselines(TASK, ["constant", "linear"])] == ["linear", "constant"]
    assert len(make_baselines(TASK, ["all"])) == len(BASELINES)
    with pytest.raises(InputError, match="there is no baseline 'magic'"):
        make_baselines(TASK, ["magic"])


@pytest.fixture(scope="module")
def real_tiles(realdata_dir):
    """Reads the bands 7, 8, 9, 10, 12, 16 of one satellite's tiles, as L1G files hold them."""
    from pyhdf import SD as pyhdf

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
        predicted = _predicted(linear, tile[..., [1, 2, 3, 5]])
        for channel, band in ((0, 7), (4, 12)):
            found = score(sums(predicted[..., channel], tile[..., channel]))
            if found["n"]:
                rmse[name[11:24], band] = found["rmse"]
    assert rmse["20191027_2000", 12] == pytest.approx(2.75, abs=0.01)
    assert rmse["20191201_1027", 12] == pytest.approx(4.95, abs=0.01)
    assert rmse["20191201_1027", 7] == pytest.approx(5.41, abs=0.01)
    assert rmse["20191027_2000", 7] == pytest.approx(10.06, abs=0.01)  # the sun's part, which a night cannot teach
    # what the README of the data says, to its own accuracy
    assert rmse["20191027_2000", 12] == pytest.approx(2.8, abs=0.3)
    assert rmse["20191201_1027", 12] == pytest.approx(4.7, abs=0.3)
    assert rmse["20191201_1027", 7] == pytest.approx(5.6, abs=0.3)
