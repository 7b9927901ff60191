"""TensorBoard of a spectral flow, by TensorBoard's own reader: scores, maps and the card, against what is known."""

import io

import jax
import numpy as np
import pytest
from PIL import Image
from scipy import stats
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from satxlate_jax import load
from satxlate_jax.__main__ import main
from satxlate_jax.instruments import published_statistics
from satxlate_jax.models import wavelet
from satxlate_jax.training import input as batches
from tests import tiny_flow, tiny_run

INFERRED = {"G16-G17": (3, 7, 11, 12), "G16-H8": (3, 7), "H8-G17": (11, 12)}


@pytest.fixture(scope="module")
def run():
    return tiny_flow.finished_run()


@pytest.fixture(scope="module")
def events(run):
    found = EventAccumulator(str(run), tensor_size_guidance={"images": 0, "text": 0})
    found.Reload()
    return found


@pytest.fixture(scope="module")
def predicted(run):
    """The patches of G16 that were scored, and their distribution given the bands of G17; published network units."""
    config = tiny_flow.get_config()
    config.data.dir = str(tiny_flow.records())
    found = list(batches.validation_batches(config))[: config.validation_batches]
    images = np.concatenate([batch["G16"] for batch in found])
    translator = load(run)
    given = [tiny_flow.SATELLITES["G16"].index(band) for band in tiny_flow.SATELLITES["G17"]] + [-2, -1]
    made = translator.network.distribution(translator.params, images[..., given], "G17", "G16")
    return images[..., :-2], np.asarray(made.mean), np.asarray(made.std)


def test_coverage_and_crps_are_those_of_the_distribution(run, predicted):
    """Of the run as it translates: calibrated. Of given bands, which have no distribution, there are none."""
    truth, mean, std = predicted
    scalars = tiny_run.read_scalars(run)
    for place, band in enumerate(tiny_flow.SATELLITES["G16"]):
        tag = f"validation_withheld/G16-G17/BAND{band:02d}"
        assert (f"{tag}/coverage_1sd" in scalars) == (band in INFERRED["G16-G17"])
        if band not in INFERRED["G16-G17"]:
            continue
        z = (truth - mean)[..., place] / std[..., place]
        for k in (1, 2):
            assert scalars[f"{tag}/coverage_{k}sd"][-1] == (6, pytest.approx(np.mean(np.abs(z) <= k), abs=2e-3))
        grid = np.linspace(-12, 12, 4001)  # CRPS by its definition, an integral
        steps = (stats.norm.cdf(grid) - (grid >= z.ravel()[::50, None])) ** 2
        crps = std[..., place].ravel()[::50] * steps.sum(-1) * (grid[1] - grid[0])
        unit, scale = "K" if band > 6 else "reflectance", published_statistics("G16", [band])[1][0]
        step, found = scalars[f"{tag}/crps_{unit}"][-1]
        assert step == 6 and found == pytest.approx(scale * crps.mean(), rel=0.1)
        assert scalars[f"{tag}/rmse_{unit}"][-1][1] == pytest.approx(
            scale * np.sqrt(np.mean((truth - mean)[..., place] ** 2)), rel=1e-3
        )


def test_likelihoods_are_of_each_level_and_finite(run):
    """What is withheld has NOISE of a band's deviation; a level is as likely as Gaussian noise of that size."""
    scalars = {tag: points for tag, points in tiny_run.read_scalars(run).items() if tag.startswith("validation_")}
    assert all(np.isfinite([value for _, value in points]).all() for points in scalars.values())
    white = np.random.default_rng(0).normal(0, tiny_flow.NOISE, (64, 16, 16, 1))
    noise = jax.jit(wavelet.transform, static_argnums=1)(white, 2)
    expected = {}
    for band in wavelet.subbands((16, 16), 2):
        part = np.asarray(noise[:, band.rows, band.columns])
        expected.setdefault(band.level, []).append((part.size, -np.log(part.std()) - 0.5 * np.log(2 * np.pi) - 0.5))
    for route in INFERRED:
        for level, parts in expected.items():
            sizes, values = zip(*parts, strict=True)
            (_, first), (step, last) = scalars[f"validation_withheld/{route}/level_{level}/log_likelihood"]
            assert step == 6 and last == pytest.approx(np.average(values, weights=sizes), abs=0.5), (route, level)
            assert abs(last - first) < 1
        assert f"validation_withheld/{route}/level_3/log_likelihood" not in scalars


def test_maps_show_truth_mean_sample_and_standard_deviation(events, predicted):
    maps = [tag for tag in events.Tags()["tensors"] if tag.startswith("withheld/")]
    caption = "withheld/{} BAND{:02d} | mean from {} | sample | standard deviation"
    assert sorted(maps) == sorted(
        caption.format(*route.split("-")[:1], band, route.split("-")[1])
        for route, bands in INFERRED.items()
        for band in bands
    )
    truth, mean, std = (part[:4, ..., tiny_flow.SATELLITES["G16"].index(7)] for part in predicted)
    (event,) = events.Tensors(caption.format("G16", 7, "G17"))
    width, height, *pictures = tensor_util.make_ndarray(event.tensor_proto)
    assert event.step == 6 and (int(width), int(height)) == (4 * 16, 16) and len(pictures) == 4
    for index, picture in enumerate(pictures):
        parts = np.split(np.asarray(Image.open(io.BytesIO(picture)), float) / 255, 4, axis=1)
        for part, values in zip(parts[:2], (truth, mean), strict=True):
            np.testing.assert_allclose(part, np.clip(0.5 - values[index] / 6, 0, 1), atol=0.005)
        np.testing.assert_allclose(parts[3], std[index], atol=0.005)
        rough = (parts[2] - parts[1]) * 6
        assert np.std(rough) == pytest.approx(tiny_flow.NOISE, rel=0.3)


def test_the_card_is_that_of_info_but_for_when_it_was_written(run, events, capsys):
    first, *_, last = (tensor_util.make_ndarray(event.tensor_proto).item().decode() for event in events.Tensors("run"))
    assert main(["info", str(run)]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "checkpoint written" not in line]
    assert last.splitlines() == ["```", *told, "```"]
    assert "G17, ABI: bands 2 (0.64 um), 8 (6.19 um), 10 (7.34 um)" in first
    assert "step 0 of 6" in first and "none yet: standard deviations are fitted" in first and "none are stored" in first
