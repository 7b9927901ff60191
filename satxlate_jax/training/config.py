"""A configuration: read from a file and the command line, checked before any data is read."""

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from satxlate_jax.errors import InputError
from satxlate_jax.models.layers import ACTIVATIONS, INITIALIZATIONS, NORMS, PADDINGS
from satxlate_jax.observations.satellites import get_satellite
from satxlate_jax.training.channels import skip_channels, spectral_slots
from satxlate_jax.training.losses import GAN_TYPES
from satxlate_jax.training.objective import VARIANTS

# field -> the values it may have
_CHOICES = {
    "precision": ("float32", "bfloat16"),
    "normalization": ("published", "dataset"),
    "initialization": INITIALIZATIONS,
    "objective.variant": VARIANTS,
    "objective.gan_type": GAN_TYPES,
    "objective.discriminator_fakes": ("fresh", "shared"),
    "generator.family": ("vae_gan",),
    "generator.activation": ACTIVATIONS,
    "generator.padding": tuple(PADDINGS),
    "generator.spectral_path": ("none", "copy", "linear", "quadratic"),
    "discriminator.activation": ACTIVATIONS,
    "discriminator.norm": NORMS,
    "discriminator.padding": tuple(PADDINGS),
}
# field -> smallest number it may have
_AT_LEAST = {
    "steps": 0,
    "batch_size": 1,
    "abreast": 1,
    "log_every": 1,
    "image_every": 1,
    "histogram_every": 1,
    "validate_every": 0,
    "validation_batches": 1,
    "checkpoint_every": 1,
    "keep_last": 1,
    "keep_every": 0,
    "data.patch_size": 1,
    "objective.cycle_step": 1,
    "objective.pairs_per_step": 0,
    "generator.dim": 1,
    "generator.n_downsample": 0,
    "generator.n_res": 0,
    "generator.spectral_hidden": 0,
    "discriminator.dim": 1,
    "discriminator.n_layer": 1,
    "discriminator.num_scales": 1,
    "optimizer.decay_every": 1,
    "optimizer.clip_norm": 0,
    "optimizer.ema_decay": 0,
}


def load_config(words: Sequence[str]) -> ConfigDict:
    """Reads `--config=FILE.py[:ARGUMENT]` and overrides `--config.FIELD=VALUE`, and checks the result.

    Args:
      words: those command line words, nothing else.

    Raises:
      InputError: no such file, no such field, a value of the wrong type or one that cannot work.
    """
    if not _given(words):
        raise InputError("name a configuration: --config=configs/NAME.py")
    values = flags.FlagValues()
    argv = ["satxlate", *words]
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    try:
        with _siblings_importable(words):
            rest = values(argv)[1:]
            config = values.config
            config.keys()  # a file that could not be read says so only when it is used
    except (OSError, ImportError) as error:
        # absl's own message is a page; what follows the last bracket is the reason
        reason = " ".join(str(error).split()).rpartition("] ")[2]
        raise InputError(f"cannot read the configuration {' '.join(_given(words))}: {reason}") from None
    except (ValueError, TypeError) as error:
        raise InputError(f"the configuration does not work: {' '.join(str(error).split())}") from None
    except AttributeError as error:
        # ml_collections hands on the representation of a message, whose second line is its guess
        lines = str(error).replace("\\n", "\n").replace("\\'", "'").strip('"').splitlines()
        reason = "; ".join(line.strip("'?") for line in lines)
        raise InputError(f"the configuration has no field {reason}; configs/default.py lists them all") from None
    except flags.Error as error:
        # absl puts a traceback of the configuration's own error into the message; its last line is the error
        reason = [line for line in str(error).splitlines() if line.strip(" ^")][-1]
        raise InputError(f"{reason}; fields are given as --config.FIELD=VALUE") from None
    if rest:
        raise InputError(f"cannot use the words {' '.join(rest)}")
    validate(config)
    return config


def _given(words: Sequence[str]) -> list[str]:
    """The files that `--config=FILE` or `--config FILE` names."""
    apart = [after for word, after in pairwise(words) if word == "--config"]
    return [word.partition("=")[2] for word in words if word.startswith("--config=")] + apart


@contextlib.contextmanager
def _siblings_importable(words: Sequence[str]) -> Iterator[None]:
    """Lets DIR/configs/NAME.py say `from configs.default import ...`, wherever the command is given."""
    folders = [str(Path(name.partition(":")[0]).resolve().parent.parent) for name in _given(words)]
    sys.path[:0] = folders
    try:
        yield
    finally:
        for folder in folders:
            sys.path.remove(folder)


def validate(config: Mapping[str, Any]) -> None:
    """Checks everything that can be checked without data.

    Raises:
      InputError: naming the field, its value and what it could be.
    """
    for field, choices in _CHOICES.items():
        if _get(config, field) not in choices:
            raise InputError(f"config.{field} is '{_get(config, field)}'; it can be {', '.join(choices)}")
    for field, smallest in _AT_LEAST.items():
        if _get(config, field) < smallest:
            raise InputError(f"config.{field} is {_get(config, field)}; it must be at least {smallest}")
    if config["optimizer"]["ema_decay"] >= 1:
        raise InputError(f"config.optimizer.ema_decay is {config['optimizer']['ema_decay']}; it must be less than 1")
    _validate_abreast(config)
    if config["objective"]["pairs_per_step"] and config["objective"]["variant"] != "paper":
        raise InputError("config.objective.pairs_per_step needs config.objective.variant 'paper'")
    if not config["data"]["satellites"]:
        raise InputError("config.data.satellites names no satellite")
    for satellite, numbers in config["data"]["satellites"].items():
        if not numbers or len(set(numbers)) != len(numbers):
            raise InputError(f"config.data.satellites.{satellite} is {numbers}; name each of its bands once")
        for number in numbers:
            get_satellite(satellite).band(number)
    unknown = [satellite for satellite in config["data"]["streams"] if satellite not in config["data"]["satellites"]]
    if unknown:
        raise InputError(f"config.data.streams names {unknown[0]}, which is not in config.data.satellites")
    skip_channels(config)
    spectral_slots(config)
    _validate_sizes(config, config["data"]["patch_size"])


def _validate_abreast(config: Mapping[str, Any]) -> None:
    """Whether images can go side by side: no norm may mix their channels."""
    abreast = config["abreast"]
    if abreast == 1:
        return
    if config["batch_size"] % abreast:
        raise InputError(f"config.batch_size {config['batch_size']} is not a multiple of config.abreast {abreast}")
    if config["generator"]["n_downsample"]:
        raise InputError(f"config.abreast {abreast} needs config.generator.n_downsample 0: no layer norm")
    if config["discriminator"]["norm"] not in ("none", "in"):
        norm = config["discriminator"]["norm"]
        raise InputError(f"config.abreast {abreast} needs config.discriminator.norm 'none' or 'in', not '{norm}'")


def _get(config: Mapping[str, Any], field: str) -> Any:
    for name in field.split("."):
        config = config[name]
    return config


def _validate_sizes(config: Mapping[str, Any], size: int) -> None:
    """Follows a patch of size x size pixels through the networks."""
    generator, discriminator = config["generator"], config["discriminator"]
    stride = 2 ** generator["n_downsample"]
    if size % stride:
        raise InputError(
            f"config.data.patch_size is {size}, not a multiple of {stride} = 2 ** config.generator.n_downsample:"
            " the decoder could not give back the size"
        )
    if generator["padding"] == "reflect" and (size <= 3 or size // stride < 2):
        raise InputError(f"config.data.patch_size {size} is too small for config.generator.padding 'reflect'")
    for scale in range(discriminator["num_scales"]):
        for layer in range(discriminator["n_layer"]):
            where = f"layer {layer} of scale {scale} of the discriminator sees {size} x {size} pixels"
            if size < 2:
                raise InputError(f"{where}, too few: lower config.discriminator.n_layer or num_scales")
            after = (size + 2 - 4) // 2 + 1
            if after == 1 and layer > 0 and discriminator["norm"] == "in":
                raise InputError(f"{where} and gives 1 x 1, where instance norm has no variance: use another norm")
            if after == 1 and layer > 0 and discriminator["norm"] == "bn" and config["batch_size"] == 1:
                raise InputError(f"{where} and gives 1 x 1, where batch norm of one example has no variance")
            size = after
        size = -(-config["data"]["patch_size"] // 2 ** (scale + 1))  # pooling rounds up
