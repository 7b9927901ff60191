"""What a spectral flow fits in closed form, on fields whose law is known: its distribution, samples and adapters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.base_flow import use_flow
from satxlate_jax.instruments import published_statistics
from satxlate_jax.models.spectral_flow import SpectralFlow
from satxlate_jax.training.build_step import build_train_step
from satxlate_jax.training.flow_calibration import calibrate
from satxlate_jax.training.flow_init import Pixels, fit_adapters, fit_start
from satxlate_jax.training.input import Examples
from satxlate_jax.wavelength_axis import WavelengthAxis
from tests import tiny_run

SIZE, NOISE = 64, 0.3
BANDS = {"G16": (8, 10, 12), "G17": (8, 10)}
FREQUENCY = np.hypot(np.fft.fftfreq(2 * SIZE)[:, None], np.fft.rfftfreq(2 * SIZE))


def gaussian(random, count, slope, corner):
    """Stationary Gaussian fields of unit variance whose power falls as frequency ** -slope above the corner."""
    amplitude = (corner**2 + FREQUENCY**2) ** (-slope / 4)
    waves = np.fft.rfft2(random.normal(size=(count, 2 * SIZE, 2 * SIZE)))
    fields, unit = (np.fft.irfft2(x * amplitude, s=(2 * SIZE, 2 * SIZE)) for x in (waves, np.fft.rfft2(IMPULSE)))
    return fields[:, :SIZE, :SIZE] / np.sqrt(np.sum(unit**2))


IMPULSE = np.eye(1, 4 * SIZE**2).reshape(2 * SIZE, 2 * SIZE)


def scenes(seed, count):
    """Images [n, h, w, band and angle]; band 12 is linear in the others but for noise of a known spectrum."""
    random = np.random.default_rng(seed)
    u, v = gaussian(random, 2 * count, 4, 0.03).reshape(2, count, SIZE, SIZE)
    third = 0.6 * u - 0.5 * v + NOISE * gaussian(random, count, 2, 0.1)
    return np.stack([u, v, third, np.full_like(u, 0.5), np.full_like(u, 1.5)], -1).astype(np.float32)


def fine_power(fields):
    """The power of fields [n, h, w] at wavelengths below ten pixels, 20 km."""
    window = np.outer(np.hanning(SIZE), np.hanning(SIZE))
    spectrum = np.mean(np.abs(np.fft.rfft2(fields * window)) ** 2, 0)
    return spectrum[np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)) > 0.1].sum()


@pytest.fixture(scope="module")
def trained():
    """The flow and its parameters after 20 steps and the calibration."""
    config = use_flow(tiny_run.get_config(), 20)
    config.data.satellites = type(config.data.satellites)(BANDS, sort_keys=False)
    config.flow.width, config.flow.degree, config.flow.levels = 4, 1, 4
    step = build_train_step(config)
    flow, images = step.objective.translator, scenes(0, 96)
    places = np.arange(96) % 8
    examples = {"G16": Examples(images, 2019001 + places, np.array([f"h1{place}v05" for place in places]))}
    state = jax.jit(step.fresh_state)(jax.random.key(0))
    state = step.init(fit_start(flow, state.generator, examples), state.discriminator)
    take = jax.jit(step, static_argnames="cycles")
    for index in range(20):
        state, _ = take(state, {"G16": images[4 * index : 4 * index + 4]}, jax.random.key(0), cycles=1)
    return flow, state.inference_params | {"calibration": calibrate(flow, state.inference_params, examples, {})}


def test_a_known_conditional_law_is_found(trained):
    flow, params = trained
    images = scenes(1, 96)
    given, truth = images[..., [0, 1, 3, 4]], images[..., 2]
    found = jax.jit(lambda x: flow.distribution(params, x, "G17", "G16"))(given)
    draw = jax.jit(lambda x, key: flow.distribution(params, x[None], "G17", "G16", key).sample[0, ..., 2])
    drawn = np.stack([draw(*each) for each in zip(given, jax.random.split(jax.random.key(1), 96), strict=True)])
    mean, std = np.asarray(found.mean)[..., 2], np.asarray(found.std)[..., 2]
    error = truth - mean
    assert np.sqrt(np.mean(error**2)) < 1.03 * NOISE
    for deviations, share in ((1, 0.683), (2, 0.954)):
        assert np.mean(np.abs(error) < deviations * std) == pytest.approx(share, abs=0.02)
    z = jnp.asarray(error / std)
    crps = std * (z * (2 * jax.scipy.stats.norm.cdf(z) - 1) + 2 * jax.scipy.stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    assert float(crps.mean()) == pytest.approx(NOISE / np.sqrt(np.pi), rel=0.04)  # that of a Gaussian, best possible
    assert fine_power(drawn) / fine_power(truth) == pytest.approx(1, abs=0.05)
    assert fine_power(drawn - mean) / fine_power(error) == pytest.approx(1, abs=0.05)
    assert np.std(drawn - mean) == pytest.approx(NOISE, rel=0.06)


def test_the_double_difference_is_the_other_instrument_s_band():
    """8.5 um of two instruments, each linear in two bands that are alike, seen by each in scenes of its own."""
    bands = {"G16": (8, 10, 11), "H8": (8, 10, 11)}
    statistics = {name: published_statistics(name, numbers) for name, numbers in bands.items()}
    entries = {
        name: {"bands": bands[name], "mean": mean.tolist(), "std": std.tolist()}
        for name, (mean, std) in statistics.items()
    }
    config = tiny_run.get_config()
    flow = SpectralFlow(config.flow, WavelengthAxis.of(entries), bands)
    random = np.random.default_rng(0)
    laws = {"G16": ([0.5, 0.4], 0.0), "H8": ([0.3, 0.7], 0.2)}

    def see(satellite, alike, rest):
        weights, offset = laws[satellite]
        return np.concatenate([alike, (alike @ weights + offset + rest)[..., None]], -1)

    pixels = {}
    for name, level in (("G16", 0.0), ("H8", 1.0)):  # different scenes
        values = see(name, random.normal(level, 1, (20_000, 2)), random.normal(0, 0.1, 20_000))
        pixels[name] = Pixels(values, np.full((20_000, 2), 0.5), np.arange(20_000) % 4)
    params = {"adapters": jax.tree.map(np.float32, fit_adapters(flow, pixels))}
    alike, rest = random.normal(0, 1, (6, 5, 2)), random.normal(0, 0.1, (6, 5))
    ours, theirs = (np.float32(see(name, alike, rest)) for name in bands)
    made = flow.from_axis(params, flow.to_axis(params, ours, "G16"), "H8")
    np.testing.assert_allclose(made, theirs, atol=0.02)
    np.testing.assert_allclose(flow.from_axis(params, flow.to_axis(params, made, "H8"), "G16"), ours, atol=1e-5)
    assert np.abs(theirs - ours)[..., 2].max() > 0.5
