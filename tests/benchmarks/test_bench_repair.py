"""`satxlate bench repair` on fields whose law is known."""

import re

import numpy as np

from satxlate_jax import write_tile
from satxlate_jax.__main__ import main
from satxlate_jax.archive.catalog import relative_path
from tests import tiny_flow
from tests.tiny_flow import draw_tile


def test_repaired_bands_are_scored(tmp_path, capsys):
    """Band 11 has noise of 0.2 deviations that no method knows; interpolation over 40 pixels of waves is no use."""
    for day in (3, 40):
        tile = draw_tile("G16", day, (300, 300)).assign_coords(
            time=np.datetime64("2019-01-01T18:30") + 24 * 60 * (day - 1)
        )
        path = tmp_path / relative_path("G16", tiny_flow.TILE, tile["time"].values.astype("M8[s]").item())
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tile(tile, path)
    words = ["bench", "repair", "--checkpoint", str(tiny_flow.finished_run()), "--l1g", str(tmp_path)]
    assert not main([*words, "--satellite", "G16", "--days", "40"])
    rows = dict(re.findall(r"BAND(\d+) whole +(.*)", capsys.readouterr().out))
    linear, _, repair, *_ = (float(number) for number in rows["11"].replace("NaN", "nan").split())
    noise = tiny_flow.NOISE * tiny_flow.get_satellite("G16").band(11).std
    assert 0.8 * noise < linear < 1.6 * noise and 0.8 * noise < repair < 1.6 * noise
    assert main([*words, "--satellite", "G16", "--days", "3,40"]) == 2
    assert "to learn from" in capsys.readouterr().err
