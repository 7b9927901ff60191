"""launch/: what each script would do, what it says to missing settings, and two local processes that really train."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from satxlate_jax.checkpoints import Checkpoints
from tests import tiny_run

LAUNCH = tiny_run.PROJECT / "launch"
SCRIPTS = sorted([*LAUNCH.glob("*.sh"), LAUNCH / "slurm.sbatch"])
TRAIN = ["--config=configs/base_g16g17.py", "--workdir=a folder/run"]
TPU = {"TPU_NAME": "pod", "TPU_ZONE": "zone", "TPU_TYPE": "v5litepod-16", "TPU_RUNTIME": "v2-alpha-tpuv5-lite"}
XPK = {"CLUSTER": "c", "ZONE": "z", "WORKLOAD": "w", "TPU_TYPE": "v5litepod-16", "BASE_IMAGE": "image"}


def _run(script: str, *words: str, **settings: str) -> subprocess.CompletedProcess:
    environment = {"PATH": os.environ["PATH"]} | settings
    return subprocess.run(
        [str(LAUNCH / script), *words], cwd=tiny_run.PROJECT, env=environment, capture_output=True, text=True
    )


def _commands(script: str, *words: str, **settings: str) -> list[list[str]]:
    """The commands a dry run prints, as words."""
    result = _run(script, "--dry_run", *words, **settings)
    assert result.returncode == 0, result.stderr
    lines = [line[2:] for line in result.stdout.splitlines() if line.startswith("+ ")]
    assert lines, result.stdout
    return [shlex.split(line) for line in lines]


def test_one_local_process():
    assert _commands("local.sh", *TRAIN) == [["python", "-m", "satxlate_jax", "train", *TRAIN]]
    (command,) = _commands("local.sh", *TRAIN, PYTHON="/opt/my python")
    assert command[0] == "/opt/my python"


def test_several_local_processes():
    commands = _commands("local.sh", "--processes", "3", "--cpu_devices=1", *TRAIN)
    assert [command[-1] for command in commands] == [f"--process_id={index}" for index in range(3)]
    for command in commands:
        assert command[4:6] == TRAIN and "--num_processes=3" in command and "--coordinator=localhost:PORT" in command


def test_tpu_pod():
    (create,) = _commands("tpu_pod.sh", "create", **TPU, TPU_SPOT="true", TPU_PROJECT="mine")
    assert create[:6] == ["gcloud", "compute", "tpus", "tpu-vm", "create", "pod"]
    assert {"--zone=zone", "--project=mine", "--accelerator-type=v5litepod-16", "--spot"} <= set(create)
    archive, copy, install = _commands("tpu_pod.sh", "setup", **TPU)
    assert archive[:2] == ["git", "-C"] and copy[4] == "scp" and "--worker=all" in copy
    assert "pip install -q -e '.[tpu]'" in install[-2]
    (run,) = _commands("tpu_pod.sh", "run", *TRAIN, **TPU)
    assert "--worker=all" in run
    (remote,) = [word.removeprefix("--command=") for word in run if word.startswith("--command=")]
    inner = remote[remote.index("nohup") : remote.index(">")]
    words = shlex.split(inner)
    assert words == ["nohup", ".venv/bin/python", "-m", "satxlate_jax", "train", *TRAIN, "--distributed"]
    (stop,) = _commands("tpu_pod.sh", "stop", **TPU)
    assert "--command=kill -TERM $(cat satxlate/train.pid)" in stop
    (logs,), (delete,) = (_commands("tpu_pod.sh", action, **TPU) for action in ("logs", "delete"))
    assert "--worker=0" in logs and delete[4] == "delete"


def test_gke_xpk():
    (run,) = _commands("gke_xpk.sh", "run", *TRAIN, **XPK, SLICES="2")
    assert run[:3] == ["xpk", "workload", "create"]
    assert {"--cluster=c", "--zone=z", "--workload=w", "--tpu-type=v5litepod-16", "--num-slices=2"} <= set(run)
    inner = shlex.split(run[-1].removeprefix("--command="))
    assert inner == ["python", "-m", "satxlate_jax", "train", *TRAIN, "--distributed"]
    assert _commands("gke_xpk.sh", "stop", **XPK)[0][:3] == ["xpk", "workload", "delete"]
    assert _commands("gke_xpk.sh", "list", **XPK)[0][:3] == ["xpk", "workload", "list"]


def test_slurm():
    job = {"SLURM_JOB_ID": "77", "SLURM_NTASKS": "8", "SLURM_ARRAY_TASK_ID": "5"}
    train, again = _commands("slurm.sbatch", "--config=configs/drop_band.py:{i}", "--workdir=runs/{i}", **job)
    assert train == [
        *["srun", "--kill-on-bad-exit=1", "python", "-m", "satxlate_jax", "train"],
        *["--config=configs/drop_band.py:5", "--workdir=runs/5", "--distributed"],
    ]
    assert again == ["scontrol", "requeue", "77"]
    (single, _) = _commands("slurm.sbatch", *TRAIN)
    assert "--distributed" not in single
    assert re.search(r"^#SBATCH --signal=B:TERM@\d+$", (LAUNCH / "slurm.sbatch").read_text(), re.MULTILINE)


def test_pbs_submits_itself():
    (submit,) = _commands(
        "pbs.sh", *TRAIN, SELECT="2:ncpus=4", WALLTIME="1:00:00", QUEUE="v100", GROUP="s1", PYTHON="py"
    )
    assert submit[0] == "qsub" and "select=2:ncpus=4" in submit and "walltime=1:00:00" in submit
    assert submit[submit.index("-q") + 1] == "v100" and "group_list=s1" in submit
    assert submit[-4:] == ["/bin/bash", str(LAUNCH / "pbs.sh"), *TRAIN]
    assert "SECONDS_TO_TRAIN=3480" in submit, "two minutes are kept for saving"


def test_pbs_starts_one_process_on_each_node(tmp_path):
    nodes = tmp_path / "nodes"
    nodes.write_text("r1i0n1\nr1i0n1\nr1i0n7\n")
    first, second = _commands("pbs.sh", *TRAIN, PBS_NODEFILE=str(nodes), SECONDS_TO_TRAIN="3480")
    assert first[:4] == ["timeout", "--signal=TERM", "--kill-after=110", "3480"]
    assert first[4:] == [
        *["python", "-m", "satxlate_jax", "train", *TRAIN],
        *["--coordinator=r1i0n1:12355", "--num_processes=2", "--process_id=0"],
    ]
    assert second[0] == "ssh" and second[-2] == "r1i0n7"
    assert shlex.split(second[-1])[-5:] == [*TRAIN, *first[-3:-1], "--process_id=1"]


def test_sweeps():
    options = ["--config=configs/drop_band.py:{i}", "--workdir=RUNS/{i}"]
    (slurm,) = _commands("sweep.sh", "slurm", "0-15", *options)
    assert slurm == ["sbatch", "--array=0-15", str(LAUNCH / "slurm.sbatch"), *options]
    (pbs,) = _commands("sweep.sh", "pbs", "0-31", *options, SELECT="1", WALLTIME="1:00:00", PYTHON="python")
    assert pbs[pbs.index("-J") + 1] == "0-31" and pbs[-2:] == options
    local = _commands("sweep.sh", "local", "3-4", *options)
    assert [command[-2:] for command in local] == [
        [f"--config=configs/drop_band.py:{i}", f"--workdir=RUNS/{i}"] for i in (3, 4)
    ]


@pytest.mark.parametrize(
    ("script", "words", "settings", "message"),
    [
        ("local.sh", ["--workdir=x"], {}, "--config="),
        ("local.sh", ["--config=x"], {}, "--workdir="),
        ("local.sh", ["--processes=many", *TRAIN], {}, "'many' is not a number"),
        ("tpu_pod.sh", [], {}, "name an action"),
        ("tpu_pod.sh", ["run", *TRAIN], {}, "set TPU_NAME"),
        ("tpu_pod.sh", ["create"], {"TPU_NAME": "a", "TPU_ZONE": "b"}, "set TPU_TYPE"),
        ("tpu_pod.sh", ["run", "--config=x"], TPU, "--workdir=gs://"),
        ("gke_xpk.sh", ["run", *TRAIN], {"CLUSTER": "c", "ZONE": "z"}, "set WORKLOAD"),
        ("slurm.sbatch", TRAIN, {}, "this is a job"),
        ("slurm.sbatch", ["--config=x"], {}, "--workdir="),
        ("pbs.sh", TRAIN, {}, "set SELECT"),
        ("pbs.sh", TRAIN, {"SELECT": "1", "WALLTIME": "long"}, "set WALLTIME"),
        ("pbs.sh", TRAIN, {"PBS_NODEFILE": "/does/not/exist"}, "PBS_NODEFILE"),
        ("tpu_pod.sh", ["create", "--dry_run"], TPU, "--dry_run comes first"),
        ("gke_xpk.sh", ["run", *TRAIN, "--dry_run"], XPK, "--dry_run comes first"),
        ("pbs.sh", [*TRAIN, "--dry_run"], {"SELECT": "1", "WALLTIME": "1:00:00"}, "--dry_run comes first"),
        ("sweep.sh", ["slurm", "0-15", "--dry_run", *TRAIN], {}, "--dry_run comes first"),
        ("sweep.sh", ["moon", "0-1"], {}, "slurm, pbs or local"),
        ("sweep.sh", ["local", "5", "--workdir={i}"], {}, "no range of indices"),
        ("sweep.sh", ["local", "0-3", "--config=x:{i}", "--workdir=same"], {}, "must differ"),
    ],
)
def test_a_missing_setting_is_one_line(script, words, settings, message):
    result = _run(script, *words, **settings)
    assert result.returncode == 2 and not result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"launch/{script}: ") and message in line


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_help_explains_and_the_readme_names_it(script):
    result = _run(script.name, "--help")
    assert result.returncode == 0 and "usage:" in result.stdout and "TRAIN OPTIONS" in result.stdout
    assert f"`{script.name}`" in (LAUNCH / "README.md").read_text()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(script):
    shellcheck = shutil.which("shellcheck") or shutil.which("shellcheck", path=Path(sys.executable).parent)
    assert shellcheck, "no shellcheck: pip install -e '.[dev]'"
    result = subprocess.run([shellcheck, script], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_two_local_processes_train_stop_and_continue(tmp_path, data):
    run = tmp_path / "run"
    options = tiny_run.train_command(run, data, "--config.steps=100000", "--config.checkpoint_every=5")[4:]
    options[0] += ":G16"  # one satellite compiles in less time
    quiet = ("--config.validate_every=0", "--config.image_every=0", "--config.histogram_every=0")
    command = [str(LAUNCH / "local.sh"), "--processes", "2", "--cpu_devices=1", *options, *quiet]
    environment = tiny_run.environment() | {"PYTHON": sys.executable}

    def start(*words: str) -> subprocess.Popen:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [*command, *words], cwd=tiny_run.PROJECT, env=environment, stdout=pipe, stderr=pipe, text=True
        )

    process = start()
    for line in process.stdout:
        if line.startswith("step 7/"):
            break
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    step = Checkpoints(run / "checkpoints").latest_step()
    assert f"stopped as asked after step {step} of 100000" in output and step >= 7

    process = start(f"--config.steps={step + 3}")
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert f"continuing at step {step}" in output and "2 process(es)" in output
    assert [number for number, _ in tiny_run.read_scalars(run)["generator/total"]] == list(range(1, step + 4))
    assert Checkpoints(run / "checkpoints").metadata()["process_count"] == 2


def test_the_failure_of_one_process_is_that_of_the_script(tmp_path):
    python = tmp_path / "python"  # chooses the port, then fails as the second process
    python.write_text('#!/bin/sh\ncase "$*" in -c*) echo 12345 ;; *id=1) exit 2 ;; esac\n')
    python.chmod(0o755)
    result = _run("local.sh", "--processes", "2", *TRAIN, PYTHON=str(python))
    assert result.returncode == 2, result.stderr
