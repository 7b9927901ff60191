"""A configuration: read from a file and the command line, checked before any data is read."""

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags
from ml_collections.config_dict import placeholder

from satxlate_jax.cli import InputError, expanded
from satxlate_jax.instruments import get_satellite
from satxlate_jax.training.channels import shared_by_pair, skip_channels, spectral_slots
from satxlate_jax.training.fields import BY_SATELLITE, PATHS, check_fields, get, is_whole
from satxlate_jax.training.optimizers import compile_rules

CONFIGS = Path(__file__).resolve().parents[2] / "configs"  # of the checkout, if this is one


def load_config(words: Sequence[str]) -> ConfigDict:
    """Reads `--config=FILE.py[:ARGUMENT]` and overrides `--config.FIELD=VALUE`, and checks the result.

    Args:
      words: those command line words, nothing else.

    Raises:
      InputError: no such file, no such field, a value of the wrong type or one that cannot work.
    """
    file, overrides = _split(words)
    with _one_line(file):
        config = _read(file)
        _make_room(config, overrides)
        values = flags.FlagValues()
        argv = ["satxlate", *overrides]
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
        rest = values(argv)[1:]
    if rest:
        raise InputError(f"cannot use the words {' '.join(rest)}")
    with config.unlocked():
        _expand_paths(config)
    validate(config)
    return config


def _split(words: Sequence[str]) -> tuple[str, list[str]]:
    """The file that `--config=FILE` or `--config FILE` names, the last where there are several, and the other words."""
    files, others, waiting = [], [], False
    for word in words:
        if waiting or word.startswith("--config="):
            files.append(word if waiting else word.partition("=")[2])
        elif word != "--config":
            others.append(word)
        waiting = word == "--config" and not waiting
    if not files or not files[-1]:
        raise InputError("name a configuration: --config=configs/NAME.py")
    name, colon, argument = files[-1].partition(":")
    return expanded(name) + colon + argument, others


def _read(file: str) -> ConfigDict:
    """What the file's `get_config` gives."""
    if not Path(file.partition(":")[0]).exists():
        shipped = f" (those of the project are in {CONFIGS})" if CONFIGS.is_dir() else ""
        raise InputError(f"cannot read the configuration {file}: no such file{shipped}")
    values = flags.FlagValues()
    argv = ["satxlate", f"--config={file}"]
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    with _configs_importable(file):
        values(argv)
    with contextlib.suppress(AttributeError):
        values.config.keys()  # a file that could not be read says so only when it is used
    if not isinstance(values.config, ConfigDict):
        raise TypeError(f"get_config() of {file} gives a {type(values.config).__name__}, not a ConfigDict")
    return values.config


@contextlib.contextmanager
def _one_line(file: str) -> Iterator[None]:
    """Turns what absl and ml_collections raise, pages of text, into our one line."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ImportError) as error:
        # absl's own message is a page; what follows the last bracket is the reason
        reason = " ".join(str(error).split()).rpartition("] ")[2]
        raise InputError(f"cannot read the configuration {file}: {reason}") from None
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
    except (SyntaxError, LookupError, NameError, ArithmeticError) as error:
        raise InputError(f"the configuration {file} fails: {type(error).__name__}: {error}") from None


@contextlib.contextmanager
def _configs_importable(file: str) -> Iterator[None]:
    """Lets a configuration, wherever it lies, say `from configs.default import ...`.

    A file in a folder called configs means its neighbours by that first, any other the project's alone; whatever else
    is called configs and can be imported is not meant. What was imported is forgotten, since the next file may mean
    others.
    """
    folder = Path(file.partition(":")[0]).resolve().parent
    package = ModuleType(CONFIGS.name)
    package.__path__ = [str(place) for place in (folder, CONFIGS) if place.name == CONFIGS.name]
    before = {name: sys.modules.pop(name) for name in _imported_configs()}
    sys.modules[CONFIGS.name] = package
    sys.path.insert(0, str(folder.parent))
    try:
        yield
    finally:
        sys.path.remove(str(folder.parent))
        for name in _imported_configs():
            del sys.modules[name]
        sys.modules |= before


def _imported_configs() -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] == CONFIGS.name]


def _make_room(config: ConfigDict, overrides: Sequence[str]) -> None:
    """Gives sections by satellite the names that overrides set in them: by default they are empty, and locked."""
    for word in overrides:
        path = word.partition("=")[0].removeprefix("--config.").split(".")
        kind = {"datasets": str, "shared": tuple}.get(path[1]) if len(path) > 2 and path[0] == "data" else None
        section = config
        for name in path[:-1] if kind else ():
            with section.unlocked():
                if name not in section:
                    section[name] = ConfigDict()
            section = section[name]
        if kind and path[-1] not in section:
            with section.unlocked():
                section[path[-1]] = placeholder(kind)


def _expand_paths(config: ConfigDict) -> None:
    for field in PATHS:
        section, _, name = f".{field}".rpartition(".")
        place = get(config, section[1:]) if section else config
        if place.get(name):
            place[name] = expanded(place[name])


def validate(config: Mapping[str, Any]) -> None:
    """Checks everything that can be checked without data.

    Raises:
      InputError: naming the field, its value and what it could be.
    """
    check_fields(config)
    compile_rules(config["freeze"])
    _validate_abreast(config)
    _validate_satellites(config["data"])
    skip_channels(config)
    spectral_slots(config)
    shared_by_pair(config)
    _validate_sizes(config, config["data"]["patch_size"])


def _validate_satellites(data: Mapping[str, Any]) -> None:
    """The satellites with their bands, and whatever else names some of them."""
    satellites = data["satellites"]
    for section in BY_SATELLITE:
        if not hasattr(get({"data": data}, section), "items"):
            raise InputError(f"config.{section} is {get({'data': data}, section)}; it must be a section by satellite")
    if not satellites:
        raise InputError("config.data.satellites names no satellite")
    for satellite, numbers in satellites.items():
        if not numbers or not _are_different(numbers):
            raise InputError(f"config.data.satellites.{satellite} is {numbers}; name each of its bands once")
        for number in numbers:
            get_satellite(satellite).band(number)
    named = [("streams", name) for name in data["streams"]] + [("datasets", name) for name in data["datasets"]]
    named += [("shared", name) for name in data["shared"]]
    for section, satellite in named:
        if satellite not in satellites:
            raise InputError(f"config.data.{section} names {satellite}, which is not in config.data.satellites")
    if len(set(data["streams"])) != len(data["streams"]):
        raise InputError(f"config.data.streams is {data['streams']}; name each satellite once")
    for satellite, name in data["datasets"].items():
        if not isinstance(name, str) or not name:
            raise InputError(f"config.data.datasets.{satellite} is {name!r}; it must be the name of a data set")
    for satellite, others in data["shared"].items():
        _validate_shared(satellite, others, satellites)


def _are_different(numbers: Any) -> bool:
    whole = isinstance(numbers, tuple | list) and all(map(is_whole, numbers))
    return whole and len(set(numbers)) == len(numbers)


def _validate_shared(satellite: str, others: Any, satellites: Mapping[str, Any]) -> None:
    count = len(satellites[satellite])
    if not hasattr(others, "items"):
        raise InputError(f"config.data.shared.{satellite} is {others}; it must be a section by satellite")
    for other, channels in others.items():
        if other not in satellites or other == satellite:
            raise InputError(
                f"config.data.shared.{satellite} names {other}, which is no other of config.data.satellites"
            )
        if not _are_different(channels) or not all(0 <= channel < count for channel in channels):
            raise InputError(
                f"config.data.shared.{satellite}.{other} is {channels}; name channels of {satellite}, each once, "
                f"from 0 to {count - 1}"
            )


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
