"""Builds of damaged files and of many files."""

import json
import os
from collections import Counter
from datetime import datetime, timedelta

import numpy as np
import pytest

from satxlate_jax.archive.catalog import find_tiles, relative_path
from tests.archives import build_data_set, write_archive

START = datetime(2020, 1, 1)


def mutate(content: bytes, random: np.random.Generator) -> bytes:
    """One of: cut short, emptied, bits flipped in the first kilobyte or anywhere, a size made huge."""
    kind = random.integers(6)
    data = bytearray(content)
    if kind == 0:
        return content[: random.integers(len(content))]
    if kind == 1:
        return b""
    if kind in (2, 3):
        for position in random.integers(0, len(data) if kind == 3 else 1024, random.integers(1, 20)):
            data[position] ^= 1 << random.integers(8)
    elif kind == 4:
        position = random.integers(len(data) - 4)
        data[position : position + 4] = b"\x7f\xff\xff\xff"
    else:
        begin = random.integers(len(data) - 64)
        data[begin : begin + 64] = random.bytes(64)
    return bytes(data)


@pytest.mark.slow
def test_300_damaged_files_cost_at_most_themselves(tmp_path):
    root = tmp_path / "l1g"
    times = [START + timedelta(hours=3 * index) for index in range(20)]
    sound = write_archive(root, {"G16": (2, 13)}, ["h10v05"], times)
    content, random = sound[0].read_bytes(), np.random.default_rng(0)
    for index in range(300):
        path = root / relative_path("G16", "h11v05", START + timedelta(minutes=10 * index))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(mutate(content, random))
    options = {"satellite": "G16", "bands": [2, 13], "patch_size": 100, "max_bad_fraction": 1.0, "split_by": "day"}
    folder = build_data_set(root, tmp_path / "data", "damaged", **options)
    manifest = json.loads((folder / "manifest.json").read_text())
    files = manifest["files"]
    assert files["found"] == 320 == files["with_examples"] + files["without_examples"]
    assert (
        len({entry["file"] for entry in manifest["skipped"]}) == len(manifest["skipped"]) == files["without_examples"]
    )
    assert not {path.name for path in sound} & {os.path.basename(entry["file"]) for entry in manifest["skipped"]}
    assert all(entry["detail"] and "\n" not in entry["detail"] for entry in manifest["skipped"])
    assert files["without_examples"] > 100


@pytest.mark.slow
def test_two_thousand_files(tmp_path):
    root = tmp_path / "l1g"
    originals = write_archive(root / "originals", {"G16": (13,)}, ["h10v05", "h11v05"], [START, START + timedelta(1)])
    moments = [START + timedelta(days=day, minutes=10 * step) for day in range(100) for step in range(10)]
    for index, moment in enumerate(moments):
        for tile in ("h12v05", "h13v06"):
            path = root / "many" / relative_path("G16", tile, moment)
            path.parent.mkdir(parents=True, exist_ok=True)
            if index % 50 == 7:
                path.write_bytes(originals[0].read_bytes()[:1000])
            else:
                os.link(originals[index % 4], path)
    options = {"satellite": "G16", "bands": [13], "patch_size": 150}
    folder = build_data_set(root / "many", tmp_path / "data", "many", **options)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["files"] == {"found": 2000, "with_examples": 1960, "without_examples": 40}
    assert manifest["files"]["found"] == len(find_tiles(root / "many"))
    assert Counter(entry["reason"] for entry in manifest["skipped"]) == {"unreadable": 40}
    splits = {split["name"]: split for split in json.loads((folder / "dataset_info.json").read_text())["splits"]}
    written = {name: sum(int(length) for length in split["shardLengths"]) for name, split in splits.items()}
    assert written == {name: split["examples"] for name, split in manifest["splits"].items()}
    assert sum(written.values()) == 4 * 1960 and 0.7 < written["train"] / (4 * 1960) < 0.9
