import re
import sys
from datetime import datetime

import pytest

from satxlate_jax.__main__ import main
from tests import tiny_run
from tests.archives import build_data_set, write_archive


def numbers_in(text, pattern):
    return [float(number.replace(",", "")) for number in re.search(pattern, text).groups()]


def test_bench_input_on_a_data_set_of_ones_own(tmp_path, capsys):
    write_archive(tmp_path / "l1g", {"G16": range(1, 17)}, ["h10v05"], [datetime(2020, 5, 1, 18)])
    build_data_set(tmp_path / "l1g", tmp_path / "data", "G16")
    words = ["--data", str(tmp_path / "data"), "--seconds", "0.2", "--batch-size", "4", "--processes=1,2"]
    assert main(["bench", "input", *words]) == 0
    printed = capsys.readouterr().out
    (rate,) = numbers_in(printed, r"per core: ([\d,]+) patches of 64x64x16/s")
    (steps,) = numbers_in(printed, r"feeds ([\d,]+) steps/s of two satellites with batch size 4")
    assert rate > 0 and abs(steps - rate / 8) <= 1
    for name in ("TPU v5e chip", "A100 40 GB"):
        least, needed, fed = numbers_in(
            printed, rf"{name}: .* at least (\d+) ms .*, ([\d,]+) patches/s\); one core feeds ([\d.]+)"
        )
        assert abs(needed - 16 / (least / 1000)) < 0.04 * needed and abs(fed - rate / needed) < 0.1
    alone, half = (
        numbers_in(printed, rf"{n} process(?:es)?: at most ([\d,]+) patches, ([\d.,]+) MB")[:2] for n in (1, 2)
    )
    assert alone[0] == 2 * half[0] == 4 * 500 and alone[1] == pytest.approx(2 * half[1], rel=0.1)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "name a benchmark; there are evaluate, build, train, logging"),
        (["speed"], "unknown benchmark 'speed'"),
        (["input", "--data", "/nowhere"], "no data set of G16"),
        (["input", "--seconds", "0"], "--seconds"),
        (["growth", f"--config={tiny_run.__file__}"], "it measures a spectral flow of two satellites or more"),
        (["input", "--processes", "1,3"], "must be a multiple of each number of --processes"),
        (["build", "--tiles", "2"], "--tiles must be more than"),
        (["build", "--l1g", "/nowhere"], "'/nowhere' is not a folder"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(words, complaint, capsys):
    assert main(["bench", *words]) == 2
    printed = capsys.readouterr().err
    assert complaint in printed and "Traceback" not in printed


@pytest.mark.slow
def test_bench_build_tells_where_the_time_goes(tmp_path, capsys):
    times = [datetime(2020, 5, day, hour) for day in (1, 2) for hour in range(24)]
    write_archive(tmp_path, {"G16": range(1, 17)}, ["h10v05"], times)
    assert main(["bench", "build", "--l1g", str(tmp_path), "--repeats", "1"]) == 0
    printed = capsys.readouterr().out
    (decode,) = numbers_in(printed, r"the floor\) +([\d.]+) ms CPU a tile")
    rows = [
        numbers_in(printed, rf"\n  {name} +(-?[\d.]+) ms")[0]
        for name in (
            "scaling, resampling",
            "quantising",
            "cutting, counting, serialising",
            "between processes, shuffling, writing",
        )
    ]
    (everything,) = numbers_in(printed, r"\n  all +([\d.]+) ms")
    assert decode > 0 and abs(decode + sum(rows) - everything) < 0.5
    floors, verdict = re.search(r"at most 1.5 floors; measured: ([\d.]+), (met|missed)", printed).groups()
    assert abs(float(floors) - everything / decode) < 0.1 and verdict == ("met" if float(floors) <= 1.5 else "missed")
    assert numbers_in(printed, r"by the clock, 1 reading process .*?: ([\d.]+) tiles/s")[0] > 0


def test_bench_logging_compares_with_and_without(tmp_path):
    command = [sys.executable, "-m", "satxlate_jax", "bench", "logging", f"--config={tiny_run.__file__}:G16"]
    command += ["--config.data.patch_size=8", "--config.batch_size=2", "--steps=2", "--rounds=1"]
    result = tiny_run.run_training(command, tiny_run.environment())
    off, on, ratio = numbers_in(result.stdout, r"([\d.]+) steps/s without.* ([\d.]+) with every.* ([\d.]+)%")
    assert off > 0 and ratio == pytest.approx(100 * on / off, rel=0.05)


@pytest.mark.slow
def test_bench_translate_sets_the_whole_against_its_slowest_stage(capsys):
    assert main(["bench", "translate", f"--config={tiny_run.__file__}", "--tiles=12"]) == 0
    printed = capsys.readouterr().out
    stages = [
        numbers_in(printed, rf"\n  {name}, \d \w+ +([\d.]+) ti")[0] for name in ("reading", "translating", "writing")
    ]
    (whole,) = numbers_in(printed, r"the whole +([\d.]+) tiles/s")
    ratio, verdict = re.search(r"([\d.]+) times as long as the slowest stage \(target 1.15: (\w+)", printed).groups()
    assert float(ratio) == pytest.approx(min(stages) / whole, rel=0.05)
    assert verdict == ("met" if float(ratio) <= 1.15 else "missed")
