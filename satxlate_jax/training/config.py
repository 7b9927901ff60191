"""A configuration: read from a file and the command line, checked before any data is read."""

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from satxlate_jax.errors import InputError
from satxlate_jax.models.layers import ACTIVATIONS, INITIALIZATIONS, NORMS, PADDINGS
from satxlate_jax.observations.satellites import Band, get_satellite, is_shared, shared_channels
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
    values = flags.FlagValues()
    argv = ["satxlate", *words]
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    try:
        with _siblings_importable(words):
            rest = values(argv)[1:]
            config = values.config
            if config is not None:
                config.keys()  # a file that could not be read says so only when it is used
    except (OSError, ImportError) as error:
        # absl's own message is a page; what follows the last bracket is the reason
        reason = " ".join(str(error).split()).rpartition("] ")[2]
        raise InputError(f"cannot read the configuration {' '.join(_given(words))}: {reason}") from None
    except (ValueError, TypeError) as error:
        raise InputError(f"the configuration does not work: {' '.join(str(error).split())}") from None
    except AttributeError as error:
        raise InputError(f"the configuration has no field {error}; configs/default.py lists them all") from None
    except flags.Error as error:
        # absl puts a traceback of the configuration's own error into the message; its last line is the error
        reason = [line for line in str(error).splitlines() if line.strip(" ^")][-1]
        raise InputError(f"{reason}; fields are given as --config.FIELD=VALUE") from None
    if rest:
        raise InputError(f"cannot use the words {' '.join(rest)}")
    if config is None:
        raise InputError("name a configuration: --config=configs/NAME.py")
    validate(config)
    return config


def _given(words: Sequence[str]) -> list[str]:
    return [word.partition("=")[2] for word in words if word.startswith("--config=")]


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


def satellite_bands(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Satellite -> its bands, 1-based, in the configured order."""
    return {satellite: tuple(numbers) for satellite, numbers in config["data"]["satellites"].items()}


def streams(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The satellites whose observations are drawn, in the configured order."""
    return tuple(config["data"]["streams"]) or tuple(config["data"]["satellites"])


def shared_by_pair(config: Mapping[str, Any]) -> dict[str, dict[str, list[int]]]:
    """Satellite -> satellite -> 0-based channels of the first whose wavelength the second has too."""
    bands = satellite_bands(config)
    given = config["data"]["shared"]
    pairs: dict[str, dict[str, list[int]]] = {}
    for first, ours in bands.items():
        pairs[first] = {}
        for second, theirs in bands.items():
            if second == first:
                continue
            if second in given.get(first, {}):
                pairs[first][second] = list(given[first][second])
            else:
                pairs[first][second] = shared_channels(first, ours, second, theirs)[0]
    for first, others in pairs.items():
        for second, channels in others.items():
            if len(channels) != len(pairs[second][first]):
                raise InputError(f"config.data.shared gives {first} and {second} unequal numbers of shared channels")
    return pairs


def _numbers(value: Any) -> list[int]:
    """What skip_connection may be: None, a number, a list, or a string such as '5,7'."""
    if value is None:
        return []
    words = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    try:
        return [int(word) for word in words]
    except (TypeError, ValueError):
        raise InputError(f"config.generator.skip_connection is {value!r}; give a number, a list or '5,7'") from None


def skip_channels(config: Mapping[str, Any]) -> dict[str, list[int]]:
    """Satellite -> 0-based channels of its images that skip the latent space.

    In 'released' the numbers are those channels themselves; in 'paper' they are bands of the first satellite, found in
    every other satellite by wavelength.

    Raises:
      InputError: a satellite that sends images lacks such a channel or band.
    """
    numbers = _numbers(config["generator"]["skip_connection"])
    bands = satellite_bands(config)
    first = next(iter(bands))
    channels: dict[str, list[int]] = {}
    for satellite, ours in bands.items():
        if config["objective"]["variant"] == "released":
            channels[satellite] = numbers
            missing = [number for number in numbers if not 0 <= number < len(ours)]
        else:
            found = [shared_channels(first, [number], satellite, ours)[1] for number in numbers]
            missing = [number for number, channel in zip(numbers, found, strict=True) if not channel]
            channels[satellite] = [channel[0] for channel in found if channel]
        if missing:
            what = "channel" if config["objective"]["variant"] == "released" else f"counterpart of {first}'s band"
            raise InputError(f"config.generator.skip_connection: {satellite} has no {what} {missing[0]}")
    return channels


def spectral_slots(config: Mapping[str, Any]) -> dict[str, list[int]]:
    """Satellite -> for each of its channels the slot of its wavelength on the spectral path; {} without one.

    Slots are numbered in the order in which the satellites bring new wavelengths.

    Raises:
      InputError: the latent field is coarser than the image.
    """
    if config["generator"]["spectral_path"] == "none":
        return {}
    if config["generator"]["n_downsample"]:
        raise InputError("config.generator.spectral_path needs config.generator.n_downsample 0")
    if config["generator"]["spectral_path"] == "quadratic" and config["abreast"] > 1:
        raise InputError("config.generator.spectral_path 'quadratic' needs config.abreast 1; 'linear' does not")
    unequal = len({len(numbers) for numbers in satellite_bands(config).values()}) > 1
    if config["generator"]["spectral_path"] == "quadratic" and config["objective"]["pairs_per_step"] and unequal:
        # channels of zeros, which make satellites alike there, would change the order of the products
        raise InputError("config.objective.pairs_per_step with spectral_path 'quadratic' needs as many bands for all")
    known: list[Band] = []  # one band for each slot
    slots: dict[str, list[int]] = {}
    for satellite, numbers in satellite_bands(config).items():
        slots[satellite] = []
        for band in (get_satellite(satellite).band(number) for number in numbers):
            free = [slot for slot in range(len(known)) if slot not in slots[satellite]]
            found = [slot for slot in free if is_shared(band, known[slot])]
            slots[satellite].append(found[0] if found else len(known))
            if not found:
                known.append(band)
    return slots
