"""Bands that two satellites share are compared and copied in physical units, however each is normalised."""

import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from PIL import Image
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from satxlate_jax.instruments import published_statistics
from satxlate_jax.training import sharding
from satxlate_jax.training.build_step import build_objective
from satxlate_jax.training.config import validate
from satxlate_jax.training.input import data_metadata, validation_batches
from satxlate_jax.training.loop import train
from satxlate_jax.training.monitoring import Monitor
from satxlate_jax.training.step import draw_noise
from satxlate_jax.training.validation import Validation
from tests import tiny_run

SATELLITES = {"G16": (2, 3, 5, 7, 13), "G17": (13, 2), "H8": (3, 4, 13)}
# channels of the first that the second has too, by hand: 0.64, 0.865, 10.35 um; G17 has them in another order
SHARED = {
    ("G16", "H8"): [0, 1, 4],
    ("H8", "G16"): [0, 1, 2],
    ("G16", "G17"): [0, 4],
    ("G17", "G16"): [1, 0],
    ("H8", "G17"): [0, 2],
    ("G17", "H8"): [1, 0],
}
PAIRS = [(k, q) for k in SATELLITES for q in SATELLITES if q != k]
STATISTICS = {
    "G16": {"mean": [0.3, 0.2, 0.25, 290.0, 280.0], "std": [0.2, 0.3, 0.1, 9.0, 12.0]},
    "H8": {"mean": [0.6, 0.5, 265.0], "std": [0.35, 0.1, 7.0]},
    "G17": {"mean": [271.0, 0.45], "std": [5.0, 0.28]},
}


QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}  # to compile


def small_config(satellites=SATELLITES, **fields):
    config = tiny_run.get_config()
    config.data.satellites = type(config.data.satellites)(satellites, sort_keys=False)
    config.generator.dim = config.discriminator.dim = 2
    config.objective.recon_measured_w = 0.5
    config.update_from_flattened_dict(fields)
    validate(config)
    return config


def inputs(objective, bands):
    """Weights of visible size, a batch and noise."""
    translator = objective.translator
    networks = translator, objective.discriminator
    generator, discriminator = (
        jax.tree.map(lambda x: 8 * x + 0.01, network.init(jax.random.key(k))) for k, network in enumerate(networks)
    )
    batch = {name: jax.random.normal(jax.random.key(2), (4, 8, 8, len(numbers))) for name, numbers in bands.items()}
    silent = translator.latent_channels - translator.noisy_channels
    return generator, discriminator, batch, draw_noise(jax.random.key(3), batch, 1, translator.noisy_channels, silent)


def generator_loss(losses, *arguments):
    return jax.jit(lambda *given: losses.generator_loss(*given, 1), compiler_options=QUICK)(*arguments)


def physical(x, satellite):
    return np.asarray(x, np.float64) * STATISTICS[satellite]["std"] + STATISTICS[satellite]["mean"]


def network_units(values, satellite):
    return (values - np.array(STATISTICS[satellite]["mean"])) / STATISTICS[satellite]["std"]


def in_the_targets_image(batch, image, k, q):
    """The translation with k's own measurements in the bands that both have, as physical values say."""
    values = physical(image, q)
    values[..., SHARED[q, k]] = physical(batch[k], k)[..., SHARED[k, q]]
    return network_units(values, q)


def test_shared_and_measured_agree_with_a_formula_in_physical_units():
    """'shared' is in units of the target's deviation, 'measured' in those of the source's, which is what comes back."""
    config = small_config()
    objective = build_objective(config, STATISTICS)
    arguments = generator, _, batch, _ = inputs(objective, SATELLITES)
    _, parts = generator_loss(objective, *arguments)
    translator = objective.translator
    images = {(k, q): np.asarray(parts["translations"][k][q]) for k, q in PAIRS}
    half_way = {
        (k, q): jnp.asarray(in_the_targets_image(batch, image, k, q), jnp.float32) for (k, q), image in images.items()
    }
    come_back = jax.jit(
        lambda given: {
            (k, q): translator.decode(generator, translator.encode(generator, x, q), k) for (k, q), x in given.items()
        },
        compiler_options=QUICK,
    )(half_way)
    shared, measured = [], []
    for (k, q), image in images.items():
        error = physical(image, q)[..., SHARED[q, k]] - physical(batch[k], k)[..., SHARED[k, q]]
        shared.append(np.mean((error / np.array(STATISTICS[q]["std"])[SHARED[q, k]]) ** 2))
        error = physical(come_back[k, q], k) - physical(batch[k], k)
        measured.append(np.mean((error / STATISTICS[k]["std"]) ** 2))
    np.testing.assert_allclose(parts["items"]["shared"], shared, rtol=1e-6)
    np.testing.assert_allclose(parts["items"]["measured"], measured, rtol=1e-5)


def copying(translator):
    """Parameters that translate by copying every band to the same wavelength, in physical units, and add nothing."""
    generator = jax.tree.map(lambda leaf: leaf, translator.init(jax.random.key(0)))
    for name, entry in STATISTICS.items():
        mean, std = np.array(entry["mean"]), np.array(entry["std"])
        encoder, decoder = generator["encoders"][name]["spectral"], generator["decoders"][name]["spectral"]
        own = np.asarray(encoder["kernel"])  # a fresh path copies in network units: [band, slot] of zeros and ones
        # slots hold physical values: reflectances, or what a temperature is above 273 K, in units of 10 K
        zero, unit = np.where(mean > 100, 273.0, 0.0), np.where(mean > 100, 10.0, 1.0)
        encoder.update(kernel=own * (std / unit)[:, None], bias=((mean - zero) / unit) @ own)
        decoder.update(kernel=(own * (unit / std)[:, None]).T, bias=(zero - mean) / std)
        generator["decoders"][name]["conv_out"] = jax.tree.map(jnp.zeros_like, generator["decoders"][name]["conv_out"])
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), generator)


def test_a_translator_that_copies_shared_bands_has_no_error():
    objective = build_objective(small_config(**{"generator.spectral_path": "copy"}), STATISTICS)
    _, *arguments = inputs(objective, SATELLITES)
    found = generator_loss(objective, copying(objective.translator), *arguments)[1]["items"]
    assert max(found["shared"]) < 1e-10
    # H8 by way of G16, and G17 by way of either, lose nothing; the others lose the bands that the target lacks
    for (k, q), value in zip(PAIRS, found["measured"], strict=True):
        assert (float(value) < 1e-10) == (len(SHARED[k, q]) == len(SATELLITES[k])), (k, q, float(value))


def test_equal_statistics_change_nothing():
    """To the last bit: alike ones, whatever they are, are as none."""
    mean, std = published_statistics("G16", (2, 3, 13))
    alike = {"G16": (2, 3, 13), "G17": (2, 3, 13)}
    config = small_config(alike)
    losses = []
    for statistics in (None, {name: {"mean": list(mean + 1), "std": list(std * 3)} for name in alike}):
        objective = build_objective(config, statistics)
        arguments = inputs(objective, alike)
        losses.append(generator_loss(objective, *arguments))
    jax.tree.map(np.testing.assert_array_equal, *losses)


def test_the_release_compares_in_network_units():
    """It knows no other statistics than the published, the same for all."""
    fields = {"objective.variant": "released", "objective.recon_measured_w": 0.0}
    config = small_config({name: SATELLITES[name] for name in ("G16", "H8")}, **fields)
    config.data.shared = {"G16": {"H8": (0, 1, 4)}, "H8": {"G16": (0, 1, 2)}}
    losses = []
    for statistics in (None, STATISTICS):
        objective = build_objective(config, statistics)
        losses.append(generator_loss(objective, *inputs(objective, config.data.satellites)))
    jax.tree.map(np.testing.assert_array_equal, *losses)


@pytest.fixture
def config_with_statistics(tmp_path):
    """A configuration whose data sets say STATISTICS of themselves."""
    satellites = {name: SATELLITES[name] for name in ("G16", "H8")}
    fields = {"normalization": "dataset", "data.dir": str(tmp_path / "data"), "generator.spectral_path": "linear"}
    tiny_run.write_records(tmp_path / "data", satellites=satellites)
    for name, numbers in satellites.items():
        values = [
            dict(zip(("mean", "std"), pair, strict=True)) for pair in zip(*STATISTICS[name].values(), strict=True)
        ]
        bands = dict(zip((f"BAND{number:02d}" for number in numbers), values, strict=True))
        (folder,) = tmp_path.glob(f"data/geonex_l1g/{name}/1.0.0")
        (folder / "statistics.json").write_text(json.dumps({"satellite": name, "splits": {"train": bands}}))
    return small_config(satellites, **fields)


def test_validation_scores_shared_bands_in_physical_units(config_with_statistics):
    config = config_with_statistics
    metadata = data_metadata(config)
    objective = build_objective(config, metadata)
    generator = inputs(objective, config.data.satellites)[0]
    config.validation_batches = 1
    scores = Validation(config, sharding.make_mesh(), objective, metadata).scores(generator)
    batch = next(validation_batches(config))
    for k, q in (("G16", "H8"), ("H8", "G16")):
        image = objective.translator.decode(generator, objective.translator.encode(generator, batch[k], k), q)
        error = physical(image, q)[..., SHARED[q, k]] - physical(batch[k], k)[..., SHARED[k, q]]
        for channel, values in zip(SHARED[k, q], np.moveaxis(error, -1, 0), strict=True):
            number = SATELLITES[k][channel]
            name, unit = f"validation_shared/{k}-{q}/BAND{number:02d}", "K" if number > 6 else "reflectance"
            np.testing.assert_allclose(scores[f"{name}/bias_{unit}"], values.mean(), rtol=1e-5)
            np.testing.assert_allclose(scores[f"{name}/rmse_{unit}"], np.sqrt((values**2).mean()), rtol=1e-5)


def test_a_run_with_statistics_of_the_data_begins_without_error_in_shared_bands(config_with_statistics, tmp_path):
    """The command's own: its spectral path begins as a copy, before a step without learning and after."""
    config = config_with_statistics
    config.steps = config.validate_every = config.log_every = 1
    config.optimizer.learning_rate = 1e-12
    assert train(config, str(tmp_path / "run")) == 1
    scalars = tiny_run.read_scalars(tmp_path / "run")
    assert scalars["generator/shared"][0][1] < 1e-10
    for name, [(_, value)] in scalars.items():
        if name.startswith("validation_shared/"):
            assert abs(value) < 1e-4, name


def test_a_grey_of_a_picture_means_the_same_for_every_satellite(tmp_path):
    """A copy in physical units looks like what it is a copy of."""
    bands = {name: list(SATELLITES[name]) for name in ("G16", "G17")}
    metadata = {"satellites": {name: STATISTICS[name] | {"bands": numbers} for name, numbers in bands.items()}}
    images = {name: np.zeros((1, 8, 8, len(numbers)), np.float32) for name, numbers in bands.items()}
    images["G16"][..., 4] = np.linspace(-1, 1, 8)
    copied = np.zeros((1, 8, 8, 2))
    copied[..., 0] = physical(images["G16"], "G16")[..., 4]
    translations = {k: dict(images) for k in images}
    translations["G16"]["G17"] = network_units(copied, "G17").astype(np.float32)
    monitor = Monitor(epath.Path(tmp_path), -1, metadata)
    monitor.write_pictures(1, images, translations)
    monitor.close()
    (path,) = tmp_path.glob("events.out.tfevents.*.v2")
    values = [value for event in EventFileLoader(str(path)).Load() for value in event.summary.value]
    (tensor,) = [value.tensor for value in values if value.tag.startswith("infrared/G16 | itself | as G17")]
    picture = np.asarray(Image.open(io.BytesIO(tensor.string_val[2])), int)
    observed, itself, translated = np.split(picture, 3, axis=1)
    assert observed.std() > 20
    assert np.abs(observed - itself).max() == 0 and np.abs(observed - translated).max() <= 1
