"""Simulated L1G files: the same scenes as several satellites see them, for the demo, for tests and as paired truth.

    python -m satxlate_jax simulate --output DIR --satellites G16,G17,H8 --tiles 4 --times 12

A test bed, not a radiative-transfer model: it invents geography and weather and gives each band what distinguishes it
(wavelength through Planck's law, absorbing gases, reflecting surfaces, cloud phase and height, sun and view, parallax,
noise) in the simplest form. Relations between bands are plausible; no number is a forecast or a retrieval. Sources
stand in the modules of `scenes`.
"""

import argparse
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import numpy as np
import xarray as xr
from tqdm import tqdm

from satxlate_jax import geometry
from satxlate_jax.archive import catalog
from satxlate_jax.cli import CommandParser, InputError, parse_names, user_path
from satxlate_jax.instruments import Satellite, get_satellite
from satxlate_jax.l1g.reader import write_tile
from satxlate_jax.l1g.tile import band_attributes, make_tile
from satxlate_jax.simulator.geometry import view_position
from satxlate_jax.simulator.noise import add_reflectance_noise, add_temperature_noise
from satxlate_jax.simulator.reflective import ReflectiveView
from satxlate_jax.simulator.scene import Scene, build_scene
from satxlate_jax.simulator.schedule import choose_tiles, choose_times
from satxlate_jax.simulator.thermal import ThermalView
from satxlate_jax.simulator.view import look

_HORIZON = 85.0  # degrees; where a satellite stands lower over a tile's corner there is nothing to simulate
_DIMENSIONS = {300: ("lat", "lon"), 600: ("lat_1km", "lon_1km"), 1200: ("lat_500m", "lon_500m")}


def _generator(scene: Scene, satellite: Satellite, band: int) -> np.random.Generator:
    """The source of one band's noise: every band of every satellite has its own."""
    minutes = int(np.datetime64(scene.time, "m").astype(int))
    words = (scene.window.seed, *geometry.parse_tile(scene.tile), abs(minutes), *satellite.name.encode(), band)
    return np.random.default_rng(words)


def _observe(scene: Scene, satellite: Satellite) -> xr.Dataset:
    """The scene as the satellite's instrument measures it."""
    view = look(scene, satellite)
    thermal = ThermalView(scene, view)
    reflective: dict[int, ReflectiveView] = {}
    sun_height = np.cos(np.radians(scene.sun_zenith))
    coarse = {"solar_zenith": scene.sun_zenith, "solar_azimuth": scene.sun_azimuth}
    fine = {}
    for band in satellite.bands:
        random = _generator(scene, satellite, band.number)
        if band.kind == "brightness_temperature":
            coarse[band.name] = add_temperature_noise(thermal.temperature(band), band, random)
            continue
        pixels = geometry.pixels_of(band.native_resolution_km)
        if pixels not in reflective:
            reflective[pixels] = ReflectiveView(scene, view, pixels)
        height = np.repeat(np.repeat(sun_height, pixels // 300, axis=0), pixels // 300, axis=1)
        values = add_reflectance_noise(reflective[pixels].reflectance(band), height, band, random)
        if pixels == 300:
            coarse[band.name] = values
        else:
            fine[band.name] = (_DIMENSIONS[pixels], values, band_attributes(satellite.name, band))
    bands = [band for band in satellite.bands if band.name in coarse]
    tile = make_tile(satellite.name, scene.tile, scene.time, bands, coarse, 300).assign(fine)
    for pixels in (600, 1200):
        if _DIMENSIONS[pixels][0] in tile.dims:
            axes = zip(_DIMENSIONS[pixels], geometry.tile_grid(scene.tile, pixels), strict=True)
            tile = tile.assign_coords({name: (name, values) for name, values in axes})
    tile.attrs["source"] = f"simulated by satxlate_jax, seed {scene.window.seed}"
    return tile[[*(band.name for band in satellite.bands), "solar_zenith", "solar_azimuth"]]


def _check_visible(satellite: Satellite, tile: str) -> None:
    latitude, longitude = geometry.tile_grid(tile, 2)
    zenith, _ = view_position(satellite.longitude, latitude[:, None], longitude[None, :])
    if zenith.max() > _HORIZON:
        columns = ", ".join(f"h{h:02d}" for h in satellite.tile_columns)
        raise InputError(f"{satellite.name} does not see tile {tile}; it sees the columns {columns}")


def simulate_tile(satellite: str, tile: str, time: datetime, seed: int = 0) -> xr.Dataset:
    """One simulated observation.

    Args:
      satellite: such as 'G16'.
      tile: such as 'h12v04', one the satellite sees.
      time: UTC, without a time zone.
      seed: of geography, weather and noise. The same seed, tile and time are the same scene for every satellite.

    Returns:
      As `l1g.read_tile` gives it, but each band at its native resolution: 300 x 300 on (lat, lon), 600 x 600 on
      (lat_1km, lon_1km), 1200 x 1200 on (lat_500m, lon_500m). Reflectance is 0 at night. Nothing is missing.

    Raises:
      InputError: no such satellite or tile, or the tile is beyond the satellite's horizon.
    """
    seen_from = get_satellite(satellite)
    _check_visible(seen_from, tile)
    return _observe(build_scene(tile, time, seed), seen_from)


def _simulate_moment(output: str, satellites: Sequence[str], tile: str, time: datetime, seed: int) -> list[Path]:
    """Writes one scene as several satellites see it."""
    scene = build_scene(tile, time, seed)
    paths = []
    for name in satellites:
        path = Path(output, catalog.relative_path(name, tile, time))
        write_tile(_observe(scene, get_satellite(name)), path)
        paths.append(path)
    return paths


def _plan(
    satellites: Sequence[str], tiles: int | Sequence[str], times: int | Sequence[datetime], seed: int
) -> list[tuple[list[str], str, datetime]]:
    """Which satellites look at which tile when."""
    chosen = list({get_satellite(name).name: get_satellite(name) for name in satellites}.values())
    if not chosen:
        raise InputError("no satellite to simulate; name some, such as G16,G17,H8")
    if isinstance(tiles, int):
        tiles = choose_tiles(chosen, tiles, seed)
    seen_by = {tile: [s.name for s in chosen if geometry.parse_tile(tile)[0] in s.tile_columns] for tile in tiles}
    for tile, names in seen_by.items():
        if not names:
            raise InputError(f"none of {', '.join(s.name for s in chosen)} sees tile {tile}; choose another")
        for name in names:
            _check_visible(get_satellite(name), tile)
    times = choose_times(tiles, times, seed) if isinstance(times, int) else times
    return [(names, tile, time) for time in times for tile, names in seen_by.items()]


def simulate_archive(
    output: str | os.PathLike,
    satellites: Sequence[str] = ("G16", "G17", "H8"),
    tiles: int | Sequence[str] = 4,
    times: int | Sequence[datetime] = 6,
    seed: int = 0,
    *,
    workers: int = 1,
) -> list[Path]:
    """Writes an archive of simulated L1G files in GeoNEX' layout.

    Args:
      output: its root; folders are made.
      satellites: names. A tile is written for all of them that see it, so that their files coincide.
      tiles: how many in all (at least one for each group of satellites that overlap), or their names.
      times: how many, each on a day of its own, or the moments (UTC, without a time zone).
      seed: the same seed gives the same files.
      workers: processes that work side by side.

    Returns:
      The files' paths, sorted.

    Raises:
      InputError: what was asked for cannot be simulated or written.
    """
    if seed < 0:
        raise InputError(f"the seed must not be negative; it is {seed}")
    if workers < 1:
        raise InputError(f"{workers} processes cannot simulate anything; ask for at least 1")
    plan = _plan(satellites, tiles, times, seed)
    try:  # before the first scene, which takes seconds
        Path(output).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder '{output}': {error.strerror}; choose another --output") from error
    paths: list[Path] = []
    with ExitStack() as stack:
        progress = stack.enter_context(
            tqdm(total=sum(len(names) for names, _, _ in plan), desc="simulate", unit="file", disable=None)
        )
        if workers == 1:
            finished = (_simulate_moment(str(output), *item, seed) for item in plan)
        else:
            context = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(workers, mp_context=context))
            stack.callback(pool.shutdown, cancel_futures=True)
            futures = [pool.submit(_simulate_moment, str(output), *item, seed) for item in plan]
            finished = (future.result() for future in as_completed(futures))
        for written in finished:
            paths += written
            progress.update(len(written))
    return sorted(paths)


def main(argv: list[str]) -> None:
    """The verb `simulate`."""
    parser = CommandParser(
        prog="satxlate simulate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=user_path, required=True, metavar="DIR", help="root of the archive to write")
    parser.add_argument("--satellites", default="G16,G17,H8", help="names, separated by commas (default %(default)s)")
    parser.add_argument(
        "--tiles",
        type=int,
        default=4,
        metavar="N",
        help="tiles in all, shared out to groups of satellites that overlap, at least one each (default %(default)s)",
    )
    parser.add_argument(
        "--times", type=int, default=6, metavar="N", help="moments, each on its own day (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed is another planet (default %(default)s)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default %(default)s)")
    options = parser.parse_args(argv)
    satellites = parse_names(options.satellites)
    paths = simulate_archive(
        options.output, satellites, options.tiles, options.times, options.seed, workers=options.workers
    )
    print(f"wrote {len(paths)} L1G files of {', '.join(satellites)} under {options.output}")
