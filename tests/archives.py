"""Small valid archives of L1G files for the tests: smooth scenes that compress to a few kilobytes."""

import sys
import warnings
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import xarray as xr

from satxlate_jax.archive.catalog import relative_path
from satxlate_jax.dataset.records import MISSING, scale_and_offset
from satxlate_jax.geometry import tile_grid
from satxlate_jax.instruments import Band, get_satellite
from satxlate_jax.l1g.reader import write_tile

SIZE = 300


def smooth_tile(satellite: str, tile: str, time: datetime, bands: Iterable[int], seed: int = 0) -> xr.Dataset:
    """A tile whose bands are planes, each with a level and slopes of its own."""
    random = np.random.default_rng([seed, *satellite.encode(), *tile.encode(), int(time.timestamp())])
    latitude, longitude = tile_grid(tile, SIZE)
    variables = {}
    for number in bands:
        band = get_satellite(satellite).band(number)
        step = 0.01 if band.unit == "K" else 1e-4
        base = (250.0 if band.unit == "K" else 0.3) + step * random.integers(-1000, 1000)
        rows, columns = (step * random.integers(-3, 4) * np.arange(SIZE) for _ in range(2))
        values = (base + rows[:, None] + columns).astype(np.float32)
        variables[band.name] = (("lat", "lon"), values, {"units": band.unit})
    variables["solar_zenith"] = (("lat", "lon"), np.full((SIZE, SIZE), 40, np.float32), {"units": "degree"})
    coordinates = {"lat": latitude, "lon": longitude, "time": np.datetime64(time, "ns")}
    return xr.Dataset(variables, coordinates, {"satellite": satellite, "tile": tile})


def write_archive(
    root: Path, satellites: Mapping[str, Sequence[int]], tiles: Iterable[str], times: Sequence[datetime]
) -> list[Path]:
    """Writes one smooth file per satellite (with the bands given), tile and time; returns their paths."""
    paths = []
    for satellite, bands in satellites.items():
        for tile in tiles:
            for time in times:
                path = root / relative_path(satellite, tile, time)
                write_tile(smooth_tile(satellite, tile, time, bands), path)
                paths.append(path)
    return paths


def dequantize(packed: np.ndarray, bands: Sequence[Band]) -> np.ndarray:
    """Physical values of a data set's packed ones [..., band], float64, NaN where missing."""
    scale, offset = scale_and_offset(bands)
    return np.where(packed == MISSING, np.nan, packed * scale + offset)


def make_deadly(path: Path) -> Path:
    """Alters a file so that reading it ends the process inside the HDF4 library: it overruns its stack.

    A dimension claims to have not one value but 39,169 (the order of the field, before its name's length and name).
    """
    content = path.read_bytes()
    field = b"\x00\x01\x00\x06Values"
    assert field in content
    path.write_bytes(content.replace(field, b"\x99\x01" + field[2:]))
    return path


def compressed_streams(content: bytes) -> list[tuple[int, int]]:
    """Begin and end of each deflated data set in a file's bytes, in the order of writing: bands, then solar angles."""
    streams, place = [], content.find(b"\x78")
    while place >= 0:
        stream = zlib.decompressobj()
        try:
            stream.decompress(content[place:])
            if stream.eof:
                streams.append((place, len(content) - len(stream.unused_data)))
        except zlib.error:
            pass
        place = content.find(b"\x78", max(place + 1, streams[-1][1] if streams else 0))
    return streams


def build_data_set(
    root: Path,
    data_dir: Path,
    name: str,
    *,
    num_shards: int | None = None,
    file_format: str | None = None,
    overwrite: bool = False,
    **options,
) -> Path:
    """Builds a data set in this process as `tfds build` does; returns its folder. Without options a built-in one."""
    import tensorflow_datasets as tfds

    datasets = str(Path(__file__).parent.parent / "datasets")
    if datasets not in sys.path:
        sys.path.insert(0, datasets)
    from geonex_l1g import geonex_l1g_dataset_builder as module

    with warnings.catch_warnings():  # tfds asks protobuf for something that protobuf will rename
        warnings.simplefilter("ignore", DeprecationWarning)
        config = module.GeonexL1gConfig(name, **options) if options else name
        builder = module.Builder(config=config, data_dir=data_dir, file_format=file_format)
        download = tfds.download.DownloadConfig(manual_dir=root, num_shards=num_shards)
        if overwrite:
            download.download_mode = tfds.download.GenerateMode.REUSE_CACHE_IF_EXISTS
        builder.download_and_prepare(download_config=download)
    return Path(builder.data_dir)
