"""Imagers that the paper knows not go all the way: simulated, prepared, trained on, translated, scored."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr

from satxlate_jax.__main__ import main
from satxlate_jax.instruments import get_satellite

PROJECT = Path(__file__).parents[1]
CONFIG = """
from configs.base_flow import use_flow
from configs.default import get_config as default_config, ordered

def get_config():
    config = use_flow(default_config(), 4)
    config.data.satellites = ordered({bands})
    config.flow.width, config.flow.levels = 4, 3
    return config
"""


@pytest.mark.slow
@pytest.mark.parametrize("pair", ["GK2A,H8", "MTG1,MSG4"])
def test_from_a_scene_to_scores(pair, tmp_path, monkeypatch):
    monkeypatch.chdir(PROJECT)
    source, target = pair.split(",")
    tiles, data, run = (tmp_path / name for name in ("l1g", "data", "run"))
    assert main(["simulate", "--output", str(tiles), "--satellites", pair, "--tiles", "2", "--times", "4"]) == 0
    for satellite in (source, target):
        words = ["build", "datasets/geonex_l1g", f"--config={satellite}", f"--manual_dir={tiles}", f"--data_dir={data}"]
        subprocess.run([Path(sys.executable).parent / "tfds", *words], check=True, capture_output=True)
    bands = {name: tuple(band.number for band in get_satellite(name).bands) for name in (source, target)}
    (tmp_path / "config.py").write_text(CONFIG.format(bands=", ".join(f"{k}={v}" for k, v in bands.items())))
    train = ["train", f"--config={tmp_path / 'config.py'}", f"--workdir={run}", f"--config.data.dir={data}"]
    assert main(train) == 0
    common = ["--checkpoint", str(run)]
    assert main(["translate", str(tiles), *common, "--to", target, "--output", str(tmp_path / "out")]) == 0
    with xr.open_dataset(next((tmp_path / "out").rglob("*.nc"))) as made:
        assert {f"BAND{number:02d}" for number in bands[target]} <= set(made)
        assert made.attrs["satellite"] == target and made.attrs["source_satellite"] == source
    words = ["evaluate", *common, "--l1g", str(tiles), "--source", source, "--target", target, "--pictures", "0"]
    assert main([*words, "--output", str(tmp_path / "scores")]) == 0
    scores = pd.read_csv(tmp_path / "scores" / "scores.csv")
    assert set(scores[scores.method == "model"].band) == set(bands[target])
