"""`satxlate demo`: the whole way on simulated tiles, small: simulate, build, train, translate, evaluate.

It runs the very commands that a user types, one after the other, and prints each before it runs.
"""

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from satxlate_jax.errors import InputError
from satxlate_jax.observations.catalog import find_tiles

SATELLITES = ("G16", "G17", "H8")
TEST_DAYS = "32-53"  # of 2019: the paper's test period, which the data sets keep out of training
# program -> how it is typed, and the module that it is, so that the interpreter is the one that runs the demo
PROGRAMS = {
    "satxlate": ("python -m satxlate_jax", "satxlate_jax"),
    "tfds": ("tfds", "tensorflow_datasets.scripts.cli.main"),
}
PROJECT = Path(__file__).resolve().parent.parent


def _run(title: str, words: Sequence[str], log: Path, *, show: bool = True) -> None:
    """Runs one command from the project's folder; its output goes to the terminal, or only to `log`.

    Raises:
      InputError: it failed.
    """
    typed, program = PROGRAMS[words[0]]
    print(f"\n== {title}\n   {typed} {shlex.join(words[1:])}", flush=True)
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    start = time.monotonic()
    command = [sys.executable, "-m", program, *words[1:]]
    if show:
        code = subprocess.run(command, cwd=PROJECT, env=environment).returncode
    else:
        with log.open("w") as file:
            code = subprocess.run(command, cwd=PROJECT, env=environment, stdout=file, stderr=file).returncode
    if code:
        where = "" if show else f"; its output is in {log}"
        raise InputError(f"the demo stopped at '{title}' (exit code {code}){where}")
    print(f"   done in {time.monotonic() - start:.0f} s", flush=True)


def run_demo(output: Path, tiles: int, times: int, steps: int, seed: int) -> Path:
    """Runs every stage below one folder.

    Args:
      output: folder for tiles, data sets, the run, translated tiles and the report.
      tiles: simulated tiles in all.
      times: simulated moments.
      steps: training steps.
      seed: of the simulated planet.

    Returns:
      The report's path.

    Raises:
      InputError: a stage failed, or this is no checkout of the project.
    """
    if not (PROJECT / "configs" / "demo.py").exists():
        raise InputError("the demo needs the project's checkout (configs/ and datasets/); clone it and run it there")
    output = output.resolve()
    logs = output / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    l1g, data, run, translated, scores = (output / name for name in ("l1g", "data", "run", "translated", "report"))
    words = ["--output", str(l1g), "--satellites", ",".join(SATELLITES), "--tiles", str(tiles), "--times", str(times)]
    words += ["--seed", str(seed), "--workers", str(os.cpu_count() or 1)]
    _run("1/5 simulate tiles as each satellite sees them", ["satxlate", "simulate", *words], logs / "simulate.log")
    for satellite in SATELLITES:
        words = [f"--config={satellite}", f"--manual_dir={l1g}", f"--data_dir={data}"]
        log = logs / f"build_{satellite}.log"
        _run(f"2/5 build the data set of {satellite}", ["tfds", "build", "datasets/geonex_l1g", *words], log, show=False)
    words = ["--config=configs/demo.py", f"--workdir={run}", f"--config.data.dir={data}", f"--config.steps={steps}"]
    _run("3/5 train", ["satxlate", "train", *words], logs / "train.log")
    test_files = find_tiles(l1g, satellites=["G17"], years=[2019], days=range(32, 54))
    if not test_files:
        raise InputError(f"the simulated archive {l1g} has no file of the test period; give more --times")
    # a tile that Himawari-8 sees too: the last column is the westernmost, beyond 180 degrees
    words = ["--checkpoint", str(run), "--to", "H8", str(max(test_files, key=lambda file: file.tile).path)]
    _run("4/5 translate a test tile", ["satxlate", "translate", *words, "--output", str(translated)], logs / "translate")
    words = ["--checkpoint", str(run), "--l1g", str(l1g), "--source", "G17", "--target", "H8"]
    words += ["--year", "2019", "--days", TEST_DAYS, "--output", str(scores)]
    _run("5/5 evaluate on the test days", ["satxlate", "evaluate", *words], logs / "evaluate.log")
    return scores / "report.html"


def main(argv: Sequence[str]) -> int:
    """Runs the verb `demo`."""
    parser = argparse.ArgumentParser(
        prog="satxlate demo",
        description="All of it on simulated tiles, small: simulate, build, train, translate, evaluate. On two CPU cores "
        "it takes some minutes; run again with the same --output, it continues.",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for everything it makes")
    parser.add_argument("--tiles", type=int, default=4, metavar="N", help="simulated tiles (default %(default)s)")
    parser.add_argument("--times", type=int, default=8, metavar="N", help="simulated moments (default %(default)s)")
    parser.add_argument("--steps", type=int, default=300, metavar="N", help="training steps (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed is another planet (default %(default)s)")
    arguments = parser.parse_args(argv)
    report = run_demo(arguments.output, arguments.tiles, arguments.times, arguments.steps, arguments.seed)
    print(f"\nTensorBoard: tensorboard --logdir {arguments.output / 'run'}")
    print(f"open the report: {report}")
    return 0
