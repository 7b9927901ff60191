"""`satxlate bench growth` measures what it says, on small archives; its exponents are those of known laws."""

import re

import pytest

from satxlate_jax.__main__ import main
from satxlate_jax.archive.catalog import find_tiles
from satxlate_jax.benchmarks.growth import exponent, make_names, write_manifest
from satxlate_jax.dataset.manifest import read_manifest
from tests import tiny_flow


def test_exponents_of_known_laws():
    for power in (0.5, 1, 2):
        assert exponent({size: 7 * size**power for size in (2, 3, 5, 100)}) == pytest.approx(power)


def test_the_archive_is_one(tmp_path):
    make_names(tmp_path, 2400)  # into the second day
    assert len({(file.tile, file.time) for file in find_tiles(tmp_path)}) == 2400
    write_manifest(tmp_path)
    assert read_manifest(tmp_path)["files"] == {"found": 2400, "with_examples": 0, "without_examples": 2400}


@pytest.mark.slow
def test_all_costs_are_told(capsys):
    assert not main(["bench", "growth", f"--config={tiny_flow.__file__}", "--files=1000", "--side=600"])
    printed = capsys.readouterr().out
    for name, sizes in {
        "catalogue": ["100", "1,000"],
        "manifest of a build": ["100", "1,000"],
        "restart": ["100", "1,000"],
        "translation": ["90,000", "360,000"],
        "training step": ["2", "3"],
    }.items():
        (line,) = re.findall(rf"^  {name}, s .*exponent [\d.-]+$", printed, re.MULTILINE)
        assert all(f"{size}: " in line for size in sizes), line
    images, _ = re.findall(r"its operations, G .*exponent ([\d.]+)", printed)  # these satellites have unequal bands
    assert float(images) == pytest.approx(1, abs=0.02)
