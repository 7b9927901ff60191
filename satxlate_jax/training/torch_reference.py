"""`satxlate import-torch`: a checkpoint of the PyTorch release becomes a run that translates and trains on.

Written from the layout of the files that the release wrote (YAML keys, names and shapes of parameters), not its code.
"""

import argparse
import contextlib
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import yaml
from flax.traverse_util import unflatten_dict
from ml_collections import ConfigDict

from satxlate_jax.checkpoints import Checkpoints, check_same_leaves
from satxlate_jax.cli import InputError, user_path
from satxlate_jax.training.build_step import build_train_step
from satxlate_jax.training.config import default_config, flatten, validate
from satxlate_jax.training.optimizers import learning_rate
from satxlate_jax.training.starting_state import run_metadata

_WEIGHTS = "gan_w recon_x_w recon_shared_w recon_x_cyc_w recon_z_cyc_w recon_kl_cyc_w cycle_step"
_FIELDS = {  # released name -> our field
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
    **{name: f"objective.{name}" for name in _WEIGHTS.split()},
    "gen.activ": "generator.activation",
    "gen.pad_type": "generator.padding",
    **{f"gen.{name}": f"generator.{name}" for name in ("dim", "n_downsample", "n_res", "skip_connection")},
    "dis.activ": "discriminator.activation",
    "dis.pad_type": "discriminator.padding",
    "dis.gan_type": "objective.gan_type",
    **{f"dis.{name}": f"discriminator.{name}" for name in ("dim", "norm", "n_layer", "num_scales")},
}
_OPTIONAL = ("gen.skip_connection",)
# known, and without effect: names of folders, loader processes, weights that the release multiplies with nothing
_IGNORED = ("dataset", "model_path", "num_workers", "recon_h_w", "recon_kl_w")


def config_from_released_yaml(source: str | Path | Mapping[str, Any]) -> ConfigDict:
    """A configuration of `objective.variant = 'released'` from the release's YAML, a path or its content.

    InputError: no such file, not YAML, a key that is unknown or missing, a value that cannot work.
    """
    name = "the released configuration" if isinstance(source, Mapping) else str(source)
    content = source if isinstance(source, Mapping) else _read_yaml(Path(user_path(str(source))))
    flat = flatten({key: value for key, value in content.items() if key != "data"})
    unknown = [key for key in flat if key not in _FIELDS and key not in _IGNORED]
    if unknown:
        raise InputError(f"{name}: unknown key '{unknown[0]}'; known are data, {', '.join((*_FIELDS, *_IGNORED))}")
    missing = [key for key in ("data", *_FIELDS) if key not in flat and key not in _OPTIONAL and key not in content]
    if missing:
        raise InputError(f"{name}: the key '{missing[0]}' is missing")
    config = default_config()  # what the file does not say
    with config.unlocked(), config.ignore_type():
        config.objective.variant = "released"
        for key in flat.keys() & _FIELDS.keys():
            *sections, field = _FIELDS[key].split(".")
            (config[sections[0]] if sections else config)[field] = flat[key]
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


def _indices(text: Any) -> tuple[int, ...]:
    return tuple(int(word) for word in str(text).split(","))


# the last part of a released name -> the last two of ours
_LEAVES = {
    r"(conv\.)?weight": ("conv", "kernel"),
    r"(conv\.)?bias": ("conv", "bias"),
    r"activation\.weight": ("activation", "slope"),
    r"norm\.(gamma|weight)": ("norm", "scale"),
    r"norm\.(beta|bias)": ("norm", "bias"),
}


def is_parameter(name: str) -> bool:
    """True for keys of the release's state that are parameters; batch norm's running statistics are not."""
    return not re.search(r"norm\.(running_mean|running_var|num_batches_tracked)$", name)


def parameter_path(name: str, config: Mapping[str, Any]) -> tuple[str, ...]:
    """The path in our nested dicts of the parameter of that released name; InputError where no such network has it.

    Such as ('encoders', 'G16', 'conv_in', 'conv', 'kernel') of 'encoders.G16.model.0.conv.weight', ('G16', 'scale_0',
    'conv_out', 'conv', 'bias') of 'models.G16.cnns.0.2.bias'.
    """
    down, layers = config["generator"]["n_downsample"], config["discriminator"]["n_layer"]
    encoder = ["conv_in", *(f"down_{index}" for index in range(down)), "res_blocks"]
    decoder = ["res_blocks", *(f"up_{index // 2}" for index in range(2 * down)), "conv_out"]
    layer = [*(f"conv_{index}" for index in range(layers)), "conv_out"]
    for pattern, place in (
        (r"shared\.model\.0\.model\.(\d)\.(.+)", lambda m: ("shared", f"conv_{m[1]}")),
        (r"(encoders)\.([^.]+)\.model\.(\d+)\.(.+)", lambda m: (m[1], m[2], encoder[int(m[3])])),
        (r"(decoders)\.([^.]+)\.conv_out\.(.+)", lambda m: (m[1], m[2], "conv_out")),
        (r"(decoders)\.([^.]+)\.(?:inner_)?model\.(\d+)\.(.+)", lambda m: (m[1], m[2], decoder[int(m[3])])),
        (r"models\.([^.]+)\.cnns\.(\d+)\.(\d+)\.(.+)", lambda m: (m[1], f"scale_{m[2]}", layer[int(m[3])])),
    ):
        match = re.fullmatch(pattern, name)
        with contextlib.suppress(IndexError):  # of a block that there is not
            if match is None:
                continue
            path, rest = place(match), match[match.re.groups]
            if inner := re.fullmatch(r"model\.(\d+)\.model\.(\d)\.(.+)", rest):
                path, rest = (*path[:-1], f"res_block_{inner[1]}", f"conv_{inner[2]}"), inner[3]
            for leaf, ours in _LEAVES.items():
                if re.fullmatch(leaf, rest):
                    return (*path, *ours)
    raise InputError(f"the released state has a parameter '{name}' that these networks do not have")


def to_nested(state: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The release's flat state of one network, released name -> array, as our nested dict.

    Kernels become [height, width, in, out] of [out, in, height, width]; batch norm's running statistics are left out.
    """
    arrays = {parameter_path(name, config): np.asarray(state[name]) for name in state if is_parameter(name)}
    return unflatten_dict(
        {path: np.ascontiguousarray(x.transpose(2, 3, 1, 0)) if x.ndim == 4 else x for path, x in arrays.items()}
    )


# ---------------------------------------------------------------- checkpoints

_KEYS = ("global_step", "gen_state", "dis_state", "optimizer_gen", "optimizer_dis")


def load_torch_file(path: Path) -> dict[str, Any]:
    """A released checkpoint, tensors as numpy arrays; InputError where it is none or torch is not there.

    Only data are read (`weights_only`): a file cannot run code.
    """
    try:
        import torch
    except ImportError:
        raise InputError("reading PyTorch's files needs PyTorch: pip install 'satxlate-jax[torch]'") from None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except Exception as error:  # torch raises many kinds for a file that is not its own or holds code
        raise InputError(f"{path} is no PyTorch checkpoint of weights: {str(error).splitlines()[0]}") from None
    missing = [key for key in _KEYS if not isinstance(content, Mapping) or key not in content]
    if missing:
        raise InputError(f"{path} is not a checkpoint of the release: it has no '{missing[0]}'")
    return _to_numpy(content, torch.Tensor)


def _to_numpy(value: Any, tensor: Any) -> Any:
    if isinstance(value, tensor):
        return value.detach().numpy()
    if isinstance(value, Mapping):
        return {key: _to_numpy(item, tensor) for key, item in value.items()}
    return value


def adam_state(optimizer: Mapping[str, Any], state: Mapping[str, Any], config: Any, what: str) -> dict[str, Any]:
    """The state of our Adam from that of PyTorch's, whose state_dict numbers parameters in the order of the network's.

    Parameters that PyTorch has no state of have zeros; InputError for another number of parameters.
    """
    names = [name for name in state if is_parameter(name)]
    indices = [index for group in optimizer["param_groups"] for index in group["params"]]
    if len(indices) != len(names):
        lengths = f"{len(indices)} parameters, the network {len(names)}"
        raise InputError(f"{what} holds {lengths}: cannot tell which is which")
    entries = [optimizer["state"].get(index, {}) for index in indices]
    counts = {int(entry["step"]) for entry in entries if "step" in entry}
    if len(counts) > 1:
        raise InputError(f"{what} counts different numbers of steps for its parameters: {sorted(counts)}")
    result: dict[str, Any] = {"count": np.int32(counts.pop() if counts else 0)}
    for ours, theirs in (("mu", "exp_avg"), ("nu", "exp_avg_sq")):
        flat = {name: entry.get(theirs, np.zeros_like(state[name])) for name, entry in zip(names, entries, strict=True)}
        result[ours] = to_nested(flat, config)
    return result


def import_checkpoint(path: Path, config_path: Path, output: Path) -> int:
    """Write a run from a released checkpoint, `*.pth.tar`, and its YAML configuration; returns the step it has reached.

    InputError: one of the files cannot be used, they do not belong together, or `output` is a run already.
    """
    config = config_from_released_yaml(config_path)
    content = load_torch_file(path)
    train_step = build_train_step(config)
    objective = train_step.objective
    tree: dict[str, Any] = {}
    for part, key, optimizer_key, network in (
        ("generator", "gen_state", "optimizer_gen", objective.translator),
        ("discriminator", "dis_state", "optimizer_dis", objective.discriminator),
    ):
        tree[part], optimizer = to_nested(content[key], config), content[optimizer_key]
        check_same_leaves(f"{path} ({key})", tree[part], jax.eval_shape(network.init, jax.random.key(0)))
        tree[f"{part}_optimizer"] = adam_state(optimizer, content[key], config, f"{path} ({optimizer_key})")
    step = int(content["global_step"])
    _warn_of_another_rate(content["optimizer_gen"], tree["generator_optimizer"]["count"], config)
    checkpoints = Checkpoints(output / "checkpoints")
    if checkpoints.latest_step() is not None:
        raise InputError(f"{output} is a run already (step {checkpoints.latest_step()}); choose another --output")
    checkpoints.save(step, tree, run_metadata(config) | {"step": step, "imported_from": path.name})
    checkpoints.wait()
    checkpoints.close()
    return step


def _warn_of_another_rate(optimizer: Mapping[str, Any], count: np.int32, config: Any) -> None:
    """The release's scheduler and our formula must agree on the next step's learning rate."""
    theirs = optimizer["param_groups"][0]["lr"]
    ours = float(learning_rate(config.optimizer, count, decays=True))
    if not np.isclose(theirs, ours, rtol=1e-5):
        print(
            f"note: the checkpoint's learning rate is {theirs}, the configuration gives {ours} at step {count};"
            " training would go on with the latter",
            file=sys.stderr,
        )


def main(arguments: argparse.Namespace) -> int:
    """Run the subcommand `import-torch`."""
    step = import_checkpoint(Path(arguments.checkpoint), Path(arguments.config), Path(arguments.output))
    print(f"imported step {step} into {arguments.output}")
    config, run = (shlex.quote(path) for path in (arguments.config, arguments.output))
    print(f"next: python -m satxlate_jax translate --checkpoint {run} --to SATELLITE INPUT... --output OUT")
    print(f"or:   python -m satxlate_jax train --config=configs/released.py:{config} --workdir={run}", end=" ")
    print("--config.data.dir=DATA")
    return 0
