"""The step beside PyTorch's, and the table of one GPU, where there need be neither."""

import importlib.util
import json
import shlex
import sys
from pathlib import Path

import pytest

from satxlate_jax.__main__ import main
from satxlate_jax.benchmarks import beside_torch
from satxlate_jax.shipped import CONFIGS
from tests import tiny_run
from tests.documents import parse

CONFIG = f"--config={CONFIGS / 'base_g16g17.py'}"


def write_python(path, program):
    """A stand-in for a Python that has PyTorch, or has none."""
    path.write_text(f"#!/bin/sh\n{program}\n")
    path.chmod(0o755)
    return f"--torch_python={path}"


def test_both_in_turn_and_the_median_of_their_ratios(tmp_path, monkeypatch, capsys):
    found = {"version": "9", "device": "cpu", "compiled": 1, "operations": 3e12, "seconds": 3.0, "peak": 2**30}
    python = write_python(tmp_path / "python", f"echo \"$3\" >> {tmp_path}/asked; echo '{json.dumps(found)}'")
    ours = iter((1.0, 2.0, 3.0))
    monkeypatch.setattr(beside_torch, "run_train", lambda words, steps: next(ours))
    assert main(["bench", "torch", CONFIG, "--turns=3", "--tf32", "--config.batch_size=4", python]) == 0
    printed = capsys.readouterr().out
    assert (
        "takes 1.50 times as many steps per second as PyTorch that decodes once (median of 3.00, 1.50, 1.00)" in printed
    )
    assert (
        printed.count("patches per second           2.67") == 6 and "peak memory                  1.00 GiB" in printed
    )
    asked = [json.loads(line) for line in (tmp_path / "asked").read_text().splitlines()]
    assert [each["decodes"] for each in asked] == ["repeated", "once"] * 3
    assert asked[0]["bands"] == [16, 16] and asked[0]["batch"] == 4 and asked[0]["precision"] == "tf32"


@pytest.mark.parametrize(
    ("program", "words", "complaint"),
    [
        (
            "echo \"ModuleNotFoundError: No module named 'torch'\" >&2; exit 1",
            [CONFIG],
            "pip install 'satxlate-jax[torch]'",
        ),
        ("echo out of memory >&2; exit 1", [CONFIG], "PyTorch's step failed: out of memory"),
        ("", [f"--config={tiny_run.__file__}"], "equally many bands"),
        ("", [f"--config={CONFIGS / 'base_flow.py'}"], "takes the step of a vae_gan"),
    ],
)
def test_what_cannot_be_measured_is_one_line(program, words, complaint, tmp_path, capsys):
    assert main(["bench", "torch", *words, write_python(tmp_path / "python", program)]) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed (extra 'torch')")
def test_once_decodes_less_for_the_same_parameters():
    settings = {"bands": [4, 4], "dim": 4, "judge_dim": 4, "n_res": 1, "size": 8, "batch": 2, "precision": "float32"}
    settings |= {"steps": 1, "channels_last": False, "compile": False}
    once, repeated = (
        beside_torch.run_torch(sys.executable, settings | {"decodes": decodes})["operations"]
        for decodes in ("once", "repeated")
    )
    assert 0 < once < repeated < 1.5 * once


def test_every_line_of_the_table_is_a_command(capsys):
    assert main(["bench", "gpu", "--dry_run", "--batches=2,4", "--config.data.patch_size=8"]) == 0
    commands = capsys.readouterr().out.splitlines()
    assert len(commands) == 2 * 3 * (2 + 3) + 2 * 3
    for command in commands:
        assert "--config.data.patch_size=8" in command
        parse(shlex.split(command)[1:])
    assert main(["bench", "gpu", "--precisions=float8"]) == 2
    assert "no precision 'float8'; there are float32, tf32, bfloat16" in capsys.readouterr().err


def test_a_table_goes_on_where_a_line_fails(tmp_path, monkeypatch, capsys):
    def run(words, precision):
        if "--config.batch_size=4" in words:
            return "", "out of memory"
        return f"a step; {words[2]} on a card\n  seconds per step           0.5000\n  peak memory 2.00 GiB", ""

    monkeypatch.setattr(beside_torch, "run_line", run)
    monkeypatch.chdir(tmp_path)
    words = ["bench", "gpu", "--batches=2,4", "--precisions=tf32", "--output=table.md"]
    assert main(words) == 0
    table = Path("table.md").read_text()
    assert table.startswith("Measured on: torch on a card, train on a card, translate on a card")
    assert set(table.splitlines()) <= set(capsys.readouterr().out.splitlines())
    assert "| PyTorch compiled | 2 | tf32 |  |  | 0.5000 |  | 2.00 |  |" in table
    assert "| spectral flow | 4 | tf32 |  |  |  |  |  | out of memory |" in table
