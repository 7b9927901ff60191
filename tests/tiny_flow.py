"""The spectral flow, small enough to train in seconds, on records whose law is known; also a file for --config."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from configs.base_flow import use_flow
from satxlate_jax.geometry import tile_grid
from satxlate_jax.instruments import get_satellite, published_statistics
from tests import tiny_run

SATELLITES = {"G16": (2, 3, 7, 8, 10, 11, 12), "G17": (2, 8, 10), "H8": (3, 8, 10, 11, 12)}
STEPS = 6
TILE = "h12v08"  # seen by G16 and G17 at much the same angles
NOISE = 0.2  # standard deviation of what the given bands do not tell, in each band's standard deviations


def get_config(new: str = "") -> Any:
    """The recipe of configs/base_flow.py on 16 pixels, with scores at every third step.

    `new` is a satellite that sends no images, with its bands, such as G18=8,12.
    """
    config = use_flow(tiny_run.get_config(), STEPS)
    config.batch_size, config.log_every, config.checkpoint_every = 4, 1, 3
    config.validate_every, config.image_every, config.histogram_every = 3, STEPS, STEPS
    config.data.satellites = type(config.data.satellites)(SATELLITES, sort_keys=False)
    if new:
        name, _, bands = new.partition("=")
        config.data.streams = tuple(SATELLITES)
        config.data.satellites[name] = tuple(map(int, bands.split(",")))
    config.flow.width, config.flow.levels, config.flow.degree = 4, 2, 2
    return config


def draw(random: np.random.Generator, size: int = tiny_run.PATCH_SIZE, ahi: bool = False) -> dict[int, np.ndarray]:
    """All bands in standard deviations: 2, 8 and 10 are waves, the others follow from these, with noise in each."""
    rows, columns = np.mgrid[:size, :size] / tiny_run.PATCH_SIZE
    u, v, w = (np.sin(a * rows + b * columns + c) for a, b, c in random.normal(0, 2, (3, 3)))
    laws = {7: 0.5 * u + 0.5 * v, 11: 0.9 * v, 12: 0.6 * u - 0.5 * v, 3: 0.8 * w}
    noisy = {band: wave + NOISE * random.normal(size=wave.shape) for band, wave in laws.items()}
    return noisy | {8: u, 10: 0.6 * u + 0.8 * v, 2: w} | ({3: w} if ahi else {})  # 0.64 um is AHI's third


def draw_tile(satellite: str, seed: int = 0, shape: tuple[int, int] = (tiny_run.PATCH_SIZE,) * 2) -> xr.Dataset:
    """A tile of such fields, as `read_tile` gives one; its bands are those that the satellite has here."""
    numbers = SATELLITES[satellite]
    field = draw(np.random.default_rng(seed), max(shape), satellite == "H8")
    variables = {}
    for number, mean, std in zip(numbers, *published_statistics(satellite, numbers), strict=True):
        values = (mean + std * field[number][: shape[0], : shape[1]]).astype(np.float32)
        variables[f"BAND{number:02d}"] = (("lat", "lon"), values, {"units": get_satellite(satellite).band(number).unit})
    lat, lon = tile_grid(TILE, 300)
    axes = {"lat": lat[: shape[0]], "lon": lon[: shape[1]], "time": np.datetime64("2019-01-03T18:30", "ns")}
    return xr.Dataset(variables, axes, {"satellite": satellite, "tile": TILE})


def records() -> Path:
    """Prepared data sets, made once."""

    def make(folder: Path) -> None:
        for satellite, bands in SATELLITES.items():
            fields = partial(draw, ahi=satellite == "H8")
            tiny_run.write_records(folder, satellites={satellite: bands}, draw=fields)

    return tiny_run.once("flow_records", make)


def finished_run() -> Path:
    """A run that nobody disturbed, made once."""

    def make(run: Path) -> None:
        assert train(run, records()) == 0

    return tiny_run.once("flow_run", make)


def train(run: Path, data: Path, *words: str) -> int:
    """Run `satxlate train` in this process."""
    from satxlate_jax.__main__ import main  # here, because the configuration must be readable without jax

    return main(["train", *tiny_run.train_command(run, data, f"--config={__file__}", *words)[4:]])
