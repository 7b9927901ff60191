"""What every field of a configuration may be; configs/default.py says what each means."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from numbers import Integral, Real
from typing import Any, NamedTuple

from satxlate_jax.cli import InputError
from satxlate_jax.models.layers import ACTIVATIONS, INITIALIZATIONS, NORMS, PADDINGS
from satxlate_jax.training.losses import GAN_TYPES
from satxlate_jax.training.objective import VARIANTS

# Sections whose names are satellites.
BY_SATELLITE = ("data.satellites", "data.datasets", "data.shared")
# Fields that name a file or folder.
PATHS = ("data.dir", "init_from")

_MOST = 2**31 - 1  # a step is an int32
_LARGEST = 3.4e38  # of a float32


class Rule(NamedTuple):
    """What a value may be.

    Attributes:
      words: what it must be, for the message.
      holds: whether a value is that.
    """

    words: str
    holds: Callable[[Any], bool]


def is_whole(value: Any) -> bool:
    """Whether it is a whole number; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and abs(float(value)) <= _LARGEST  # nan is not


def _whole(least: int, most: int = _MOST) -> Rule:
    words = f"a whole number, at least {least} and at most {most}"
    return Rule(words, lambda value: is_whole(value) and least <= value <= most)


def _one_of(*choices: str) -> Rule:
    return Rule(" or ".join(f"'{choice}'" for choice in choices), lambda value: value in choices)


def _each(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda values: isinstance(values, tuple | list) and all(holds(value) for value in values)


_AMOUNT = Rule("a finite number, at least 0", lambda value: _is_number(value) and value >= 0)
_SHARE = Rule("a number, at least 0 and less than 1", lambda value: _is_number(value) and 0 <= value < 1)
_SWITCH = Rule("True or False", lambda value: isinstance(value, bool))
_TEXT = Rule("a text", lambda value: isinstance(value, str))
_TEXTS = Rule("a tuple of texts", _each(lambda value: isinstance(value, str)))
_SKIPS = Rule(
    "None, a number, a list or '5,7'",
    lambda value: value is None or isinstance(value, str) or is_whole(value) or _each(is_whole)(value),
)

# field -> rule; the sections by satellite have theirs in config.py
FIELDS = {
    "seed": _whole(0, 2**32 - 1),
    "steps": _whole(0),
    "batch_size": _whole(1),
    "precision": _one_of("float32", "bfloat16"),
    "abreast": _whole(1),
    "remat": _SWITCH,
    "normalization": _one_of("published", "dataset"),
    "initialization": _one_of(*INITIALIZATIONS),
    "init_from": _TEXT,
    "freeze": _TEXTS,
    "log_every": _whole(1),
    "image_every": _whole(0),
    "histogram_every": _whole(0),
    "validate_every": _whole(0),
    "validation_batches": _whole(1),
    "checkpoint_every": _whole(1),
    "keep_last": _whole(1),
    "keep_every": _whole(0),
    "data.dir": _TEXT,
    "data.streams": _TEXTS,
    "data.shuffle_buffer": _whole(1),
    "data.patch_size": _whole(1),
    "data.augment": _SWITCH,
    "objective.variant": _one_of(*VARIANTS),
    "objective.gan_type": _one_of(*GAN_TYPES),
    "objective.gan_w": _AMOUNT,
    "objective.recon_x_w": _AMOUNT,
    "objective.recon_shared_w": _AMOUNT,
    "objective.recon_x_cyc_w": _AMOUNT,
    "objective.recon_z_cyc_w": _AMOUNT,
    "objective.recon_kl_w": _AMOUNT,
    "objective.recon_kl_cyc_w": _AMOUNT,
    "objective.recon_measured_w": _AMOUNT,
    "objective.cycle_step": _whole(1),
    "objective.pairs_per_step": _whole(0),
    "objective.discriminator_fakes": _one_of("fresh", "shared"),
    "generator.family": _one_of("vae_gan"),
    "generator.dim": _whole(1),
    "generator.n_downsample": _whole(0),
    "generator.n_res": _whole(0),
    "generator.activation": _one_of(*ACTIVATIONS),
    "generator.padding": _one_of(*PADDINGS),
    "generator.skip_connection": _SKIPS,
    "generator.spectral_path": _one_of("none", "copy", "linear", "quadratic"),
    "generator.spectral_hidden": _whole(0),
    "discriminator.dim": _whole(1),
    "discriminator.n_layer": _whole(1),
    "discriminator.norm": _one_of(*NORMS),
    "discriminator.activation": _one_of(*ACTIVATIONS),
    "discriminator.padding": _one_of(*PADDINGS),
    "discriminator.num_scales": _whole(1),
    "optimizer.learning_rate": _AMOUNT,
    "optimizer.beta1": _SHARE,
    "optimizer.beta2": _SHARE,
    "optimizer.weight_decay": _AMOUNT,
    "optimizer.decay_every": _whole(1),
    "optimizer.decay_rate": _AMOUNT,
    "optimizer.clip_norm": _AMOUNT,
    "optimizer.ema_decay": _SHARE,
}


class _Only(NamedTuple):
    """A field that has an effect only where another is one of `values`.

    Attributes:
      field: of the configuration.
      neutral: its value in configs/default.py, which says nothing.
      where: the field that decides.
      values: with which `field` counts.
    """

    field: str
    neutral: Any
    where: str
    values: tuple[str, ...]


_ONLY = (
    _Only("objective.recon_kl_w", 0.01, "objective.variant", ("paper",)),
    _Only("objective.recon_measured_w", 0.0, "objective.variant", ("paper",)),
    _Only("objective.pairs_per_step", 0, "objective.variant", ("paper",)),
)


def get(config: Mapping[str, Any], field: str) -> Any:
    """The value of a field that is named with dots."""
    for name in field.split("."):
        config = config[name]
    return config


def names(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The fields that a configuration has; a section by satellite is one."""
    for name, value in config.items():
        if prefix + name not in BY_SATELLITE and hasattr(value, "items"):
            yield from names(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def ignored_fields(config: Mapping[str, Any]) -> set[str]:
    """The fields that count for nothing under the rest of the configuration."""
    return {field for field, _, where, values in _ONLY if get(config, where) not in values}


def check_fields(config: Mapping[str, Any]) -> None:
    """Checks every field for itself: that it is there, known, of its type, within its limits and not in vain.

    Raises:
      InputError: naming the field, its value and what it could be.
    """
    known, given = (*FIELDS, *BY_SATELLITE), list(names(config))
    for field in given:
        if field not in known:
            close = difflib.get_close_matches(field, known, n=1)
            meant = f", is config.{close[0]} meant?" if close else ""
            raise InputError(f"there is no field config.{field}{meant}; configs/default.py lists them all")
    for field in known:
        if field not in given:
            raise InputError(f"the configuration lacks config.{field}; configs/default.py has all fields")
    for field, rule in FIELDS.items():
        value = get(config, field)
        if not rule.holds(value):
            shown = f"'{value}'" if isinstance(value, str) else value
            raise InputError(f"config.{field} is {shown}; it must be {rule.words}")
    for field, neutral, where, values in _ONLY:
        if get(config, field) != neutral and get(config, where) not in values:
            wanted = " or ".join(f"'{value}'" for value in values)
            raise InputError(
                f"config.{field} needs config.{where} {wanted}; '{get(config, where)}' ignores it, "
                f"so leave it at {neutral} (it is {get(config, field)})"
            )
