"""`satxlate bench torch`: how fast PyTorch takes the step that `bench train` takes, and the ratio, taken in turns.

The published networks in plain PyTorch; decodes `repeated` as in the released code, or `once`: the same mathematics as
ours. On a GPU if PyTorch finds one. With --turns both are measured in the same minutes, each in a process of its own.
"""

import json
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from satxlate_jax.benchmarks import config_parser
from satxlate_jax.benchmarks.train import describe_peak, describe_step
from satxlate_jax.cli import InputError, at_least, user_path
from satxlate_jax.training.channels import carries_angles, satellite_bands
from satxlate_jax.training.config import flatten, load_config

PROGRAM = Path(__file__).with_name("torch_step.py")
DECODES = ("repeated", "once")
PUBLISHED = {
    "generator.n_downsample": 0,
    "generator.skip_connection": None,
    "generator.spectral_path": "none",
    "discriminator.n_layer": 2,
    "discriminator.norm": "none",
    "discriminator.num_scales": 1,
}
"""The fields of the networks that torch_step.py does not vary."""


def run_torch(python: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Run torch_step.py in a Python that has PyTorch.

    Raises:
      InputError: it has none, or the step failed.
    """
    try:
        # -P: the folder of the program holds modules with names of the standard library
        command = [python, "-P", str(PROGRAM), json.dumps(settings)]
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise InputError(f"--torch_python '{python}' does not run ({error.strerror})") from error
    if "No module named 'torch'" in done.stderr:
        raise InputError(
            f"{python} has no PyTorch: pip install 'satxlate-jax[torch]', or name one that has by --torch_python"
        )
    if done.returncode:
        raise InputError(f"PyTorch's step failed: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def torch_settings(config: Any, arguments: Any) -> dict[str, Any]:
    """The settings of torch_step.py for a configuration.

    Raises:
      InputError: it is of the spectral flow, or of unlike satellites, which torch_step.py does not have.
    """
    bands = [len(numbers) for numbers in satellite_bands(config).values()]
    if carries_angles(config) or len(set(bands)) > 1:
        raise InputError("`bench torch` takes the step of a vae_gan whose satellites have equally many bands")
    fields = flatten(config.to_dict())
    if unlike := [name for name, value in PUBLISHED.items() if fields[name] != value]:
        raise InputError(f"torch_step.py has config.{unlike[0]} {PUBLISHED[unlike[0]]!r} only")
    chosen = {name: getattr(arguments, name) for name in ("steps", "channels_last", "compile")}
    return chosen | {
        "bands": bands,
        "dim": config.generator.dim,
        "judge_dim": config.discriminator.dim,
        "n_res": config.generator.n_res,
        "size": config.data.patch_size,
        "batch": config.batch_size,
        "precision": "tf32" if arguments.tf32 else config.precision,
    }


def run_train(words: Sequence[str], steps: int) -> float:
    """Run `bench train`, print what it prints, and return its seconds per step."""
    command = [sys.executable, "-m", "satxlate_jax", "bench", "train", f"--steps={steps}", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"`bench train` failed: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")
    print(done.stdout, end="", flush=True)
    (seconds,) = re.findall(r"seconds per step +([\d.]+)", done.stdout)
    return float(seconds)


def main(argv: Sequence[str]) -> None:
    """Runs the benchmark."""
    parser = config_parser("bench torch", __doc__)
    option = parser.add_argument
    option("--steps", type=at_least(1), default=5, help="steps to time (default %(default)s)")
    option("--decodes", choices=DECODES, help="as in the release, or each once (default: one after the other)")
    option("--tf32", action="store_true", help="float32 with a GPU's faster, coarser products")
    option("--channels_last", action="store_true", help="in the layout that GPUs prefer")
    option("--compile", action="store_true", help="by torch.compile")
    option("--turns", type=at_least(0), default=0, help="rounds beside `bench train` (default: PyTorch alone)")
    option("--torch_python", type=user_path, default=sys.executable, metavar="FILE", help="that has PyTorch (this one)")
    arguments, words = parser.parse_known_args(argv)
    settings = torch_settings(load_config(words), arguments)
    names = ", ".join(name for name in ("channels_last", "compile") if settings[name]) or "eager"
    ratios: dict[str, list[float]] = {name: [] for name in DECODES if name == (arguments.decodes or name)}
    for _ in range(max(arguments.turns, 1)):
        ours = run_train(words, arguments.steps) if arguments.turns else None
        for decodes, found in ratios.items():
            torch = run_torch(arguments.torch_python, settings | {"decodes": decodes})
            what = f"batch {settings['batch']}, {settings['precision']}, {names}, decodes {decodes}"
            print(f"torch {torch['version']}: {what}; {torch['device']}")
            patches = settings["batch"] * len(settings["bands"])
            print(describe_step(torch["compiled"], torch["operations"], torch["seconds"], settings["steps"], patches))
            print(describe_peak(torch["peak"]), flush=True)
            found += [torch["seconds"] / ours] if ours else []
    for decodes, found in ratios.items():
        if found:
            each = ", ".join(f"{ratio:.2f}" for ratio in found)
            print(
                f"satxlate_jax takes {statistics.median(found):.2f} times as many steps per second as PyTorch "
                f"that decodes {decodes} (median of {each})"
            )
