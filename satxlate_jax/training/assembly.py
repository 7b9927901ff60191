"""Build the networks, the objective and the step from a configuration."""

from collections.abc import Mapping
from typing import Any

import jax

from satxlate_jax.instruments import published_statistics
from satxlate_jax.models.discriminator import Discriminator
from satxlate_jax.models.translator import Translator, build_translator
from satxlate_jax.training.channels import (
    satellite_bands,
    shared_by_pair,
    shared_units,
    skip_channels,
    training_sources,
    wavelength_channels,
)
from satxlate_jax.training.objective import WEIGHTS, Objective
from satxlate_jax.training.optimizers import make_optimizer, trainable_mask
from satxlate_jax.training.step import TrainStep

Satellites = Mapping[str, Mapping[str, Any]]


def build_networks(config: Mapping[str, Any]) -> tuple[Translator, Discriminator]:
    """The translator and the discriminators of a configuration."""
    bands = satellite_bands(config)
    settings = {name: config[name] for name in ("precision", "remat")}
    translator = build_translator(
        config["generator"],
        bands,
        skips=skip_channels(config),
        wavelength_channels=wavelength_channels(config),
        initialization=config["initialization"],
        **settings,
    )
    return translator, Discriminator(config["discriminator"], bands, **settings)


def build_objective(config: Mapping[str, Any], satellites: Satellites | None = None) -> Objective:
    """The two losses of a configuration.

    Args:
      config: a configuration (configs/default.py).
      satellites: satellite -> the 'mean' and 'std' that its images are normalised by, as a run's metadata hold them;
        only 'paper' asks. Default: the published ones, which need no data.
    """
    translator, discriminator = build_networks(config)
    section, shared = config["objective"], shared_by_pair(config)
    satellites = satellites or {
        name: dict(zip(("mean", "std"), published_statistics(name, numbers), strict=True))
        for name, numbers in translator.bands.items()
    }
    released = section["variant"] == "released"
    return Objective(
        translator,
        discriminator,
        shared=shared,
        units={k: dict.fromkeys(v) for k, v in shared.items()} if released else shared_units(shared, satellites),
        weights={term: section[name] for term, name in WEIGHTS.items()},
        variant=section["variant"],
        gan_type=section["gan_type"],
    )


def freeze_rules(config: Mapping[str, Any]) -> tuple[str, ...]:
    """`config.freeze`, and the discriminators of satellites that send no images: they have nothing to judge."""
    idle = [satellite for satellite in satellite_bands(config) if satellite not in training_sources(config)]
    return tuple(config["freeze"]) + tuple(f"discriminator/{satellite}/" for satellite in idle)


def build_train_step(config: Mapping[str, Any], satellites: Satellites | None = None) -> TrainStep:
    """The training step of a configuration, with its frozen parameters left alone; arguments as `build_objective`."""
    objective = build_objective(config, satellites)
    networks: dict[str, Any] = {"generator": objective.translator, "discriminator": objective.discriminator}
    trainable = {
        part: trainable_mask(jax.eval_shape(network.init, jax.random.key(0)), f"{part}/", freeze_rules(config))
        for part, network in networks.items()
    }
    optimizers = {
        part: make_optimizer(config["optimizer"], mask, decays=part == "generator") for part, mask in trainable.items()
    }
    return TrainStep(config, objective, optimizers, trainable)
