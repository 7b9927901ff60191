"""Simulated L1G files: the same scenes as several satellites see them, for the demo, for tests and as paired truth.

A test bed, not a radiative-transfer model: it invents geography and weather and gives each band what distinguishes it
(wavelength through Planck's law, absorbing gases, reflecting surfaces, cloud phase and height, sun and view, parallax,
noise) in the simplest form. Relations between bands are plausible; no number is a forecast or a retrieval. The modules
of `satxlate_jax.simulator` name their sources.
"""

import argparse
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from tqdm import tqdm

from satxlate_jax import geometry
from satxlate_jax.archive import catalog
from satxlate_jax.cli import InputError
from satxlate_jax.instruments import Satellite, get_satellite
from satxlate_jax.l1g.isolation import Failure, IsolatedCalls
from satxlate_jax.l1g.reader import write_tile
from satxlate_jax.simulator import measurements
from satxlate_jax.simulator.scene import Scene, build_scene, build_view
from satxlate_jax.simulator.viewing_geometry import PIXELS, view_position

_LARGEST_VIEW_ZENITH = 66.0  # degrees, of a tile's centre; slanter views are nearly useless
# Days to choose from: the paper's test period, which data sets keep for testing, and the rest, which they do not.
_FIRST_TEST_DAY, _TEST_DAYS = datetime(2019, 2, 1), 22
_FIRST_OTHER_DAY, _OTHER_DAYS = datetime(2019, 3, 1), 672
_SECONDS, _MEMORY = 3600.0, 8 * 1024**3  # of one scene, as all satellites see it
_A_YEAR = 337  # of the other days; what comes later is only used where these do not suffice
_TEST_SHARE = 0.08
# Local solar hours and how far around them: mostly near noon, some night, morning or evening twilight.
_HOURS = ((12, 1.6), (12, 1.6), (12, 1.6), (1, 2.5), (12, 1.6), (17.8, 0.8), (12, 1.6), (12, 1.6), (23, 2), (6.2, 0.8))


def overlapping_groups(satellites: Sequence[Satellite]) -> list[tuple[list[Satellite], list[int]]]:
    """The largest groups of satellites that see the same tile columns, and the columns (h) that all of a group see."""
    seen_by = {h: frozenset(s.name for s in satellites if h in s.tile_columns) for h in range(geometry.COLUMNS)}
    groups = sorted({group for group in seen_by.values() if group}, key=lambda group: (-len(group), sorted(group)))
    return [
        ([s for s in satellites if s.name in group], [h for h, seen in seen_by.items() if seen == group])
        for group in groups
        if not any(group < other for other in groups)
    ]


def _draw_from_parts(length: int, parts: int, random: np.random.Generator) -> list[int]:
    edges = np.linspace(0, length, parts + 1).astype(int)
    return [int(random.integers(low, high)) for low, high in zip(edges[:-1], edges[1:], strict=True)]


def choose_tiles(satellites: Sequence[Satellite], count: int, seed: int) -> list[str]:
    """Tiles in all latitudes that as many satellites as possible see together, sorted; InputError where too few are.

    They are dealt evenly to the groups of satellites that overlap; every group gets at least one.
    """
    if count < 1:
        raise InputError(f"{count} tiles cannot be simulated; ask for at least 1")
    groups = overlapping_groups(satellites)
    random = np.random.default_rng([seed, 1])
    chosen: list[str] = []
    for number, (group, columns) in enumerate(groups):
        share = max(1, count // len(groups) + (number < count % len(groups)))
        tiles = [f"h{h:02d}v{v:02d}" for v in range(geometry.ROWS) for h in columns]
        latitude, longitude = np.array([[axis[0] for axis in geometry.tile_grid(tile, 1)] for tile in tiles]).T
        slant = np.max([view_position(satellite.longitude, latitude, longitude)[0] for satellite in group], axis=0)
        tiles = [tile for tile, zenith in zip(tiles, slant, strict=True) if zenith <= _LARGEST_VIEW_ZENITH]
        if share > len(tiles):
            names = " and ".join(satellite.name for satellite in group)
            raise InputError(f"{names} see only {len(tiles)} tiles well together; {share} are too many for them")
        chosen += [tiles[index] for index in _draw_from_parts(len(tiles), share, random)]  # from north to south
    return sorted(chosen)


def _choose_days(count: int, random: np.random.Generator) -> list[datetime]:
    test = max(1, round(_TEST_SHARE * count)) if count > 1 else 0
    other = count - min(test, _TEST_DAYS)
    if other > _OTHER_DAYS:
        raise InputError(f"at most {_OTHER_DAYS + _TEST_DAYS} times can be simulated, each on its own day; not {count}")
    days = []
    for first, length, number in (
        (_FIRST_TEST_DAY, _TEST_DAYS, count - other),
        (_FIRST_OTHER_DAY, _A_YEAR if other <= _A_YEAR else _OTHER_DAYS, other),
    ):
        steps = _draw_from_parts(length, number, random)
        days += [first + timedelta(days=int(step)) for step in random.permutation(steps)]
    return days


def choose_times(tiles: Sequence[str], count: int, seed: int, minutes_apart: int | None = None) -> list[datetime]:
    """Times (UTC, to ten minutes, sorted) on as many different days of all seasons; InputError if there are too few.

    Most are near local noon of the tiles' mean longitude, some in the night and in twilight. Data sets are split by
    day, so one time in twelve, at least one of two, falls into the paper's test period (2019, days 32 to 53), the first
    of them near noon; the others fall outside it. With `minutes_apart` they follow each other from that one on.
    """
    if count < 1 or (minutes_apart is not None and minutes_apart < 1):
        what = f"{count} times" if count < 1 else f"times {minutes_apart} minutes apart"
        raise InputError(f"{what} cannot be simulated; ask for at least 1")
    if minutes_apart:
        first = choose_times(tiles, 2, seed)[0]
        return [first + timedelta(minutes=minutes_apart * number) for number in range(count)]
    random = np.random.default_rng([seed, 2])
    centres = np.radians([-180 + geometry.TILE_DEGREES * (geometry.parse_tile(tile)[0] + 0.5) for tile in tiles])
    longitude = np.degrees(np.arctan2(np.sin(centres).mean(), np.cos(centres).mean()))
    times = []
    for number, day in enumerate(_choose_days(count, random)):
        hour, around = _HOURS[number % len(_HOURS)]
        utc = (hour + random.uniform(-around, around) - longitude / 15) % 24
        times.append(day + timedelta(minutes=10 * int(utc * 6)))
    return sorted(times)


def _observe(scene: Scene, satellite: Satellite, viewpoint: str | None, resolution_km: float | None) -> xr.Dataset:
    """The scene as the instrument measures it, each band at its native resolution or finer, if `resolution_km` is."""
    view = build_view(scene, get_satellite(viewpoint) if viewpoint else satellite)
    reflective: dict[int, measurements.ReflectiveBands] = {}
    sun_height = np.cos(np.radians(scene.sun[0]))
    seeds = (scene.window.seed, *geometry.parse_tile(scene.tile), int(np.datetime64(scene.time, "m").astype(int)))
    arrays = {"solar_zenith": scene.sun[0], "solar_azimuth": scene.sun[1]}
    for band in satellite.bands:
        random = np.random.default_rng((*seeds, *satellite.name.encode(), band.number))  # noise is each band's own
        if band.kind == "brightness_temperature":
            temperature = measurements.thermal_temperature(scene, view, band)
            arrays[band.name] = measurements.add_temperature_noise(temperature, band, random)
            continue
        pixels = geometry.pixels_of(min(band.native_resolution_km, resolution_km or band.native_resolution_km))
        if pixels not in reflective:
            reflective[pixels] = measurements.ReflectiveBands(scene, view, pixels)
        height = sun_height.repeat(pixels // PIXELS, axis=0).repeat(pixels // PIXELS, axis=1)
        reflectance = reflective[pixels].reflectance(band)
        arrays[band.name] = measurements.add_reflectance_noise(reflectance, height, band, random)
    variables = {name: ((f"lat_{len(values)}", f"lon_{len(values)}"), values) for name, values in arrays.items()}
    place = {"viewpoint": viewpoint} if viewpoint else {}
    return xr.Dataset(variables, attrs={"satellite": satellite.name, "tile": scene.tile} | place)


def simulate_scene(
    output: str | os.PathLike,
    satellites: Sequence[str],
    tile: str,
    time: datetime,
    seed: int,
    viewpoint: str | None = None,
    resolution_km: float | None = None,
) -> list[Path]:
    """Writes a file for each of some satellites that see the tile, at a time in UTC; returns the paths.

    The same seed, tile and time are the same scene for every satellite; noise is each one's own. With a `viewpoint`
    their instruments look from that satellite's place. With `resolution_km` reflective bands are no coarser than that.
    """
    scene = build_scene(tile, time, seed)
    paths = [Path(output, catalog.relative_path(name, tile, time)) for name in satellites]
    for name, path in zip(satellites, paths, strict=True):
        write_tile(_observe(scene, get_satellite(name), viewpoint, resolution_km), path)
    return paths


def _simulate(output: str, scene: tuple[list[str], str, datetime], **options: Any) -> list[Path]:
    return simulate_scene(output, *scene, **options)


def _plan_scenes(
    satellites: Sequence[str],
    tiles: int,
    times: int,
    seed: int,
    days: Sequence[int] | None,
    viewpoint: str | None,
    minutes_apart: int | None,
) -> list[tuple[list[str], str, datetime]]:
    """The scenes of `simulate_archive`: satellites whose files are written, tile and time."""
    names = [*satellites, viewpoint] if viewpoint else satellites
    chosen = [*{satellite.name: satellite for satellite in map(get_satellite, names)}.values()]
    seen_by = {
        tile: [s.name for s in chosen if geometry.parse_tile(tile)[0] in s.tile_columns]
        for tile in choose_tiles(chosen, tiles, seed)
    }
    chosen_times = choose_times([*seen_by], times, seed, minutes_apart)
    written_times = [time for time in chosen_times if days is None or time.timetuple().tm_yday in days]
    if viewpoint and len(chosen) == 1:
        raise InputError(f"--viewpoint {viewpoint} needs another satellite, whose instrument to put there; name it")
    if viewpoint:
        others = [satellite.name for satellite in chosen if satellite.name != viewpoint]
        seen_by = {tile: others for tile, seen in seen_by.items() if viewpoint in seen}
    plan = [(seen, tile, time) for time in written_times for tile, seen in seen_by.items()]
    if not plan:
        on = ", ".join(f"{time:%Y-%j}" for time in chosen_times)
        raise InputError(f"none of the times is on these --days; they are on {on} (year, day of the year)")
    return plan


def simulate_archive(
    output: str | os.PathLike,
    satellites: Sequence[str] = ("G16", "G17", "H8"),
    tiles: int = 4,
    times: int = 6,
    seed: int = 0,
    *,
    workers: int = 1,
    days: Sequence[int] | None = None,
    viewpoint: str | None = None,
    minutes_apart: int | None = None,
    resolution_km: float | None = None,
) -> list[Path]:
    """Writes an archive of simulated L1G files in GeoNEX' layout; returns their paths, sorted.

    A tile is written for all satellites that see it, so that their files coincide. `tiles` and `times` are numbers:
    each group of satellites that overlap has at least one tile, each time is on a day of its own, unless they are
    `minutes_apart`. Only those on some `days` of the year are written. With a `viewpoint`, which counts as one of the
    satellites when tiles and times are chosen, the files are of all others in its place, for the tiles that it sees.
    InputError where such files cannot be simulated or written.
    """
    if seed < 0:
        raise InputError(f"the seed must not be negative; it is {seed}")
    if workers < 1:
        raise InputError(f"{workers} processes cannot simulate anything; ask for at least 1")
    viewpoint = viewpoint and get_satellite(viewpoint).name
    plan = _plan_scenes(satellites, tiles, times, seed, days, viewpoint, minutes_apart)
    try:  # before the first scene, which takes seconds
        Path(output).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder '{output}': {error.strerror}; choose another --output") from error
    simulate = partial(_simulate, str(output), seed=seed, viewpoint=viewpoint, resolution_km=resolution_km)
    paths: list[Path] = []
    files = sum(len(seen) for seen, _, _ in plan)
    with (
        tqdm(total=files, desc="simulate", unit="file", disable=None) as progress,
        IsolatedCalls(simulate, workers=workers, timeout=_SECONDS, memory=_MEMORY) as calls,
    ):
        finished = calls.map(plan) if workers > 1 else ((scene, simulate(scene)) for scene in plan)
        for (_, tile, time), written in finished:
            if isinstance(written, Failure):
                raise written.as_error(f"{tile} {time:%Y-%m-%d %H:%M}")
            paths += written
            progress.update(len(written))
    return sorted(paths)


def main(options: argparse.Namespace) -> None:
    """Run the subcommand `simulate`."""
    arguments = dict(vars(options))
    del arguments["words"]  # as they were typed
    paths = simulate_archive(**arguments)
    names = [name for name in options.satellites if name != options.viewpoint]
    place = f" in the place of {options.viewpoint}" if options.viewpoint else ""
    print(f"wrote {len(paths)} L1G files of {', '.join(names)}{place} under {options.output}")
