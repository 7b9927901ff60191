"""From a configuration to the networks, the objective and the step."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from satxlate_jax.instruments import published_statistics
from satxlate_jax.models.abreast import places
from satxlate_jax.models.discriminator import Discriminator, build_discriminator
from satxlate_jax.models.translator import Translator, build_translator
from satxlate_jax.training.channels import (
    Units,
    satellite_bands,
    shared_by_pair,
    shared_units,
    skip_channels,
    spectral_slots,
    streams,
)
from satxlate_jax.training.objective import WEIGHTS, Objective
from satxlate_jax.training.optimizers import trainable_mask
from satxlate_jax.training.pair_budget import ANY, PairBudget
from satxlate_jax.training.step import TrainStep, make_train_step

Satellites = Mapping[str, Mapping[str, Any]]


def build_networks(config: Mapping[str, Any]) -> tuple[Translator, Discriminator]:
    """The translator and the discriminators of a configuration."""
    bands = satellite_bands(config)
    settings = {name: config[name] for name in ("precision", "abreast", "remat")}
    translator = build_translator(
        config["generator"],
        bands,
        skips=skip_channels(config),
        slots=spectral_slots(config),
        initialization=config["initialization"],
        **settings,
    )
    return translator, build_discriminator(config["discriminator"], bands, **settings)


def build_objective(config: Mapping[str, Any], satellites: Satellites | None = None) -> Objective:
    """The two losses of a configuration.

    Args:
      config: a configuration (configs/default.py).
      satellites: satellite -> the 'mean' and 'std' that its images are normalised by, as a run's facts hold them; only
        'paper' asks. Default: the published ones, which need no data.
    """
    translator, discriminator = build_networks(config)
    section, shared, abreast = config["objective"], shared_by_pair(config), config["abreast"]
    if section["variant"] == "released":
        units = {k: dict.fromkeys(others) for k, others in shared.items()}
    else:
        units = shared_units(shared, satellites or _published(config))
    return Objective(
        translator,
        discriminator,
        shared={k: {q: places(channels, abreast) for q, channels in others.items()} for k, others in shared.items()},
        units={k: {q: _repeat(parts, abreast) for q, parts in others.items()} for k, others in units.items()},
        weights={term: section[name] for term, name in WEIGHTS.items()},
        variant=section["variant"],
        gan_type=section["gan_type"],
    )


def _published(config: Mapping[str, Any]) -> Satellites:
    return {
        name: dict(zip(("mean", "std"), published_statistics(name, numbers), strict=True))
        for name, numbers in satellite_bands(config).items()
    }


def _repeat(units: Units, abreast: int) -> Units:
    """For images side by side in the channels, as `places` numbers them."""
    return units and (np.repeat(units[0], abreast), np.repeat(units[1], abreast))


def build_pair_budget(config: Mapping[str, Any], objective: Objective) -> PairBudget | None:
    """What draws the pairs of a step; None where the budget is 0 or all of them."""
    count, bands = config["objective"]["pairs_per_step"], satellite_bands(config)
    if not count or count >= len(bands) * len(streams(config)):
        return None
    widest = max(bands.values(), key=len)
    skips, slots = skip_channels(config), spectral_slots(config)
    n_slots = 1 + max((slot for numbers in slots.values() for slot in numbers), default=-1)
    settings = {name: config[name] for name in ("precision", "abreast", "remat")}
    translator = build_translator(
        config["generator"],
        {ANY: widest},
        skips={ANY: next(iter(skips.values()))},
        slots={ANY: [n_slots - 1] * len(widest)} if slots else None,
        **settings,
    )
    abreast = config["abreast"]
    return PairBudget(
        objective,
        translator,
        build_discriminator(config["discriminator"], {ANY: widest}, **settings),
        widths={name: len(numbers) * abreast for name, numbers in bands.items()},
        skips={name: places(channels, abreast) for name, channels in skips.items()},
        count=count,
    )


def freeze_rules(config: Mapping[str, Any]) -> tuple[str, ...]:
    """`config.freeze`, and the discriminators of satellites that send no images: they have nothing to judge."""
    idle = [satellite for satellite in satellite_bands(config) if satellite not in streams(config)]
    return tuple(config["freeze"]) + tuple(f"discriminator/{satellite}/" for satellite in idle)


def build_train_step(config: Mapping[str, Any], satellites: Satellites | None = None) -> TrainStep:
    """The training step of a configuration, with its frozen parameters left alone; arguments as `build_objective`."""
    objective = build_objective(config, satellites)
    shapes = {
        "generator": jax.eval_shape(objective.translator.init, jax.random.key(0)),
        "discriminator": jax.eval_shape(objective.discriminator.init, jax.random.key(0)),
    }
    rules = freeze_rules(config)
    budget = build_pair_budget(config, objective)
    return make_train_step(config, objective, budget, lambda part: trainable_mask(shapes[part], f"{part}/", rules))
