"""The spectral path: begins as what least squares gives, runs around the network, and is taught by measured cycles."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from satxlate_jax import load
from satxlate_jax.__main__ import main
from satxlate_jax.cli import InputError
from satxlate_jax.instruments import published_statistics
from satxlate_jax.models.translator import Translator
from satxlate_jax.training import spectral_path_init as spectral_start_module
from satxlate_jax.training.build_step import build_networks, build_objective
from satxlate_jax.training.channels import wavelength_channels
from satxlate_jax.training.config import validate
from satxlate_jax.training.input import training_batches
from satxlate_jax.training.spectral_path_init import PATCHES, STEP, spectral_start, with_spectral_start
from satxlate_jax.training.step import draw_noise
from tests.tiny_run import PATCH_SIZE, bytes_read, get_config, train_command, write_records

# G16 has 2, 3, 5, 7, 13 and H8 has 3, 4, 13: 0.64, 0.86 and 10.3 um are shared, 1.6 and 3.9 um are not
CHANNELS = {"G16": [0, 1, 2, 3, 4], "H8": [0, 1, 4]}


@pytest.fixture
def config() -> ConfigDict:
    """The tiny configuration with a spectral path."""
    config = get_config()
    config.generator.spectral_path = "linear"
    return config


def silent(params: dict) -> dict:
    """Parameters whose network gives zero, so that only the spectral path is left."""
    params = jax.tree.map(lambda leaf: leaf, params)
    for decoder in params["decoders"].values():
        decoder["conv_out"] = jax.tree.map(jnp.zeros_like, decoder["conv_out"])
    return params


def test_channels_are_wavelengths(config):
    assert wavelength_channels(config) == CHANNELS
    config.generator.spectral_path = "none"
    assert wavelength_channels(config) == {}


def test_a_coarser_latent_field_is_refused(config):
    config.generator.n_downsample = 1
    with pytest.raises(InputError, match="spectral_path needs config.generator.n_downsample 0"):
        validate(config)


@pytest.mark.parametrize("kind", ["copy", "linear", "quadratic"])
def test_it_starts_as_copy_and_least_squares(kind, config, data):
    """In physical units: shared bands are copied, lacking ones are what numpy's least squares makes of the records."""
    config.generator.spectral_path = kind
    config.data.dir = str(data)
    translator, _ = build_networks(config)
    params = with_spectral_start(translator.init(jax.random.key(0)), spectral_start(config))
    stream = training_batches(config)
    drawn = np.concatenate([next(stream)["G16"] for _ in range(PATCHES // config.batch_size)])
    mean, std = published_statistics("G16", (2, 3, 5, 7, 13))
    pixels = drawn[:, ::STEP, ::STEP].reshape(-1, 5).astype(np.float64) * std + mean

    def features(bands: np.ndarray) -> np.ndarray:
        bands = (bands - mean[[0, 1, 4]]) / std[[0, 1, 4]]
        squares = [bands[..., i] * bands[..., j] for i in range(3) for j in range(3)] if kind == "quadratic" else []
        return np.stack([*np.moveaxis(bands, -1, 0), *squares, np.ones(bands.shape[:-1])], -1)

    weights = np.linalg.lstsq(features(pixels[:, [0, 1, 4]]), pixels[:, [2, 3]], rcond=None)[0]

    own_mean, own_std = published_statistics("H8", (3, 4, 13))
    image = np.random.default_rng(3).normal(size=(1, 16, 16, 3))
    translated = translator.decode(silent(params), translator.encode(params, image.astype(np.float32), "H8"), "G16")
    translated = np.asarray(translated, np.float64) * std + mean
    physical = image * own_std + own_mean
    expected = features(physical) @ weights if kind != "copy" else np.broadcast_to(mean[[2, 3]], (1, 16, 16, 2))
    np.testing.assert_allclose(translated[..., [0, 1]], physical[..., [0, 1]], atol=1e-5)
    np.testing.assert_allclose(translated[..., 4], physical[..., 2], atol=1e-3)
    np.testing.assert_allclose(translated[..., [2, 3]], expected, atol=2e-3)
    back = translator.decode(silent(params), translator.encode(params, image.astype(np.float32), "H8"), "H8")
    np.testing.assert_allclose(back, image, atol=1e-5)


@pytest.mark.parametrize("helpful", [True, False])
def test_hidden_units_learn_what_a_regression_cannot(helpful, config, monkeypatch):
    """If a lacking band is a bend of another they find it; if it is noise they add nothing."""
    mean, std = published_statistics("G16", (2, 3, 5, 7, 13))
    own_mean, own_std = published_statistics("H8", (3, 4, 13))

    def images(seed: int, count: int) -> dict[str, np.ndarray]:
        x = np.random.default_rng(seed).normal(size=(count, 16, 16, 5))
        x[..., 2] = np.abs(x[..., 0]) if helpful else np.random.default_rng(seed + 1).normal(size=x.shape[:-1])
        return {"G16": x.astype(np.float32), "H8": np.zeros((count, 16, 16, 3), np.float32)}

    monkeypatch.setattr(
        spectral_start_module, "training_batches", lambda config: (images(k, 4) for k in itertools.count())
    )
    monkeypatch.setattr(spectral_start_module, "validation_batches", lambda config: [images(10_000, 8)])
    monkeypatch.setattr(spectral_start_module, "PATCHES", 256)
    monkeypatch.setattr(spectral_start_module, "_FIT_STEPS", 1_000)
    config.batch_size, config.generator.spectral_path, config.generator.spectral_hidden = 4, "linear", 24
    translator, _ = build_networks(config)
    params = with_spectral_start(translator.init(jax.random.key(0)), spectral_start(config))
    fresh = images(20_000, 8)["G16"]
    given = ((fresh * std + mean)[..., [0, 1, 4]] - own_mean) / own_std
    z = translator.encode(params, given.astype(np.float32), "H8")
    translated = np.asarray(translator.decode(silent(params), z, "G16"))
    error = np.sqrt(((translated - fresh) ** 2).mean((0, 1, 2)))
    np.testing.assert_allclose(error[[0, 1, 4]], 0, atol=1e-4)
    assert error[3] == pytest.approx(1, abs=0.05)  # noise in either case
    assert error[2] < 0.15 if helpful else error[2] == pytest.approx(1, abs=0.05)
    last = params["encoders"]["H8"]["spectral"]["inferred"]["last"]["kernel"]
    assert np.any(last[:, 0]) == helpful and not np.any(last[:, 1])
    assert "inferred" not in params["encoders"]["G16"]["spectral"]  # G16 lacks nothing


def test_the_fit_reads_a_bounded_part_of_either_split(config, tmp_path, monkeypatch):
    """As the system counts it: no more than what is fitted on, and the batches that are read ahead."""
    monkeypatch.setattr(spectral_start_module, "PATCHES", 64)
    monkeypatch.setattr(spectral_start_module, "_FIT_STEPS", 2)
    config.data.dir, config.generator.spectral_hidden = str(tmp_path), 4
    write_records(tmp_path, train=640, validation=960)
    spectral_start(config)  # with what is read to find out what there is, and by jax of every package installed
    before = bytes_read()
    spectral_start(config)
    record = 2 * PATCH_SIZE**2 * (5 + 3) + 400
    descriptions = 100_000
    assert bytes_read() - before < 2 * (64 + 5 * config.batch_size) * record + 100 * 2 * 1600 + descriptions


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("generator.spectral_path", "none", "spectral_hidden needs a spectral_path that is 'linear' or 'quadratic'"),
        ("generator.spectral_path", "copy", "spectral_hidden needs a spectral_path that is 'linear' or 'quadratic'"),
    ],
)
def test_what_hidden_units_cannot_go_with(config, field, value, message):
    config.generator.spectral_path, config.generator.spectral_hidden = "linear", 8
    config.update_from_flattened_dict({field: value})
    with pytest.raises(InputError, match=message):
        validate(config)


def test_the_path_takes_no_noise(config):
    translator, _ = build_networks(config)
    batch = {"G16": jnp.zeros((2, 16, 16, 5))}
    silent = translator.latent_channels - translator.noisy_channels
    noise = draw_noise(jax.random.key(0), batch, 1, translator.noisy_channels, silent)["G16"]
    assert silent == 5 and noise.shape[-1] == translator.latent_channels
    assert not noise[..., -silent:].any() and noise[..., :-silent].all()


def test_without_it_nothing_changes(config):
    """The same parameters, the same image: the path only adds."""
    with_path, _ = build_networks(config)
    plain = Translator(config.generator, with_path.bands)
    params = with_path.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (1, 16, 16, 3))
    z = with_path.encode(params, x, "H8")
    stripped = jax.tree.map(lambda leaf: leaf, params)
    for part in ("encoders", "decoders"):
        for networks in stripped[part].values():
            del networks["spectral"]
    np.testing.assert_allclose(plain.encode(stripped, x, "H8"), z[..., : plain.latent_channels], atol=1e-6)
    added = with_path.decode(params, z, "G16") - plain.decode(stripped, z[..., : plain.latent_channels], "G16")
    np.testing.assert_allclose(added[..., [0, 1, 4]], x, atol=1e-6)  # the fresh path copies in network units
    np.testing.assert_allclose(added[..., [2, 3]], 0, atol=1e-6)


def test_a_measured_cycle_hides_nothing(config):
    """By hand: k's measurements replace the shared bands half-way; no gradient flows through the rest."""
    config.objective.recon_measured_w = 2.0
    objective = build_objective(config)
    translator = objective.translator
    params = translator.init(jax.random.key(0))
    discriminator = objective.discriminator.init(jax.random.key(1))
    batch = {"G16": jax.random.normal(jax.random.key(2), (2, 16, 16, 5))}
    batch["H8"] = jax.random.normal(jax.random.key(3), (2, 16, 16, 3))
    noise = draw_noise(jax.random.key(4), batch, 1, translator.noisy_channels, 5)
    total, parts = jax.jit(objective.generator_loss, static_argnums=4)(params, discriminator, batch, noise, 1)

    half_way = batch["G16"][..., jnp.array([0, 1, 4])]  # H8 has no band of its own here: all of it is measured
    back = translator.decode(params, translator.encode(params, half_way, "H8"), "G16")
    np.testing.assert_allclose(parts["items"]["measured"][0], jnp.mean((back - batch["G16"]) ** 2), rtol=1e-5)
    filled = parts["translations"]["H8"]["G16"].at[..., jnp.array([0, 1, 4])].set(batch["H8"])
    back = translator.decode(params, translator.encode(params, filled, "G16"), "H8")
    np.testing.assert_allclose(parts["items"]["measured"][1], jnp.mean((back - batch["H8"]) ** 2), rtol=1e-5)

    config.objective.recon_measured_w = 0.0
    loss = jax.jit(build_objective(config).generator_loss, static_argnums=4)
    without, parts_without = loss(params, discriminator, batch, noise, 1)
    assert "measured" not in parts_without["terms"]
    np.testing.assert_allclose(total - without, 2 * parts["terms"]["measured"], rtol=1e-4)


def test_measurements_do_not_count_as_size_of_the_encodings(config):
    """By hand: the network's channels come first; the path's are compared after a cycle, their size is not limited."""
    config.objective.recon_kl_cyc_w = 0.3
    objective = build_objective(config)
    translator, width = objective.translator, config.generator.dim
    params = translator.init(jax.random.key(0))
    discriminator = objective.discriminator.init(jax.random.key(1))
    bands = config.data.satellites
    images = {name: jax.random.normal(jax.random.key(2), (2, 8, 8, len(bands[name]))) for name in bands}
    noise = {name: jnp.zeros((2, 8, 8, translator.latent_channels)) for name in bands}
    terms = jax.jit(objective.generator_loss, static_argnums=4)(params, discriminator, images, noise, 1)[1]["terms"]

    z = {k: np.asarray(translator.encode(params, images[k], k)) for k in bands}
    assert all(values.shape[-1] == width + 5 for values in z.values())
    again = {
        (k, q): np.asarray(translator.encode(params, translator.decode(params, z[k], q), q))
        for k in bands
        for q in bands
    }
    kl = np.mean([np.mean(values[..., :width] ** 2) for values in z.values()])
    np.testing.assert_allclose(terms["kl"], kl, rtol=1e-5)
    kl_cyc = np.mean([np.mean(values[..., :width] ** 2) for values in again.values()])
    np.testing.assert_allclose(terms["kl_cyc"], kl_cyc, rtol=1e-5)
    difference = np.mean([np.mean((z[k] - values) ** 2) for (k, _), values in again.items()])
    np.testing.assert_allclose(terms["cycle_z_recon"], difference, rtol=1e-5)


def test_a_run_with_it_trains_and_translates(data, tmp_path):
    """The command, its checkpoint and what `load` makes of it: untrained, the lacking band is the regression's."""
    words = ("--config.generator.spectral_path=copy", "--config.objective.recon_measured_w=1.0")
    words += ("--config.steps=1", "--config.optimizer.learning_rate=1e-9")
    assert main(["train", *train_command(tmp_path / "run", data, *words)[4:]]) == 0
    translator = load(tmp_path / "run")
    mean, std = published_statistics("H8", (3, 4, 13))
    images = mean + std * np.random.default_rng(0).normal(size=(1, 16, 16, 3)).clip(-1, 1)
    translated = translator.translate(images, to="G16", source="H8")
    np.testing.assert_allclose(translated[..., [0, 1]], images[..., [0, 1]], atol=0.02)
    np.testing.assert_allclose(translated[..., 4], images[..., 2], atol=0.5)
