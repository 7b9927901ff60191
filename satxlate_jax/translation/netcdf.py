"""A translated tile <-> one CF-1.8 netCDF file, packed to the instrument's precision and compressed.

Source: NetCDF Climate and Forecast Metadata Conventions 1.8, sections 3.5 (flags), 5.6 (grid mapping), 8.1 (packing).
"""

import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from satxlate_jax import __version__, atomic
from satxlate_jax.instruments import SATELLITES

# unit -> (step, value of code 0): 1e-4 reflectance and 0.01 K as in the L1G files; int16 then reaches from -3.27 to
# 3.27 and from -54 K to 600 K, beyond every valid range.
PACKING = {"1": (1e-4, 0.0), "K": (0.01, 273.15)}
FILL = -32768
_COMPRESSION = {"zlib": True, "complevel": 4, "shuffle": True}
_WGS84 = (
    'GEODCRS["WGS 84",DATUM["World Geodetic System 1984",ELLIPSOID["WGS 84",6378137,298.257223563,'
    'LENGTHUNIT["metre",1]]],PRIMEM["Greenwich",0,ANGLEUNIT["degree",0.0174532925199433]],CS[ellipsoidal,2],'
    'AXIS["geodetic latitude (Lat)",north,ORDER[1],ANGLEUNIT["degree",0.0174532925199433]],'
    'AXIS["geodetic longitude (Lon)",east,ORDER[2],ANGLEUNIT["degree",0.0174532925199433]],ID["EPSG",4326]]'
)  # so that tools name it EPSG:4326; from the parameters alone they do not
_CHUNK = 300  # pixels along a side of a chunk: a 2 km tile is one


def write_tile_netcdf(
    tile: xr.Dataset,
    path: str | Path,
    *,
    facts: Mapping[str, Any] | None = None,
    command: str = "",
    options: str = "",
) -> None:
    """Writes a translated tile under a temporary name in the same folder, then renames it.

    What a killed process left under the temporary name is overwritten; two processes must not write the same file.

    Args:
      tile: as `TileTranslator.translate` gives it.
      path: of the file to make; its folder exists.
      facts: of the checkpoint; its configuration is kept in the file as JSON.
      command: what made it, for the history.
      options: that the numbers depend on, in any form; a file made with others is not complete.

    Raises:
      InputError: the file cannot be written.
    """
    path = Path(path)
    described = describe_tile(tile, facts or {}, command)
    if options:
        described.attrs["translate_options"] = options
    with atomic.replacing(path) as temporary:
        try:
            described.to_netcdf(temporary, engine="netcdf4", format="NETCDF4", encoding=_encoding(described))
        except RuntimeError as error:  # a full disk in the words of the netCDF library
            raise OSError(str(error)) from error


def describe_tile(tile: xr.Dataset, facts: Mapping[str, Any], command: str) -> xr.Dataset:
    """A tile with everything CF asks for: coordinates' attributes, grid mapping, global attributes."""
    described = tile.copy()
    described["lat"].attrs = {
        "standard_name": "latitude",
        "long_name": "latitude",
        "units": "degrees_north",
        "axis": "Y",
    }
    described["lon"].attrs = {
        "standard_name": "longitude",
        "long_name": "longitude",
        "units": "degrees_east",
        "axis": "X",
    }
    if "time" in described.coords:
        described["time"].attrs = {"standard_name": "time", "long_name": "time of observation", "axis": "T"}
    for variable in described.data_vars.values():
        variable.attrs["grid_mapping"] = "crs"
        if "valid_range" in variable.attrs:  # CF: in packed units, of the packed type
            step, offset = PACKING[variable.attrs["units"]]
            limits = np.rint((np.asarray(variable.attrs["valid_range"], np.float64) - offset) / step)
            variable.attrs["valid_range"] = limits.astype(np.int16)
    described["crs"] = xr.Variable((), np.int32(0), _grid_mapping())
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    target = tile.attrs.get("satellite", "")
    instrument = SATELLITES[target].instrument if target in SATELLITES else ""
    described.attrs = {
        "Conventions": "CF-1.8",
        "title": f"{target} {instrument} bands synthesised from {tile.attrs.get('source_satellite', '')} observations",
        "source": f"satellite-to-satellite translation of {tile.attrs.get('source', '')}",
        "history": f"{now} satxlate_jax {__version__}" + (f": {command}" if command else ""),
        "references": "Vandal et al., IEEE TGRS 2021, arXiv 2010.06045",
        "comment": "Synthesised values, not measurements; `quality` says where they are missing or limited.",
        "satellite": target,
        "instrument": instrument,
        "tile": tile.attrs.get("tile", ""),
        "source_satellite": tile.attrs.get("source_satellite", ""),
        "source_file": tile.attrs.get("source", ""),
        "checkpoint_run": tile.attrs.get("checkpoint_run", ""),
        "checkpoint_step": np.int64(tile.attrs.get("checkpoint_step", -1)),
        "satxlate_version": __version__,
    }
    for name in ("config", "satellites", "versions"):
        if name in facts:
            described.attrs[f"checkpoint_{name}"] = json.dumps(facts[name])
    return described


def _grid_mapping() -> dict[str, Any]:
    return {
        "grid_mapping_name": "latitude_longitude",
        "long_name": "GeoNEX common grid, geographic coordinates on WGS 84",
        "semi_major_axis": 6378137.0,
        "inverse_flattening": 298.257223563,
        "longitude_of_prime_meridian": 0.0,
        "prime_meridian_name": "Greenwich",
        "reference_ellipsoid_name": "WGS 84",
        "horizontal_datum_name": "WGS_1984",
        "geographic_crs_name": "WGS 84",
        "crs_wkt": _WGS84,
    }


def _encoding(tile: xr.Dataset) -> dict[str, dict[str, Any]]:
    encoding: dict[str, dict[str, Any]] = {name: {"_FillValue": None} for name in ("lat", "lon")}
    if "time" in tile.coords:
        encoding["time"] = {"units": "seconds since 1970-01-01 00:00:00", "calendar": "standard", "dtype": "float64"}
    chunks = tuple(min(_CHUNK, size) for size in (tile.sizes["lat"], tile.sizes["lon"]))
    for name, variable in tile.data_vars.items():
        if variable.dims[-2:] != ("lat", "lon"):
            continue
        encoding[str(name)] = {**_COMPRESSION, "chunksizes": (1,) * (variable.ndim - 2) + chunks}
        if np.issubdtype(variable.dtype, np.floating):
            step, offset = PACKING[variable.attrs["units"]]
            encoding[str(name)] |= {"dtype": "int16", "scale_factor": step, "add_offset": offset, "_FillValue": FILL}
    return encoding


def is_complete(
    path: str | Path, run: str, step: int, source: str, names: Collection[str] = (), options: str = ""
) -> bool:
    """Whether a file is a finished translation of that source by that checkpoint.

    Files get their name only when complete, so this asks whether it is the right one.

    Args:
      path: of the file.
      run: name of the run.
      step: of its checkpoint.
      source: name of the input file.
      names: of variables that it must hold.
      options: that it must have been made with.
    """
    path = Path(path)
    if not path.is_file():
        return False
    try:
        with xr.open_dataset(path, engine="netcdf4", decode_times=False) as tile:
            found, held = tile.attrs, set(tile.data_vars)
    except (OSError, ValueError):
        return False
    made_of = found.get("checkpoint_run"), int(found.get("checkpoint_step", -1)), found.get("source_file")
    made_with = found.get("translate_options", "")
    return made_of == (run, step, source) and made_with == options and set(names) <= held
