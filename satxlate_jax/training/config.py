"""Read a configuration from a file and the command line, and check it before any data is read."""

import contextlib
import difflib
import itertools
import re
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from absl import flags
from ml_collections import ConfigDict, config_flags
from ml_collections.config_dict import placeholder

from satxlate_jax.cli import CommandParser, InputError, one_line, user_path
from satxlate_jax.instruments import get_satellite
from satxlate_jax.models.layers import ACTIVATIONS, INITIALIZERS, NORMS, PADDINGS
from satxlate_jax.shipped import CONFIGS
from satxlate_jax.training.channels import (
    carries_angles,
    satellite_bands,
    shared_by_pair,
    skip_channels,
    training_sources,
    wavelength_channels,
)
from satxlate_jax.training.objective import GAN_TYPES, VARIANTS
from satxlate_jax.training.optimizers import compile_rules
from satxlate_jax.wavelength_axis import assign_channels

BY_SATELLITE = ("data.satellites", "data.datasets", "data.shared")  # sections whose names are satellites
PATHS = ("data.dir", "init_from")  # fields that name a file or folder
# Fields of older versions -> the only value at which they are still accepted, because it changes nothing; and what to
# use instead of any other.
REMOVED: dict[str, tuple[Any, str]] = {
    "abreast": (1, ""),
    "objective.pairs_per_step": (0, "; use config.generator.family = 'spectral_flow' (see configs/six_satellites.py)"),
}
# Fields that have an effect only in the variant 'paper'; in the other they must be left at their defaults.
PAPER_ONLY = ("objective.recon_kl_w", "objective.recon_measured_w")


# ---------------------------------------------------------------- fields


class Rule(NamedTuple):
    """The values a field may have: in words, and as a test."""

    words: str
    holds: Callable[[Any], bool]


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _whole(least: int, most: int = 2**31 - 1) -> Rule:  # a step is an int32
    words = f"a whole number, at least {least} and at most {most}"
    return Rule(words, lambda value: _is_whole(value) and least <= value <= most)


def _number(words: str, holds: Callable[[Any], bool]) -> Rule:
    def is_such(value: Any) -> bool:
        return isinstance(value, Real) and not isinstance(value, bool) and abs(float(value)) <= 3.4e38 and holds(value)

    return Rule(words, is_such)


def _one_of(*choices: str) -> Rule:
    return Rule(" or ".join(f"'{choice}'" for choice in choices), lambda value: value in choices)


def _each(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda values: isinstance(values, tuple | list) and all(holds(value) for value in values)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


_SKIPS = Rule(
    "None, a number, a list or '5,7'",
    lambda value: value is None or _each(_is_whole)(value) or bool(re.fullmatch(r" *\d+ *(, *\d+ *)*", str(value))),
)
_FLAG = Rule("True or False", lambda value: isinstance(value, bool))
_DECAY = _number("a number, at least 0 and less than 1", lambda value: 0 <= value < 1)
_COUNTS = """batch_size log_every validation_batches checkpoint_every keep_last data.shuffle_buffer data.patch_size
    objective.cycle_step generator.dim discriminator.dim discriminator.n_layer discriminator.num_scales
    optimizer.decay_every flow.width flow.levels flow.degree flow.members"""
_COUNTS_OR_NONE = """steps image_every histogram_every validate_every keep_every generator.n_downsample
    generator.n_res generator.spectral_hidden optimizer.warmup_steps flow.blocks"""
_AMOUNTS = """objective.gan_w objective.recon_x_w objective.recon_shared_w objective.recon_x_cyc_w
    objective.recon_z_cyc_w objective.recon_kl_w objective.recon_kl_cyc_w objective.recon_measured_w
    optimizer.learning_rate optimizer.weight_decay optimizer.decay_rate optimizer.clip_norm flow.ridge"""
_RULES = {
    "seed": _whole(0, 2**32 - 1),
    _COUNTS: _whole(1),
    _COUNTS_OR_NONE: _whole(0),
    _AMOUNTS: _number("a finite number, at least 0", lambda value: value >= 0),
    "optimizer.beta1 optimizer.beta2 optimizer.ema_decay": _DECAY,
    "remat data.augment flow.solar flow.adapters flow.surprise": _FLAG,
    "init_from data.dir": Rule("a text", _is_text),
    "freeze data.streams": Rule("a tuple of texts", _each(_is_text)),
    "generator.skip_connection": _SKIPS,
    "precision": _one_of("float32", "bfloat16"),
    "normalization": _one_of("published", "dataset"),
    "initialization": _one_of(*INITIALIZERS),
    "objective.variant": _one_of(*VARIANTS),
    "objective.gan_type": _one_of(*GAN_TYPES),
    "objective.discriminator_fakes": _one_of("fresh", "shared"),
    "generator.family": _one_of("vae_gan", "spectral_flow"),
    "flow.coarse": _one_of("auto", "base", "free"),
    "optimizer.name": _one_of("adam", "adamw"),
    "generator.spectral_path": _one_of("none", "copy", "linear", "quadratic"),
    "discriminator.norm": _one_of(*NORMS),
    "generator.activation discriminator.activation": _one_of(*ACTIVATIONS),
    "generator.padding discriminator.padding": _one_of(*PADDINGS),
}
# field -> rule; configs/default.py explains each, the sections by satellite are checked apart
FIELDS = {field: rule for fields, rule in _RULES.items() for field in fields.split()}


def flatten(config: Mapping[str, Any], whole: Sequence[str] = BY_SATELLITE, prefix: str = "") -> dict[str, Any]:
    """Dotted name -> value of every field; the sections `whole` count as one value each."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if prefix + name not in whole and hasattr(value, "items"):
            flat |= flatten(value, whole, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def ignored_fields(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields that count for nothing under the rest of the configuration."""
    return () if config["objective"]["variant"] == "paper" else PAPER_ONLY


def note_on_removed(field: str, value: Any, where: str) -> str:
    """A line for the user about a field of an older version; InputError for another value than the neutral one."""
    neutral, instead = REMOVED[field]
    fact = f"{where} has config.{field} {value}, a field that is no longer there"
    if value != neutral:
        raise InputError(f"{fact}; only {neutral} is accepted{instead}")
    return f"{fact} and counts for nothing"


def _check_fields(config: Mapping[str, Any]) -> None:
    """Check every field for itself: that it is there, known, of its type, within its limits and not in vain."""
    known, given = (*FIELDS, *BY_SATELLITE), flatten(config)
    for field in given:
        if field not in known:
            close = difflib.get_close_matches(field, known, n=1)
            meant = f", is config.{close[0]} meant?" if close else ""
            raise InputError(f"there is no field config.{field}{meant}; configs/default.py lists them all")
    for field in known:
        if field not in given:
            raise InputError(f"the configuration lacks config.{field}; configs/default.py has all fields")
    for field, rule in FIELDS.items():
        if not rule.holds(given[field]):
            shown = f"'{given[field]}'" if isinstance(given[field], str) else given[field]
            raise InputError(f"config.{field} is {shown}; it must be {rule.words}")
    ignored = ignored_fields(config)
    defaults = flatten(default_config()) if ignored and CONFIGS.is_dir() else given
    for field in ignored:
        if given[field] != defaults[field]:
            raise InputError(
                f"config.{field} needs config.objective.variant 'paper'; '{given['objective.variant']}' ignores it, "
                f"so leave it at {defaults[field]} (it is {given[field]})"
            )


# ---------------------------------------------------------------- reading


def load_config(words: Sequence[str]) -> ConfigDict:
    """Read the words `--config=FILE.py[:ARGUMENT]` and overrides `--config.FIELD=VALUE`, and check the result.

    InputError: no such file, no such field, a value of the wrong type or one that cannot work.
    """
    file, overrides = _split(words)
    config, argv = _read(file), ["satxlate", *overrides]
    _make_room(config, overrides)
    values = flags.FlagValues()
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
        rest = values(argv)[1:]
    except AttributeError as error:
        # ml_collections hands on the representation of a message, whose second line is its guess
        lines = str(error).replace("\\n", "\n").replace("\\'", "'").strip('"').splitlines()
        reason = "; ".join(line.strip("'?") for line in lines)
        raise InputError(f"the configuration has no field {reason}; configs/default.py lists them all") from None
    except (flags.Error, ValueError, TypeError) as error:
        reason = [line for line in str(error).splitlines() if line.strip(" ^")][-1]  # the last of a page
        raise InputError(f"{reason}; fields are given as --config.FIELD=VALUE") from None
    if rest:
        raise InputError(f"cannot use the words {' '.join(rest)}")
    _drop_removed(config)
    fields = flatten(config)
    config.update_from_flattened_dict({path: user_path(fields[path]) for path in PATHS if fields.get(path)})
    validate(config)
    return config


def default_config() -> ConfigDict:
    """The configuration of configs/default.py."""
    return _read(str(CONFIGS / "default.py"))


def _drop_removed(config: ConfigDict) -> None:
    """Take fields of older versions out of a configuration, with a note for the user."""
    fields = flatten(config)
    for field in (field for field in REMOVED if field in fields):
        print(f"note: {note_on_removed(field, fields[field], 'the configuration')}", file=sys.stderr)
        section, _, name = field.rpartition(".")
        with config.unlocked():
            del (config[section] if section else config)[name]


def _split(words: Sequence[str]) -> tuple[str, list[str]]:
    """The file that the last `--config=FILE` or `--config FILE` names, and the other words."""
    parser = CommandParser(prog="satxlate train", add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    given, others = parser.parse_known_args(words)
    if not given.config:
        raise InputError("name a configuration: --config=configs/NAME.py")
    name, colon, argument = given.config.partition(":")
    return user_path(name) + colon + argument, others


def _read(file: str) -> ConfigDict:
    """The result of the file's `get_config`; configs/NAME.py is the shipped one where there is no such file here."""
    name, _, argument = file.partition(":")
    shipped = CONFIGS.parent / name
    if not Path(name).exists() and shipped.parent == CONFIGS:
        name = str(shipped)
    if not Path(name).exists():
        raise InputError(f"cannot read the configuration {file}: no such file (those of the project are in {CONFIGS})")
    with _configs_importable(name):
        try:
            get_config = runpy.run_path(name)["get_config"]
            config = get_config(argument) if argument else get_config()
        except InputError:
            raise
        except Exception as error:  # whatever a file of one's own raises
            raise InputError(f"the configuration {file} fails: {one_line(error)}") from None
    if not isinstance(config, ConfigDict):
        raise InputError(f"get_config() of {file} gives a {type(config).__name__}, not a ConfigDict")
    return config


@contextlib.contextmanager
def _configs_importable(name: str) -> Iterator[None]:
    """Let a configuration, wherever it lies, say `from configs.default import ...`, and forget what it imported."""
    folder = Path(name).resolve().parent
    package = ModuleType(CONFIGS.name)
    # a file in a folder called configs means its neighbours first, any other the project's alone
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
    """Add what overrides set to sections by satellite, which are empty and locked, and of older versions' fields."""
    for word in overrides:
        field = word.partition("=")[0].removeprefix("--config.")
        path = field.split(".")
        kind: Any = {"datasets": str, "shared": tuple}.get(path[1]) if len(path) > 2 and path[0] == "data" else None
        kind = int if field in REMOVED else kind
        section = config
        for name in path[:-1] if kind else ():
            with section.unlocked():
                if name not in section:
                    section[name] = ConfigDict()
            section = section[name]
        if kind and path[-1] not in section:
            with section.unlocked():
                section[path[-1]] = placeholder(kind)


# ---------------------------------------------------------------- checking


def validate(config: Mapping[str, Any]) -> None:
    """Check everything that can be checked without data; InputError names the field, its value and what it could be."""
    _check_fields(config)
    compile_rules(config["freeze"])
    _check_satellites(config["data"])
    skip_channels(config)
    wavelength_channels(config)
    shared_by_pair(config)
    if carries_angles(config):
        _check_flow(config)
    else:
        _check_sizes(config, config["data"]["patch_size"])


def _check_flow(config: Mapping[str, Any]) -> None:
    """What the spectral flow needs: something to infer, a satellite that has it, patches of the coarsest level."""
    if config["objective"]["variant"] == "released":
        raise InputError("config.generator.family 'spectral_flow' has an objective of its own; variant must be 'paper'")
    coarsest, size = 2 ** config["flow"]["levels"], config["data"]["patch_size"]
    if size < coarsest:
        raise InputError(f"config.data.patch_size is {size}; config.flow.levels needs at least {coarsest}")
    channels = assign_channels(satellite_bands(config))
    if len({frozenset(own) for own in channels.values()}) == 1:
        raise InputError(
            "all satellites have the same bands, which pass unchanged: 'spectral_flow' has nothing to learn"
        )
    for source, target in itertools.permutations(channels, 2):
        given = {*channels[source]} & {*channels[target]}
        if not given:
            raise InputError(f"{source} and {target} share no band; nothing of {target} can be inferred")
        for band, channel in zip(config["data"]["satellites"][target], channels[target], strict=True):
            able = (name for name in training_sources(config) if given | {channel} <= {*channels[name]})
            if channel not in given and next(able, None) is None:
                raise InputError(
                    f"no satellite of config.data.streams has band {band} of {target} beside what {source} gives; "
                    f"name {target} there"
                )


def _check_satellites(data: Mapping[str, Any]) -> None:
    """The satellites with their bands, and whatever else names some of them."""
    satellites = data["satellites"]
    for section in ("satellites", "datasets", "shared"):
        if not hasattr(data[section], "items"):
            raise InputError(f"config.data.{section} is {data[section]}; it must be a section by satellite")
    if not satellites:
        raise InputError("config.data.satellites names no satellite")
    for satellite, numbers in satellites.items():
        if not numbers or not _are_different(numbers):
            raise InputError(f"config.data.satellites.{satellite} is {numbers}; name each of its bands once")
        for number in numbers:
            get_satellite(satellite).band(number)
    for section in ("streams", "datasets", "shared"):
        for satellite in data[section]:
            if satellite not in satellites:
                raise InputError(f"config.data.{section} names {satellite}, which is not in config.data.satellites")
    if len(set(data["streams"])) != len(data["streams"]):
        raise InputError(f"config.data.streams is {data['streams']}; name each satellite once")
    for satellite, name in data["datasets"].items():
        if not isinstance(name, str) or not name:
            raise InputError(f"config.data.datasets.{satellite} is {name!r}; it must be the name of a data set")
    for satellite, others in data["shared"].items():
        _check_shared(satellite, others, satellites)


def _are_different(numbers: Any) -> bool:
    return _each(_is_whole)(numbers) and len(set(numbers)) == len(numbers)


def _check_shared(satellite: str, others: Any, satellites: Mapping[str, Any]) -> None:
    field, last = f"config.data.shared.{satellite}", len(satellites[satellite]) - 1
    if not hasattr(others, "items"):
        raise InputError(f"{field} is {others}; it must be a section by satellite")
    for other, channels in others.items():
        if other not in satellites or other == satellite:
            raise InputError(f"{field} names {other}, which is no other of config.data.satellites")
        if not _are_different(channels) or not all(0 <= channel <= last for channel in channels):
            wanted = f"name channels of {satellite}, each once, from 0 to {last}"
            raise InputError(f"{field}.{other} is {channels}; {wanted}")


def _check_sizes(config: Mapping[str, Any], size: int) -> None:
    """Follow a patch of size x size pixels through the networks."""
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
