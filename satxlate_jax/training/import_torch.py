"""`satxlate import-torch`: a checkpoint of the PyTorch release becomes a run that translates and trains on."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from satxlate_jax.checkpoints import Checkpoints
from satxlate_jax.cli import CommandParser, InputError, user_path
from satxlate_jax.training.assembly import build_train_step
from satxlate_jax.training.optimizers import learning_rate
from satxlate_jax.training.run import run_facts
from satxlate_jax.training.torch_reference import (
    check_same_structure,
    config_from_released_yaml,
    is_parameter,
    to_nested,
)

_KEYS = ("global_step", "gen_state", "dis_state", "optimizer_gen", "optimizer_dis")


def load_torch_file(path: Path) -> dict[str, Any]:
    """The content of a released checkpoint, tensors as numpy arrays.

    Only data is read (`weights_only`): a file cannot run code.

    Raises:
      InputError: torch is not installed, there is no such file, or it is not such a checkpoint.
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


def moments(optimizer: Mapping[str, Any], state: Mapping[str, Any], config: Any, what: str) -> dict[str, Any]:
    """The state of our Adam from that of PyTorch's.

    Args:
      optimizer: its state_dict; it numbers the parameters in the order of the network's state.
      state: the network's flat state, released names.
      config: the configuration.
      what: for messages.

    Returns:
      {'count': int32, 'mu': nested like the parameters, 'nu': the same}; parameters without a state have zeros.

    Raises:
      InputError: another number of parameters.
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
    """Writes a run from a released checkpoint and its YAML configuration.

    Args:
      path: the checkpoint, `*.pth.tar`.
      config_path: the YAML it was trained with.
      output: the run's folder.

    Returns:
      The step it has reached.

    Raises:
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
        tree[part] = to_nested(content[key], config)
        check_same_structure(tree[part], jax.eval_shape(network.init, jax.random.key(0)), f"{path} ({key})")
        tree[f"{part}_optimizer"] = moments(content[optimizer_key], content[key], config, f"{path} ({optimizer_key})")
    step = int(content["global_step"])
    _warn_of_another_rate(content["optimizer_gen"], tree["generator_optimizer"]["count"], config)
    checkpoints = Checkpoints(output / "checkpoints")
    if checkpoints.latest_step() is not None:
        raise InputError(f"{output} is a run already (step {checkpoints.latest_step()}); choose another --output")
    checkpoints.save(step, tree, run_facts(config) | {"step": step, "imported_from": path.name})
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


def main(argv: list[str]) -> int:
    """Runs the verb `import-torch`."""
    parser = CommandParser(
        prog="satxlate import-torch",
        description="Turn a checkpoint of the PyTorch release into a run: `translate` uses it, `train` continues it.",
    )
    parser.add_argument("checkpoint", type=user_path, metavar="CHECKPOINT", help="the release's file, *.pth.tar")
    parser.add_argument("--config", type=user_path, required=True, metavar="YAML", help="the YAML it was trained with")
    parser.add_argument("--output", type=user_path, required=True, metavar="RUN", help="folder of the run to write")
    arguments = parser.parse_args(argv)
    step = import_checkpoint(Path(arguments.checkpoint), Path(arguments.config), Path(arguments.output))
    print(f"imported step {step} into {arguments.output}")
    config, run = (shlex.quote(path) for path in (arguments.config, arguments.output))
    print(f"next: python -m satxlate_jax translate --checkpoint {run} --to SATELLITE INPUT... --output OUT")
    print(f"or:   python -m satxlate_jax train --config=configs/released.py:{config} --workdir={run}", end=" ")
    print("--config.data.dir=DATA")
    return 0
