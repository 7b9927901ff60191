"""Build the networks, the objective and the step from a configuration."""

from collections.abc import Mapping
from typing import Any

from satxlate_jax.models.discriminator import Discriminator
from satxlate_jax.models.families import AnyTranslator, make_translator
from satxlate_jax.models.spectral_flow import SpectralFlow
from satxlate_jax.training.channels import (
    satellite_bands,
    satellite_statistics,
    shared_by_pair,
    shared_units,
    skip_channels,
    training_sources,
    wavelength_channels,
)
from satxlate_jax.training.flow_objective import FlowObjective, FlowStep
from satxlate_jax.training.objective import WEIGHTS, Objective
from satxlate_jax.training.step import TrainStep

Satellites = Mapping[str, Mapping[str, Any]]


def satellite_entries(config: Mapping[str, Any], satellites: Satellites | None = None) -> dict[str, dict[str, Any]]:
    """What a run's metadata hold of its satellites: bands, mean, std (by default the published ones), skips, slots."""
    entries = {
        name: entry | dict((satellites or {}).get(name, {})) for name, entry in satellite_statistics(config).items()
    }
    for key, channels in (("skips", skip_channels(config)), ("slots", wavelength_channels(config))):
        for name, found in channels.items():
            entries[name][key] = found
    return entries


def build_networks(
    config: Mapping[str, Any], satellites: Satellites | None = None
) -> tuple[AnyTranslator, Discriminator]:
    """The translator and the discriminators of a configuration; the spectral flow has none of these."""
    translator = make_translator(config, satellite_entries(config, satellites))
    judged = {} if isinstance(translator, SpectralFlow) else satellite_bands(config)
    settings = {name: config[name] for name in ("precision", "remat")}
    return translator, Discriminator(config["discriminator"], judged, **settings)


def build_objective(config: Mapping[str, Any], satellites: Satellites | None = None) -> Objective | FlowObjective:
    """The losses of a configuration.

    `satellites` holds the 'mean' and 'std' that a satellite's images are normalised by, as a run's metadata do; by
    default they are the published ones, which need no data.
    """
    translator, discriminator = build_networks(config, satellites)
    if isinstance(translator, SpectralFlow):
        return FlowObjective(translator, discriminator)
    section, shared = config["objective"], shared_by_pair(config)
    return Objective(
        translator,
        discriminator,
        shared=shared,
        units=shared_units(shared, satellites or satellite_statistics(config)),
        weights={term: section[name] for term, name in WEIGHTS.items()},
        variant=section["variant"],
        gan_type=section["gan_type"],
    )


def freeze_rules(config: Mapping[str, Any]) -> tuple[str, ...]:
    """`config.freeze`, discriminators of satellites that send no images, and what a spectral flow fits beforehand."""
    if config["generator"]["family"] == "spectral_flow":
        return (*config["freeze"], "generator/(?!network/)")
    idle = [satellite for satellite in satellite_bands(config) if satellite not in training_sources(config)]
    return tuple(config["freeze"]) + tuple(f"discriminator/{satellite}/" for satellite in idle)


def build_train_step(config: Mapping[str, Any], satellites: Satellites | None = None) -> TrainStep:
    """The training step of a configuration, with its frozen parameters left alone; arguments as `build_objective`."""
    objective = build_objective(config, satellites)
    step = FlowStep if isinstance(objective, FlowObjective) else TrainStep
    return step(config, objective, freeze_rules(config))
