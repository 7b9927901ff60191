"""Compiling for chips that are not there, and measuring the step on those that are."""

import importlib.util
import os
import re
import sys
from types import SimpleNamespace

import pytest

from satxlate_jax.__main__ import main
from satxlate_jax.benchmarks.compile import CHIPS, describe, read_collectives, roofline
from satxlate_jax.benchmarks.train import convolution_rates
from tests import tiny_run

PROGRAM = """
  %all-reduce.1 = f32[3,3,64,64]{3,2,1,0} all-reduce(%a), replica_groups={}
  %x = (f32[5]{0}, bf16[2,8]{1,0}) all-reduce-start(%a, %b), channel_id=1
  %y = (f32[5]{0}, bf16[2,8]{1,0}) all-reduce-done(%x)
  ROOT %g = f32[16]{0} all-gather(%c), dimensions={0}
  %no = f32[9]{0} add(%all-reduce.1, %d), metadata={op_name="all-reduce(f)"}
"""


def test_collectives_are_read_from_a_program():
    assert read_collectives(PROGRAM) == {"all-reduce": (2, 4 * 9 * 64 * 64 + 4 * 5 + 2 * 16), "all-gather": (1, 64)}


def test_the_roofline_follows_the_published_specifications():
    bounds = roofline(CHIPS["v5e"], operations=197e12, memory_bytes=819e9 / 2, reduced_bytes=100e9, chips=4)
    assert bounds == pytest.approx({"arithmetic": 1.0, "memory": 0.5, "network": 0.75})
    assert roofline(CHIPS["v4"], 0, 0, 1e9, chips=1)["network"] == 0


def test_a_report_names_what_bounds_the_step():
    step = SimpleNamespace(
        cost_analysis=lambda: {"flops": 1.1e12, "bytes accessed": 19.8e9, "optimal_seconds": 0.03},
        memory_analysis=lambda: SimpleNamespace(
            argument_size_in_bytes=1_000_000_000,
            output_size_in_bytes=900_000_000,
            alias_size_in_bytes=900_000_000,
            temp_size_in_bytes=3_000_000_000,
            generated_code_size_in_bytes=0,
        ),
        as_text=lambda: "%x = f32[2900000] all-reduce(%a)",
    )
    text = describe(step, CHIPS["v5e"], chips=8, patches=128)
    # the numbers of the project's plan: 5.6 ms of arithmetic against 24 ms of memory traffic
    assert re.search(r"arithmetic +5\.584 ms", text) and re.search(r"memory +24\.176 ms", text)
    assert "bound by memory: at most 5,295 patches per second" in text
    assert "25.0% of 16 GB" in text and "1,237.5 MB per patch" in text and re.search(r"1 all-reduce +11\.60 MB", text)


@pytest.mark.parametrize(
    ("topology", "message"),
    [("v3:2x2", "unknown chip 'v3'"), ("v5e:5x7", "no topology 'v5e:5x7'"), ("v5e", "no topology")],
)
def test_an_unknown_topology_is_one_line(topology, message, capsys):
    if "unknown" not in message and not _libtpu_is_there():
        pytest.skip("libtpu is not installed (extra 'tpu')")
    assert main(["compile", f"--config={tiny_run.__file__}", f"--topology={topology}"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("satxlate compile: ")]
    assert message in line


def test_a_batch_of_nothing_is_refused_before_it_is_compiled(capsys):
    assert main(["compile", f"--config={tiny_run.__file__}", "--topology=v5e:2x4", "--batch_per_chip=0"]) == 2
    assert "argument --batch_per_chip: '0' is not a whole number from 1 up" in capsys.readouterr().err


def test_without_the_compiler_one_line_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "libtpu", None)  # as if it were not installed
    monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
    assert main(["compile", f"--config={tiny_run.__file__}", "--topology=v5e:2x4"]) == 2
    assert "pip install 'satxlate-jax[tpu]'" in capsys.readouterr().err


def _libtpu_is_there() -> bool:
    return bool(os.environ.get("TPU_LIBRARY_PATH") or importlib.util.find_spec("libtpu"))


@pytest.mark.skipif(not _libtpu_is_there(), reason="libtpu is not installed (extra 'tpu')")
def test_the_step_compiles_for_a_small_slice(capsys):
    command = ["compile", f"--config={tiny_run.__file__}", "--topology=v5e:2x4", "--batch_per_chip=2"]
    assert main(command) == 0
    output = capsys.readouterr().out
    assert "8 chips of v5e, 32 patches per step, 4 per chip" in output
    assert "all-reduce" in output and not re.search("all-gather|all-to-all|collective-permute|reduce-scatter", output)
    # what is reduced is the gradients: 4,930 parameters of 4 bytes, the losses, and the vote
    megabytes = float(re.search(r"all-reduce +([0-9.]+) MB", output)[1])
    assert 0.0197 <= megabytes + 0.005 and megabytes < 0.05


def test_the_machines_convolution_rate_is_of_the_right_order():
    rates = convolution_rates(2, 32, 16, repeats=3)
    assert set(rates) == {"forward", "input gradient", "weight gradient"}
    assert all(1e8 < rate < 1e14 for rate in rates.values()), rates


def test_bench_train_reports_the_step(tmp_path):
    command = [sys.executable, "-m", "satxlate_jax", "bench", "train", f"--config={tiny_run.__file__}:G16", "--steps=2"]
    environment = tiny_run.environment()
    result = tiny_run.run_training([*command, "--parts"], environment)
    assert result.returncode == 0, result.stderr
    for part in ("convolutions: weight gradients", "convolutions: forward, input gradients"):
        assert re.search(rf"{part} +[\d.]+% +[\d.]+ +\d+ +[\d.]+ G/s", result.stdout), result.stdout
    for what in ("compiled in", "operations per step", "seconds per step", "patches per second", "peak memory"):
        assert what in result.stdout
    assert len(re.findall("of its convolution's", result.stdout)) == 3
    assert "G16: batch 8, patches of 16 pixels, width 4, float32, fresh fakes" in result.stdout
