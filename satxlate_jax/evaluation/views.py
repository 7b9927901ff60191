"""A tile to draw: an L1G file, or a netCDF that `translate` wrote."""

import warnings
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import xarray as xr

from satxlate_jax.cli import InputError
from satxlate_jax.evaluation.composites import Fields
from satxlate_jax.l1g.file_kinds import HEAD, identify_kind
from satxlate_jax.l1g.reader import MissingBandWarning, read_tile


@dataclass(frozen=True)
class View:
    """A tile to draw.

    Attributes:
      name: of the file, without its ending.
      title: satellite, tile and time, in words.
      satellite: whose bands these are.
      fields: band -> [h, w], NaN where missing.
      lat: [h] degrees north, north to south.
      lon: [w] degrees east.
    """

    name: str
    title: str
    satellite: str
    fields: Fields
    lat: np.ndarray
    lon: np.ndarray


def read_view(path: Path) -> View:
    """Reads an L1G file, or a netCDF that `translate` wrote.

    Raises:
      InputError: it is neither.
    """
    if path.suffix == ".nc":
        try:
            with xr.open_dataset(path, engine="netcdf4") as opened:
                tile = opened.load()
        except (OSError, ValueError) as error:
            raise InputError(f"'{path}' cannot be read as netCDF ({_kind_of(path) or error})") from error
        if "satellite" not in tile.attrs:
            raise InputError(f"'{path}' is not a file that `satxlate translate` wrote: it names no satellite")
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MissingBandWarning)  # what is absent makes no picture
            tile = read_tile(path)
    return as_view(tile, path.stem)


def _kind_of(path: Path) -> str:
    """What a file is that is no netCDF; '' where that is not known."""
    try:
        with path.open("rb") as file:
            kind, _ = identify_kind(file.read(HEAD))
    except OSError:
        return ""
    return f"it is {kind}" if kind and "netCDF" not in kind else ""


def as_view(tile: xr.Dataset, name: str) -> View:
    """A tile, as `read_tile` or a translator gives it, for drawing.

    Args:
      tile: with BANDxx (lat, lon) and the attribute satellite.
      name: for the pictures' files.
    """
    fields = {
        int(key[4:]): tile[key].values
        for key in map(str, tile.data_vars)
        if key.startswith("BAND") and key[4:].isdecimal()
    }
    made_from = tile.attrs.get("source_satellite")
    origin = f" synthesised from {made_from}" if made_from else " observed"
    time = tile["time"].values.astype("datetime64[s]").astype(datetime) if "time" in tile.coords else None
    when = f", {time:%Y-%m-%d %H:%M} UTC" if time else ""
    satellite = tile.attrs["satellite"]
    title = f"{satellite}{origin}, {tile.attrs.get('tile', '')}{when}"
    return View(name, title, satellite, fields, tile["lat"].values, tile["lon"].values)
