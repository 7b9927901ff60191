"""From a configuration to the networks, the objective and the step."""

from collections.abc import Mapping
from typing import Any

import jax

from satxlate_jax.models.discriminator import Discriminator, build_discriminator
from satxlate_jax.models.translator import Translator, build_translator
from satxlate_jax.training.config import satellite_bands, shared_by_pair, skip_channels, spectral_slots, streams
from satxlate_jax.training.objective import WEIGHTS, Objective
from satxlate_jax.training.optimizers import trainable_mask
from satxlate_jax.training.train_step import TrainStep, make_train_step


def build_networks(config: Mapping[str, Any]) -> tuple[Translator, Discriminator]:
    """The translator and the discriminators of a configuration."""
    bands = satellite_bands(config)
    translator = build_translator(
        config["generator"],
        bands,
        skips=skip_channels(config),
        slots=spectral_slots(config),
        initialization=config["initialization"],
        precision=config["precision"],
    )
    return translator, build_discriminator(config["discriminator"], bands, precision=config["precision"])


def build_objective(config: Mapping[str, Any]) -> Objective:
    """The two losses of a configuration."""
    translator, discriminator = build_networks(config)
    section = config["objective"]
    return Objective(
        translator,
        discriminator,
        shared=shared_by_pair(config),
        weights={term: section[name] for term, name in WEIGHTS.items()},
        variant=section["variant"],
        gan_type=section["gan_type"],
    )


def freeze_rules(config: Mapping[str, Any]) -> tuple[str, ...]:
    """`config.freeze`, and the discriminators of satellites that send no images: they have nothing to judge."""
    idle = [satellite for satellite in satellite_bands(config) if satellite not in streams(config)]
    return tuple(config["freeze"]) + tuple(f"discriminator/{satellite}/" for satellite in idle)


def build_train_step(config: Mapping[str, Any]) -> TrainStep:
    """The training step of a configuration, with its frozen parameters left alone."""
    objective = build_objective(config)
    shapes = {
        "generator": jax.eval_shape(objective.translator.init, jax.random.key(0)),
        "discriminator": jax.eval_shape(objective.discriminator.init, jax.random.key(0)),
    }
    rules = freeze_rules(config)
    return make_train_step(config, objective, lambda part: trainable_mask(shapes[part], f"{part}/", rules))
