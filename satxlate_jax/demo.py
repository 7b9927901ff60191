"""`satxlate demo`: a small run of everything on simulated tiles: simulate, build, train, translate, evaluate.

It runs the commands that a user types, some at the same time, and prints each before it runs.
"""

import argparse
import contextlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from satxlate_jax.archive.catalog import coincident, find_tiles
from satxlate_jax.cli import InputError, parse_numbers
from satxlate_jax.cpus import count_cpus
from satxlate_jax.shipped import BUILDER, CONFIGS, typed_path

SATELLITES = ("G16", "G17", "H8")
SOURCE, TARGET = "G17", "H8"
TEST_DAYS = "32-53"  # of 2019: the paper's test period, which the data sets keep out of training
# program -> how it is typed, and its module, so that the interpreter is the one that runs the demo
PROGRAMS = {
    "satxlate": ("python -m satxlate_jax", "satxlate_jax"),
    "tfds": ("tfds", "tensorflow_datasets.scripts.cli.main"),
}


_NEXT = """
next, your own files: Level-1b granules or L1G tiles of GOES-17 in a folder INPUT, with the run that the package has
   pip install -e '.[l1b]'    # for granules; of an installed wheel 'satxlate-jax[l1b]'
   python -m satxlate_jax translate --checkpoint pretrained:goes_thermal --to G16 INPUT --output OUT
   python -m satxlate_jax info OUT/FILE.nc
README.md, "Your data", goes on to a run of your own"""


def _run(title: str, *commands: Sequence[str], logs: Sequence[Path] = ()) -> None:
    """Run commands, several at the same time; their output goes to the terminal, or to `logs`."""
    print(f"\n== {title}", flush=True)
    start, environment = time.monotonic(), os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    with contextlib.ExitStack() as stack:
        processes = []
        for words, log in zip_longest(commands, logs):
            typed, module = PROGRAMS[words[0]]
            print(f"   {typed} {shlex.join(words[1:])}", flush=True)
            file = stack.enter_context(log.open("w")) if log else None
            command = [sys.executable, "-m", module, *words[1:]]
            processes.append(subprocess.Popen(command, env=environment, stdout=file, stderr=file))
        try:
            codes = [process.wait() for process in processes]
        except KeyboardInterrupt:  # which a terminal sends to the commands as well, to end as they do
            for process in processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)
                process.terminate()
            raise
    for code, log in zip_longest(codes, logs):
        if code:
            where = f"; its output is in {log}" if log else ""
            raise InputError(f"the demo stopped at '{title}' (exit code {code}){where}")
    print(f"   done in {time.monotonic() - start:.0f} s", flush=True)


def main(options: argparse.Namespace) -> None:
    """Run the subcommand `demo`: every stage below one folder; InputError where one fails."""
    output = Path(options.output).resolve()
    names = ("l1g", "l1g_same_view", "data", "run", "translated", "report_two_views", "report")
    l1g, same_view, data, run, translated, two_views, scores = (output / name for name in names)
    output.mkdir(parents=True, exist_ok=True)

    print(f"five steps, under four minutes on two CPU cores; everything goes to {options.output}")
    scenes = [f"--satellites={','.join(SATELLITES)}", f"--tiles={options.tiles}", f"--times={options.times}"]
    scenes += [f"--seed={options.seed}", f"--workers={count_cpus()}"]
    _run("1/5 simulate tiles as each satellite sees them", ["satxlate", "simulate", f"--output={l1g}", *scenes])
    builder, folders = typed_path(BUILDER), [f"--manual_dir={l1g}", f"--data_dir={data}"]
    builds = [["tfds", "build", builder, f"--config={satellite}", *folders] for satellite in SATELLITES]
    truth = ["satxlate", "simulate", f"--output={same_view}", *scenes, f"--viewpoint={SOURCE}", f"--days={TEST_DAYS}"]
    logs = [output / f"build_{satellite}.log" for satellite in SATELLITES]
    title = f"2/5 build the data sets, and simulate what the others would see from {SOURCE}'s place, as truth"
    _run(title, *builds, truth, logs=[*logs, output / "simulate_same_view.log"])

    _check_family(run)
    config = typed_path(CONFIGS / "demo.py")
    words = [f"--config={config}", f"--workdir={run}", f"--config.data.dir={data}", f"--config.steps={options.steps}"]
    _run("3/5 train", ["satxlate", "train", *words])

    days = parse_numbers(TEST_DAYS)
    source, target = (find_tiles(l1g, satellites=[name], years=[2019], days=days) for name in (SOURCE, TARGET))
    pairs = coincident(source, target)
    if not pairs:
        raise InputError(f"the simulated archive {l1g} has no pair of files in the test period; give more --times")
    checkpoint = f"--checkpoint={run}"
    translate = ["satxlate", "translate", checkpoint, f"--to={TARGET}", str(pairs[0][0].path), f"--output={translated}"]
    satellites = [f"--source={SOURCE}", f"--target={TARGET}"]
    words = ["satxlate", "evaluate", checkpoint, f"--l1g={l1g}", *satellites, "--year=2019", f"--days={TEST_DAYS}"]
    apart = [*words, "--pictures=0", f"--output={two_views}"]
    title = f"4/5 translate a test tile, and score against what {TARGET} sees from its own place"
    _run(title, translate, apart, logs=[output / "translate.log", output / "evaluate_two_views.log"])
    here = ["--truth=same_view", f"--truth_l1g={same_view}", f"--beside={two_views}", f"--output={scores}"]
    _run(
        f"5/5 score against what {TARGET} would see from {SOURCE}'s place, so that there is no parallax",
        [*words, *here],
    )
    print(f"\nTensorBoard: {shlex.join(['tensorboard', '--logdir', f'{Path(options.output)}/run'])}")
    print(f"open the report: {scores / 'report.html'}")
    print(_NEXT)


def _check_family(run: Path) -> None:
    """Raise InputError where the folder holds a run of the demo of an older version."""
    mark = run / "run.json"
    if mark.is_file() and json.loads(mark.read_text())["config"]["generator"]["family"] != "spectral_flow":
        raise InputError(
            f"{run} is a run of the VAE-GAN, which the demo trained before 0.2 (now configs/demo_vae_gan.py); choose "
            "another --output"
        )
