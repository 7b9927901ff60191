"""A tile as an xarray.Dataset in physical units: how it is laid out and described, and whether it can be written.

float32 variables BAND01 .. on (lat, lon), `solar_zenith` and `solar_azimuth` in degrees, coordinates lat (north to
south), lon and the scalar time, attributes satellite, tile, platform_name and sensor.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import xarray as xr

from satxlate_jax import geometry
from satxlate_jax.archive.catalog import TileFile, file_name, parse_name
from satxlate_jax.cli import InputError
from satxlate_jax.instruments import Band, get_satellite

ANGLES = ("solar_zenith", "solar_azimuth")


def band_attributes(satellite: str, band: Band) -> dict[str, Any]:
    """The attributes of a band's variable, as CF and satpy name them; wavelength in um, valid range in the unit."""
    instrument = get_satellite(satellite).instrument
    quantity = f"top-of-atmosphere {band.kind.replace('_', ' ')}"
    return {
        "units": band.unit,
        "standard_name": band.standard_name,
        "long_name": f"{satellite} {instrument} band {band.number} ({band.wavelength:g} um) {quantity}",
        "wavelength": band.wavelength,
        "wavelength_units": "um",
        "valid_range": list(band.valid_range),
        **get_satellite(satellite).platform,
    }


def make_tile(
    satellite: str, tile: str, time: datetime, bands: Iterable[Band], arrays: Mapping[str, np.ndarray], size: int
) -> xr.Dataset:
    """Makes a tile of arrays, float32 [size, size] by variable name: bands in their units, solar angles in degrees.

    A band without an array is missing (NaN) everywhere; the time is UTC, without a time zone.
    """
    variables: dict[str, tuple] = {}
    for band in bands:
        values = arrays[band.name] if band.name in arrays else np.full((size, size), np.nan, np.float32)
        variables[band.name] = (("lat", "lon"), values, band_attributes(satellite, band))
    for name in ANGLES:
        if name in arrays:
            description = {"units": "degree", "standard_name": f"{name}_angle"}
            variables[name] = (("lat", "lon"), arrays[name], description)
    latitude, longitude = geometry.tile_grid(tile, size)
    coordinates = {
        "lat": ("lat", latitude, {"units": "degrees_north", "standard_name": "latitude"}),
        "lon": ("lon", longitude, {"units": "degrees_east", "standard_name": "longitude"}),
        "time": ((), np.datetime64(time, "ns"), {"standard_name": "time"}),
    }
    return xr.Dataset(
        variables, coordinates, {"satellite": satellite, "tile": tile} | get_satellite(satellite).platform
    )


def solar_zenith(tile: xr.Dataset) -> np.ndarray | None:
    """A tile's solar zenith angle [h, w], degrees: its own where it has one, computed from time and place elsewhere.

    It is `solar_zenith` (lat, lon), NaN where missing; lat and lon are those of rows and columns, or both of pixels.
    None where the tile says neither.
    """
    own = tile["solar_zenith"].values if "solar_zenith" in tile else None
    if own is not None and np.isfinite(own).all():
        return own
    if not {"lat", "lon", "time"} <= set(tile.coords) or tile["time"].ndim:
        return own
    latitude, longitude = tile["lat"].values, tile["lon"].values
    if latitude.ndim == 1:
        latitude, longitude = latitude[:, None], longitude[None]
    computed, _ = geometry.solar_position(tile["time"].values, latitude, longitude)
    return computed if own is None else np.where(np.isfinite(own), own, computed)


def identify(dataset: xr.Dataset, name: str) -> TileFile:
    """The file that a tile is to be written to, by its satellite, tile and time, and the file's name.

    InputError where the two contradict each other, or neither says.
    """
    named = parse_name(name)
    satellite, tile, time = (named.satellite, named.tile, named.time) if named else (None, None, None)
    if "satellite" in dataset.attrs:
        satellite = get_satellite(str(dataset.attrs["satellite"])).name
    if "tile" in dataset.attrs:
        tile = str(dataset.attrs["tile"])
    if "time" in dataset.variables and dataset["time"].size == 1:
        own = dataset["time"].values.reshape(()).astype("datetime64[m]").item()
        time = own if isinstance(own, datetime) else time
    identity = parse_name(file_name(satellite, tile, time)) if satellite and tile and time else None
    if identity is None:
        raise InputError(f"'{name}' does not name an L1G file, and the dataset lacks its satellite, tile or time")
    if named is not None and (named.satellite, named.tile, named.time) != (satellite, tile, time):
        raise InputError(
            f"the dataset is {satellite} {tile} {time:%Y-%m-%d %H:%M}, which the file's name '{name}' contradicts"
        )
    return identity


def check_tile(dataset: xr.Dataset, identity: TileFile, sizes: Sequence[int]) -> list[Band]:
    """Checks that bands (of one of those sizes) and angles of a tile can be written; returns the bands it has.

    InputError where a variable lies on another grid (north up, west left) or is in another unit.
    """
    bands = [band for band in get_satellite(identity.satellite).bands if band.name in dataset]
    for name, unit in [(band.name, band.unit) for band in bands] + [(name, "") for name in ANGLES if name in dataset]:
        variable = dataset[name]
        size = variable.shape[0] if variable.ndim else 0
        if variable.shape != (size, size):
            raise InputError(f"{name} is {' x '.join(map(str, variable.shape))}; a tile is square")
        if unit and variable.attrs.get("units", unit) != unit:
            raise InputError(f"{name} is in '{variable.attrs['units']}'; an L1G file holds it in '{unit}'")
        for dimension, expected in zip(variable.dims, geometry.tile_grid(identity.tile, size), strict=True):
            centres = dataset[dimension].values if dimension in dataset.coords else expected
            if not np.allclose(centres, expected, rtol=0, atol=0.25 * geometry.TILE_DEGREES / size):
                raise InputError(
                    f"{name} is not on the grid of tile {identity.tile}: its {dimension} begins with {centres[0]}"
                )
        if unit and size not in sizes:
            allowed = f"{', '.join(map(str, sizes[:-1]))} or {sizes[-1]}"
            raise InputError(f"{name} has {size} pixels a side; L1G has {allowed}")
    return bands
