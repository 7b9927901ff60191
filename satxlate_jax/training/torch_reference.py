"""The PyTorch release's files in our terms: its YAML configuration and its parameters' names.

Written from the layout of files it wrote (key names and shapes), not from its code.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ml_collections import ConfigDict

from satxlate_jax.cli import InputError, expanded
from satxlate_jax.training.config import validate

# released name -> our field
_FIELDS = {
    "max_iter": "steps",
    "batch_size": "batch_size",
    "init": "initialization",
    "log_iter": "log_every",
    "checkpoint_step": "checkpoint_every",
    "lr": "optimizer.learning_rate",
    "beta1": "optimizer.beta1",
    "beta2": "optimizer.beta2",
    "weight_decay": "optimizer.weight_decay",
    "step_size": "optimizer.decay_every",
    "gamma": "optimizer.decay_rate",
    "gan_w": "objective.gan_w",
    "recon_x_w": "objective.recon_x_w",
    "recon_shared_w": "objective.recon_shared_w",
    "recon_x_cyc_w": "objective.recon_x_cyc_w",
    "recon_z_cyc_w": "objective.recon_z_cyc_w",
    "recon_kl_cyc_w": "objective.recon_kl_cyc_w",
    "cycle_step": "objective.cycle_step",
    "gen.dim": "generator.dim",
    "gen.activ": "generator.activation",
    "gen.n_downsample": "generator.n_downsample",
    "gen.n_res": "generator.n_res",
    "gen.pad_type": "generator.padding",
    "gen.skip_connection": "generator.skip_connection",
    "dis.dim": "discriminator.dim",
    "dis.norm": "discriminator.norm",
    "dis.activ": "discriminator.activation",
    "dis.n_layer": "discriminator.n_layer",
    "dis.gan_type": "objective.gan_type",
    "dis.num_scales": "discriminator.num_scales",
    "dis.pad_type": "discriminator.padding",
}
_OPTIONAL = ("gen.skip_connection",)
# known, and without effect: names of folders, loader processes, weights that the release multiplies with nothing
_IGNORED = ("dataset", "model_path", "num_workers", "recon_h_w", "recon_kl_w")
# what a released file does not say
_REST = {
    "seed": 0,
    "precision": "float32",
    "abreast": 1,
    "remat": False,
    "normalization": "published",
    "init_from": "",
    "freeze": (),
    "image_every": 5_000,
    "histogram_every": 5_000,
    "validate_every": 5_000,
    "validation_batches": 8,
    "keep_last": 3,
    "keep_every": 0,
    "data.dir": "",
    "data.streams": (),
    "data.shuffle_buffer": 2_048,
    "data.augment": False,
    "data.patch_size": 64,
    "objective.variant": "released",
    "objective.pairs_per_step": 0,
    "objective.recon_kl_w": 0.01,
    "objective.discriminator_fakes": "fresh",
    "optimizer.clip_norm": 0.0,
    "optimizer.ema_decay": 0.0,
    "generator.family": "vae_gan",
    "objective.recon_measured_w": 0.0,
    "generator.skip_connection": None,
    "generator.spectral_path": "none",
    "generator.spectral_hidden": 0,
}


def config_from_released_yaml(source: str | Path | Mapping[str, Any]) -> ConfigDict:
    """A configuration from the release's YAML, with `objective.variant = 'released'`.

    Args:
      source: the file's path, or its content already parsed.

    Returns:
      A configuration with every field of configs/default.py.

    Raises:
      InputError: no such file, not YAML, a key that is unknown or missing, a value that cannot work.
    """
    name = "the released configuration" if isinstance(source, Mapping) else str(source)
    content = source if isinstance(source, Mapping) else _read_yaml(Path(expanded(str(source))))
    flat = _flatten({key: value for key, value in content.items() if key != "data"})
    unknown = [key for key in flat if key not in _FIELDS and key not in _IGNORED]
    if unknown:
        raise InputError(f"{name}: unknown key '{unknown[0]}'; known are data, {', '.join((*_FIELDS, *_IGNORED))}")
    missing = [key for key in ("data", *_FIELDS) if key not in flat and key not in _OPTIONAL and key not in content]
    if missing:
        raise InputError(f"{name}: the key '{missing[0]}' is missing")
    config = ConfigDict()
    for field, value in {**_REST, **{_FIELDS[key]: value for key, value in flat.items() if key in _FIELDS}}.items():
        _set(config, field, value)
    _set_data(config, content["data"], name)
    validate(config)
    return config


def _read_yaml(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, Mapping):
        raise InputError(f"{path} is not a released configuration: it holds no keys")
    return content


def _flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _set(config: ConfigDict, field: str, value: Any) -> None:
    *sections, name = field.split(".")
    for section in sections:
        if section not in config:
            config[section] = ConfigDict()
        config = config[section]
    config[name] = value


def _set_data(config: ConfigDict, data: Mapping[str, Any], name: str) -> None:
    """The `data` section: satellite -> {bands (0-based, a string), shared (0-based channels), dim}."""
    satellites, shared = {}, {}
    for satellite, section in data.items():
        unknown = set(section) - {"bands", "shared", "dim"}
        if unknown:
            raise InputError(f"{name}: unknown key 'data.{satellite}.{min(unknown)}'; known are bands, shared, dim")
        satellites[satellite] = tuple(index + 1 for index in _indices(section["bands"]))
        if section.get("dim", len(satellites[satellite])) != len(satellites[satellite]):
            raise InputError(f"{name}: data.{satellite}.dim is {section['dim']}, but it names another number of bands")
        shared[satellite] = {other: _indices(text) for other, text in section.get("shared", {}).items()}
    config.data.satellites = ConfigDict(satellites, sort_keys=False)
    config.data.shared = ConfigDict(shared, sort_keys=False)
    config.data.datasets = ConfigDict()


def _indices(text: Any) -> tuple[int, ...]:
    return tuple(int(word) for word in str(text).split(","))


_LEAVES = {
    "conv.weight": ("conv", "kernel"),
    "weight": ("conv", "kernel"),
    "conv.bias": ("conv", "bias"),
    "bias": ("conv", "bias"),
    "activation.weight": ("activation", "slope"),
    "norm.gamma": ("norm", "scale"),
    "norm.weight": ("norm", "scale"),
    "norm.beta": ("norm", "bias"),
    "norm.bias": ("norm", "bias"),
}
_STATISTICS = re.compile(r"norm\.(running_mean|running_var|num_batches_tracked)$")


def is_parameter(name: str) -> bool:
    """Whether a key of the release's state is a parameter; batch norm's running statistics are not."""
    return not _STATISTICS.search(name)


def parameter_path(name: str, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Where the parameter of that released name stands in our nested dicts.

    Args:
      name: such as 'encoders.G16.model.0.conv.weight' or 'models.G16.cnns.0.2.bias'.
      config: the configuration (for the number of downsamplings and layers).

    Returns:
      Such as ('encoders', 'G16', 'conv_in', 'conv', 'kernel') or ('G16', 'scale_0', 'conv_out', 'conv', 'bias').

    Raises:
      InputError: a name that no such network has.
    """
    down, layers = config["generator"]["n_downsample"], config["discriminator"]["n_layer"]
    for pattern, place in (
        (r"shared\.model\.0\.model\.(\d)\.(.+)", lambda m: ("shared", f"conv_{m[1]}")),
        (r"(encoders)\.([^.]+)\.model\.(\d+)\.(.+)", lambda m: (m[1], m[2], _encoder_block(int(m[3]), down))),
        (r"(decoders)\.([^.]+)\.conv_out\.(.+)", lambda m: (m[1], m[2], "conv_out")),
        (
            r"(decoders)\.([^.]+)\.(?:inner_)?model\.(\d+)\.(.+)",
            lambda m: (m[1], m[2], _decoder_block(int(m[3]), down)),
        ),
        (r"models\.([^.]+)\.cnns\.(\d+)\.(\d+)\.(.+)", lambda m: (m[1], f"scale_{m[2]}", _layer(int(m[3]), layers))),
    ):
        match = re.fullmatch(pattern, name)
        if not match:
            continue
        rest = match[match.re.groups]
        path = place(match)
        inner = re.fullmatch(r"model\.(\d+)\.model\.(\d)\.(.+)", rest)
        if inner:
            path, rest = (*path[:-1], f"res_block_{inner[1]}", f"conv_{inner[2]}"), inner[3]
        if rest in _LEAVES and path[-1]:
            return (*path, *_LEAVES[rest])
    raise InputError(f"the released state has a parameter '{name}' that these networks do not have")


def _encoder_block(index: int, down: int) -> str:
    return "conv_in" if index == 0 else f"down_{index - 1}" if index <= down else "res_blocks"


def _decoder_block(index: int, down: int) -> str:
    return "res_blocks" if index == 0 else "conv_out" if index == 2 * down + 1 else f"up_{index // 2 - 1}"


def _layer(index: int, layers: int) -> str:
    return "conv_out" if index == layers else f"conv_{index}"


def to_nested(state: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The release's flat state of one network as our nested dict.

    Args:
      state: released name -> array; convolution weights [out, in, height, width].
      config: the configuration.

    Returns:
      Nested dict; kernels [height, width, in, out]; running statistics of batch norm left out.
    """
    nested: dict[str, Any] = {}
    for name, value in state.items():
        if not is_parameter(name):
            continue
        *sections, leaf = parameter_path(name, config)
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        value = np.asarray(value)
        place[leaf] = np.ascontiguousarray(value.transpose(2, 3, 1, 0)) if value.ndim == 4 else value
    return nested


def check_same_structure(found: Mapping[str, Any], expected: Mapping[str, Any], what: str) -> None:
    """Compares two nested dicts of arrays leaf by leaf.

    Raises:
      InputError: naming the first leaf that is missing, unexpected or of another shape.
    """
    ours, theirs = dict(_leaves(expected)), dict(_leaves(found))
    for path, leaf in ours.items():
        if path not in theirs:
            raise InputError(f"{what} lacks the parameter {path}, which the configuration's network has")
        if tuple(theirs[path].shape) != tuple(leaf.shape):
            shapes = f"is {tuple(theirs[path].shape)}, the configuration wants {tuple(leaf.shape)}"
            raise InputError(f"{what}: {path} {shapes}")
    for path in theirs:
        if path not in ours:
            raise InputError(f"{what} has the parameter {path}, which the configuration's network lacks")


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in tree.items():
        yield from _leaves(value, f"{prefix}{key}/") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
