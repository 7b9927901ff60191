"""Groups of pixels, spectra, consistency, calibration: against cases whose answer is known; sums merge."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage, stats

from satxlate_jax.evaluation.diagnostics import Consistency, pixel_groups, view_groups
from satxlate_jax.evaluation.distributions import EDGES_KM, Calibration, JointHistogram, Modes, PowerSpectrum
from satxlate_jax.evaluation.metrics import band_scores
from satxlate_jax.instruments import get_satellite
from satxlate_jax.translation.load import load
from tests.random_run import save_random_run

LAT = 40 - 0.02 * np.arange(300)


def _field(seed=0, shape=(300, 300)):
    random = np.random.default_rng(seed)
    return 270 + 20 * ndimage.gaussian_filter(random.standard_normal(shape), 2)


def _add_spectrum(spectrum, prediction, truth, lat=LAT):
    seen = np.isfinite(prediction) & np.isfinite(truth)
    modes = Modes.of(truth.shape, float(np.mean(lat)), 0.02)
    spectrum.add(modes, *(modes.transform(values, seen) for values in (prediction, truth)))


def _add_histogram(histogram, prediction, truth):
    histogram.merge(histogram.count_pairs(histogram.bins(prediction), histogram.bins(truth)))


def test_a_filter_shows_in_the_spectrum_where_it_filters():
    truth, spectrum, same = _field(), PowerSpectrum(), PowerSpectrum()
    smooth = ndimage.gaussian_filter(truth, 3)
    _add_spectrum(spectrum, smooth, truth)
    _add_spectrum(same, truth, truth)
    np.testing.assert_allclose(same.over_truth()[0], 1)
    np.testing.assert_allclose(same.coherence(), 1)
    both = PowerSpectrum()  # with noise of the same spectrum a mode correlates by 1 / sqrt(2)
    _add_spectrum(both, truth + _field(1), truth)
    np.testing.assert_allclose(both.coherence()[:20], np.sqrt(0.5), atol=0.15)
    assert both.coherence_below() == pytest.approx(np.sqrt(0.5), abs=0.01)
    assert same.effective_resolution() == same.wavelengths[0]
    # a Gaussian of 3 pixels multiplies power by exp(-(2 pi f 3)^2); a pixel is 2.22 km north, 1.8 km east
    pixel = 2.2264 * np.sqrt((1 + np.cos(np.radians(37)) ** 2) / 2)
    expected = np.exp(-((2 * np.pi * 3 * pixel / spectrum.wavelengths) ** 2))
    long = (spectrum.wavelengths > 40) & (spectrum.wavelengths < 200)
    np.testing.assert_allclose(spectrum.over_truth()[0][long], expected[long], rtol=0.15)
    assert spectrum.power_ratio() < 0.05
    # error = (1 - response) of the amplitude; it has half the truth's power where the response is 1 - sqrt(1/2)
    half = 2 * np.pi * 3 * pixel / np.sqrt(-2 * np.log(1 - np.sqrt(0.5)))
    assert spectrum.effective_resolution() == pytest.approx(half, rel=0.15)


def test_tiles_with_holes_count_only_when_nearly_whole():
    truth = _field()
    spectrum = PowerSpectrum()
    holed = truth.copy()
    holed[:100] = np.nan
    _add_spectrum(spectrum, holed, truth)
    assert spectrum.tiles == 0 and np.isnan(spectrum.effective_resolution())
    holed = truth.copy()
    holed[::50, ::50] = np.nan
    _add_spectrum(spectrum, holed, truth)
    assert spectrum.tiles == 1 and np.isfinite(spectrum.over_truth()[0]).all()


@pytest.mark.parametrize(("shape", "latitude"), [((300, 300), 3.0), ((60, 40), 57.0)])
def test_every_mode_counts_in_the_bin_of_its_wavelength(shape, latitude):
    """Also where bins hold nothing, as the longest do of a small or northern tile."""
    random = np.random.default_rng(0)
    truth, prediction = random.standard_normal((2, *shape)).cumsum(1).cumsum(2)
    spectrum = PowerSpectrum()
    _add_spectrum(spectrum, prediction, truth, np.full(shape[0], latitude))
    window = np.outer(np.hanning(shape[0]), np.hanning(shape[1]))
    frequencies = (np.fft.fftfreq(shape[0], 0.02 * 111.32), np.fft.rfftfreq(shape[1], 0.02 * 111.32))
    frequencies = np.hypot(frequencies[0][:, None], frequencies[1] / np.cos(np.radians(latitude)))
    for row, values in enumerate((truth, prediction)):
        power = np.abs(np.fft.rfft2((values - values.mean()) * window)) ** 2
        for index, (low, high) in enumerate(pairwise(EDGES_KM)):
            inside = (frequencies * high > 1) & (frequencies * low <= 1) & (frequencies <= 1 / 4)
            assert spectrum.n[index] == inside.sum()
            assert spectrum.power[row, index] == pytest.approx(power[inside].sum(), rel=1e-9)


def test_an_ensemble_is_calibrated_when_errors_are_drawn_from_it():
    random = np.random.default_rng(0)
    std = np.exp(random.uniform(np.log(0.1), np.log(5), (300, 300)))
    truth = 280 + 0 * std
    calibration = Calibration()
    calibration.update(truth + std * random.standard_normal(std.shape), std, truth)
    scores = calibration.scores()
    assert scores["within_1"] == pytest.approx(0.6827, abs=0.005)
    assert scores["within_2"] == pytest.approx(0.9545, abs=0.003)
    assert scores["std_to_error"] == pytest.approx(1, abs=0.02)
    gaussian, found = calibration.reliability()
    np.testing.assert_allclose(found, gaussian, atol=0.005)
    assert gaussian[[10, 20]] == pytest.approx([0.6827, 0.9545], abs=1e-4)
    width, error = calibration.error_by_std()
    np.testing.assert_allclose(error, width, rtol=0.15)
    sure = Calibration()
    sure.update(truth + std * random.standard_normal(std.shape), std / 4, truth)
    assert sure.scores()["within_1"] < 0.25 and sure.scores()["std_to_error"] < 0.3


def test_details_of_the_distribution_of_errors():
    band = get_satellite("G16").band(13)
    random = np.random.default_rng(0)
    truth = 280 + 5 * random.standard_normal(100_000)
    prediction = truth + 2 + random.standard_normal(100_000)
    histogram = JointHistogram.of(band)
    _add_histogram(histogram, prediction, truth)
    expected = np.percentile(np.abs(prediction - truth), (50, 90, 99))
    np.testing.assert_allclose(histogram.error_percentiles((50, 90, 99)), expected, atol=0.5)
    assert histogram.distance() == pytest.approx(stats.wasserstein_distance(prediction, truth), abs=0.02)


@pytest.mark.parametrize("kind", ["spectrum", "calibration", "histogram"])
def test_sums_merge(kind):
    def make(seeds):
        total = {"spectrum": PowerSpectrum(), "calibration": Calibration()}.get(kind) or JointHistogram.of(
            get_satellite("G16").band(13)
        )
        for seed in seeds:
            truth, prediction, std = _field(seed), _field(seed + 10), np.abs(_field(seed + 20) - 270)
            if kind == "spectrum":
                _add_spectrum(total, prediction, truth)
            elif kind == "calibration":
                total.update(prediction, std, truth)
            else:
                _add_histogram(total, prediction, truth)
        return total

    whole, parts = make(range(3)), make([2]).merge(make([0])).merge(make([1]))
    for name in ("power", "n", "sums", "inside", "ratios", "counts"):
        if hasattr(whole, name):
            np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-9)


def test_groups_by_sun_cloud_and_surface():
    red, vegetation, near, window = (np.zeros((2, 4)) for _ in range(4))
    #                  cloud, water, forest, desert
    red[:] = [0.60, 0.05, 0.05, 0.30]
    vegetation[:] = [0.62, 0.04, 0.35, 0.36]
    near[:] = [0.50, 0.02, 0.20, 0.40]
    window[:] = [250, 290, 295, 310]
    zenith = np.array([[30.0] * 4, [85, 100, 100, 120]])
    groups = pixel_groups("G16", {2: red, 3: vegetation, 5: near, 13: window}, zenith)
    assert groups["all"].all() and groups["day"].tolist() == [[True] * 4, [False] * 4]
    assert groups["twilight"][1].tolist() == [True, False, False, False]
    assert groups["night"][1].tolist() == [False, True, True, True]
    assert groups["cold or bright"].tolist() == [[True, False, False, False]] * 2
    for name, column in (("water", 1), ("vegetation", 2), ("bare", 3)):
        assert np.argwhere(groups[name]).tolist() == [[0, column]]
    assert "snow-like" not in groups
    night = pixel_groups("G17", {8: window, 16: window}, None)
    assert set(night) == {"all", "cold or bright", "warm and dark"}


def test_groups_by_two_views():
    """Midway between GOES-16 and -17 both zeniths are equal, but clouds are displaced to opposite sides."""
    lat, lon = np.array([0.0, 0.01]), np.linspace(-106.25, -106.15, 100)  # on the equator
    d = np.radians(31)  # from either
    tangent = np.sin(d) / (np.cos(d) - 6378.137 / 42164.16)
    window = np.full((2, 100), 300.0)
    colder = 6.5 * 2 / (2 * tangent)  # K, of a top whose two images are 2 km apart
    window[0, :4] = 300 - 0.98 * colder, 300 - 1.02 * colder, 200, np.nan
    groups = view_groups({"G16": {13: window}, "G17": {}}, lat, lon)
    assert groups["view zeniths less than 5 degrees apart"].all()
    assert groups["parallax below a pixel"][0, :5].tolist() == [True, False, False, False, True]
    assert groups["parallax of a pixel or more"].sum() == 2
    other = np.roll(window, 10, axis=1)  # the other sees the clouds elsewhere: parallax there, too
    groups = view_groups({"G16": {13: window}, "G17": {13: other}}, lat, lon)
    assert np.flatnonzero(groups["parallax of a pixel or more"][0]).tolist() == [1, 2, 11, 12]
    assert groups["parallax below a pixel"].sum() == 200 - 4 - 2
    lon = np.array([-137.2 + 4, -106.2 + 4, -106.2 + 12])  # the zeniths differ by 66, some 9 and 28 degrees
    groups = view_groups({"G16": {8: np.zeros((2, 3))}, "G17": {}}, lat, lon)
    assert [np.flatnonzero(mask[0]).tolist() for mask in groups.values()] == [[], [1], [0, 2]]  # no window, no height


def test_consistency_there_and_back_and_in_the_latent_space(tmp_path):
    bands = {"G16": (8, 9), "G17": (8, 9)}
    translator = load(save_random_run(tmp_path / "run", bands, dim=4))
    x = np.random.default_rng(0).normal(240, 3, (40, 40, 2)).astype(np.float32)
    x[3, 4, 0] = np.nan
    consistency = Consistency()
    consistency.add_cycle(translator, x, "G16", "G17")
    back = translator.translate(translator.translate(x, "G17", source="G16"), "G16", source="G17")
    error = (back - x)[..., 1][np.isfinite(back[..., 1])].astype(np.float64)
    scores = band_scores(consistency.cycle).loc[9]
    assert scores["n"] == 1599
    assert scores["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)
    assert consistency.latent_agreement() is None
    random = np.random.default_rng(1)
    z = random.standard_normal((2, 30, 30, 5))
    for part in z:
        consistency.add_latent(part, 0.6 * part + 0.8 * random.standard_normal(part.shape))
    agreement = consistency.latent_agreement()
    assert agreement["correlation"] == pytest.approx(0.6, abs=0.05)
    assert agreement["difference"] == pytest.approx(np.sqrt(2 - 2 * 0.6), abs=0.05)
    assert agreement["size"] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("turned", [False, True])
def test_histograms_whose_bins_begin_elsewhere_add_up(turned):
    """Sums of 0.1.0 begin at 180 K, today's at 150 K; counting at once gives the same."""
    random = np.random.default_rng(5)
    prediction, truth = random.uniform(190, 300, (2, 500))
    new = JointHistogram.of(get_satellite("G16").band(13))
    old = JointHistogram(180.0, new.width, np.zeros((480, 480), np.int64))
    parts = [old, new] if turned else [new, old]
    for part, chosen in zip(parts, (slice(0, 200), slice(200, 500)), strict=True):
        _add_histogram(part, prediction[chosen], truth[chosen])
    merged = parts[0].merge(parts[1])
    whole = JointHistogram.of(get_satellite("G16").band(13))
    _add_histogram(whole, prediction, truth)
    assert merged.low == whole.low and np.array_equal(merged.counts, whole.counts)
    with pytest.raises(ValueError, match="do not fit"):
        merged.merge(JointHistogram(180.25, new.width, old.counts))
