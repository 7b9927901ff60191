"""A satpy Scene onto a GeoNEX tile.

Each band is interpolated bilinearly from the sensor's own grid, whose projection its file states, to the centres of the
pixels of the tile at the band's own resolution. Reflectance is divided by the cosine of the solar zenith angle at each
row's own time. Neither relief nor residual navigation is corrected.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import scipy  # its parts are imported on first use
import xarray as xr

from satxlate_jax import geometry
from satxlate_jax.cli import InputError, one_line
from satxlate_jax.instruments import Satellite
from satxlate_jax.l1g.resampling import resample, resample_angle
from satxlate_jax.l1g.tile import ANGLES, make_tile
from satxlate_jax.sources.scene import row_times, scene_bands, single_threaded_dask, to_reflectance


@dataclass
class GriddedScan:
    """Bands of a scan on one tile, each at its own resolution."""

    satellite: Satellite
    time: datetime  # of the scan's start
    arrays: dict[str, np.ndarray]  # float32 [n, n] by the band's name, NaN where missing; n is 300, 600 or 1200
    angles: dict[str, np.ndarray]  # solar_zenith and solar_azimuth at each row's time, degrees, float32 [300, 300]
    faults: dict[str, str]  # the reason why a band could not be read, by its name

    @property
    def cover(self) -> float:
        """The part of the tile's pixels that the best band has."""
        return max((float(np.isfinite(array).mean()) for array in self.arrays.values()), default=0.0)


def _place(array: Any, tile: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column, float64 [size, size], of a tile's pixels in an array; NaN out of view."""
    latitude, longitude = geometry.tile_grid(tile, size)
    longitude, latitude = np.meshgrid(longitude, latitude)
    columns, rows = array.attrs["area"].get_array_coordinates_from_lonlat(longitude, latitude)
    unseen = ~(np.isfinite(columns) & np.isfinite(rows))
    return np.where(unseen, np.nan, rows), np.where(unseen, np.nan, columns)


def estimate_cover(array: Any, tile: str) -> float:
    """The part of a tile that lies in an array's area, from few pixels."""
    return float(_is_inside(array, *_place(array, tile, 30)).mean())


def _is_inside(array: Any, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return (rows >= 0) & (rows <= array.shape[0] - 1) & (columns >= 0) & (columns <= array.shape[1] - 1)


def interpolate(array: Any, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Bilinear interpolation of a (lazy) array at rows and columns; of it only what is needed is computed."""
    inside = _is_inside(array, rows, columns)
    if not inside.any():
        return np.full(rows.shape, np.nan, np.float32)
    top, left = int(rows[inside].min()), int(columns[inside].min())
    window = array[top : int(rows[inside].max()) + 2, left : int(columns[inside].max()) + 2]
    with single_threaded_dask():
        values = np.asarray(window.data, np.float32)
    places = np.where(inside, rows - top, -9), np.where(inside, columns - left, -9)
    return scipy.ndimage.map_coordinates(values, places, order=1, mode="constant", cval=np.nan, prefilter=False)


def grid_scan(
    scene: Any, tile: str, *, bands: Iterable[int] | None = None, night: Literal["zero", "missing"] = "zero"
) -> GriddedScan:
    """Put a Scene's loaded bands (1-based; default all) on one tile, each at its own resolution.

    In a Scene of satpy's own flagged pixels are not missing, and rows have one time. `night` is what reflectance is
    where the sun is lower than 5 degrees. InputError where no band of one known satellite is there, or there is no such
    tile.
    """
    satellite, found = scene_bands(scene)
    wanted = found if bands is None else {number: found[number] for number in found if number in {*bands}}
    first = next(iter(found.values()))
    size = geometry.PIXELS[2.0]
    rows, _ = _place(first, tile, size)
    area = first.attrs["area"]
    y = area.area_extent[3] - (np.nan_to_num(rows) + 0.5) * area.pixel_size_y
    latitude, longitude = geometry.tile_grid(tile, size)
    angles = geometry.solar_position(row_times(first, y), latitude[:, None], longitude[None])
    arrays, faults = {}, {}
    for number, array in wanted.items():
        band, metres = satellite.band(number), abs(array.attrs["area"].pixel_size_x)
        size = geometry.PIXELS[geometry.nearest_resolution(metres / 1000)]
        try:
            values = interpolate(array, *_place(array, tile, size))
        except Exception as error:  # a damaged granule: satpy raises whatever its libraries do
            faults[band.name] = f"cannot be read ({one_line(error)[:200]}); fetch it again"
            continue
        if band.kind == "reflectance":
            zenith = resample_angle(angles[0].astype(float), size, is_circular=False)
            values = to_reflectance(values, array.attrs, zenith, night)
        arrays[band.name] = values
    start = min(array.attrs["start_time"] for array in found.values())
    return GriddedScan(satellite, start, arrays, dict(zip(ANGLES, angles, strict=True)), faults)


def grid_tile(
    scene: Any, tile: str, *, bands: Iterable[int] | None = None, night: Literal["zero", "missing"] = "zero"
) -> xr.Dataset:
    """A Scene's loaded bands on one tile of 2 km, as `read_tile` gives it; finer bands are averaged over valid parts.

    Args:
      scene: of `read_scene`, or of satpy; then flagged pixels are not missing, and rows have one time.
      tile: such as 'h09v03'.
      bands: 1-based; default all that are loaded.
      night: what reflectance is where the sun is lower than 5 degrees.

    Raises:
      InputError: the Scene holds no band of one known satellite or cannot be read, or there is no such tile.
    """
    gridded, size = grid_scan(scene, tile, bands=bands, night=night), geometry.PIXELS[2.0]
    if gridded.faults:
        raise InputError("; ".join(f"{name} {fault}" for name, fault in gridded.faults.items()))
    arrays = dict(gridded.angles)
    for name, values in gridded.arrays.items():
        arrays[name] = resample(np.nan_to_num(values), np.isnan(values), size, "area")
    made = [band for band in gridded.satellite.bands if band.name in arrays]
    time = gridded.time.replace(second=0, microsecond=0)
    return make_tile(gridded.satellite.name, tile, time, made, arrays, size)
