"""A translated tile -> one CF-1.8 netCDF file, packed to the instrument's precision and compressed.

Source: NetCDF Climate and Forecast Metadata Conventions 1.8, sections 3.5 (flags), 5.6 (grid mapping), 8.1 (packing).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from satxlate_jax import __version__, atomic
from satxlate_jax.instruments import SATELLITES
from satxlate_jax.l1g.packing import PACKING
from satxlate_jax.translation.flags import EXTRAPOLATED_BANDS
from satxlate_jax.translation.translate import TileTranslator

FILL = -32768  # of int16: CF knows no unsigned integers
CHUNK = 300  # pixels along a side of a chunk: a 2 km tile is one
_COORDINATES = {
    "lat": {"standard_name": "latitude", "long_name": "latitude", "units": "degrees_north", "axis": "Y"},
    "lon": {"standard_name": "longitude", "long_name": "longitude", "units": "degrees_east", "axis": "X"},
    "time": {"standard_name": "time", "long_name": "time of observation", "axis": "T"},
}
TIME = {"units": "seconds since 1970-01-01 00:00:00", "calendar": "standard"}
_GRID_MAPPING = {
    "grid_mapping_name": "latitude_longitude",
    "long_name": "GeoNEX common grid, geographic coordinates on WGS 84",
    "semi_major_axis": 6378137.0,
    "inverse_flattening": 298.257223563,
    "longitude_of_prime_meridian": 0.0,
    "prime_meridian_name": "Greenwich",
    "reference_ellipsoid_name": "WGS 84",
    "horizontal_datum_name": "WGS_1984",
    "geographic_crs_name": "WGS 84",
    # so that tools name it EPSG:4326; from the parameters alone they do not
    "crs_wkt": 'GEODCRS["WGS 84",DATUM["World Geodetic System 1984",ELLIPSOID["WGS 84",6378137,298.257223563,'
    'LENGTHUNIT["metre",1]]],PRIMEM["Greenwich",0,ANGLEUNIT["degree",0.0174532925199433]],CS[ellipsoidal,2],'
    'AXIS["geodetic latitude (Lat)",north,ORDER[1],ANGLEUNIT["degree",0.0174532925199433]],'
    'AXIS["geodetic longitude (Lon)",east,ORDER[2],ANGLEUNIT["degree",0.0174532925199433]],ID["EPSG",4326]]',
}


def describe_tile(tile: xr.Dataset, metadata: Mapping[str, Any], command: str) -> xr.Dataset:
    """A translated tile with everything that CF asks for: coordinates' attributes, grid mapping, global attributes."""
    described = tile.copy()
    for name, attributes in _COORDINATES.items():
        if name in described.coords:
            described[name].attrs = attributes
    for variable in described.data_vars.values():
        variable.attrs["grid_mapping"] = "crs"
        if "valid_range" in variable.attrs:  # CF: in packed units, of the packed type
            step, offset = PACKING["netcdf"][variable.attrs["units"]]
            limits = np.rint((np.asarray(variable.attrs["valid_range"], np.float64) - offset) / step)
            variable.attrs["valid_range"] = limits.astype(np.int16)
    described["crs"] = xr.Variable((), np.int32(0), _GRID_MAPPING)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    known, target = tile.attrs, tile.attrs.get("satellite", "")
    satellite = SATELLITES.get(target)
    instrument = satellite.instrument if satellite else ""
    title = f"{target} {instrument} bands synthesised from {known.get('source_satellite', '')} observations"
    comment = "Bands called synthesised are not measurements; `quality` says where values are missing or limited"
    comment += f", `{EXTRAPOLATED_BANDS}` where deviations do not hold." if EXTRAPOLATED_BANDS in tile else "."
    if "filled" in tile:
        title = f"{target} {instrument} bands, what was missing filled in"
        comment = "Measured values, and where `filled` has a band's bit inferred ones."
    described.attrs = {
        "Conventions": "CF-1.8",
        "title": title,
        "source": f"satellite-to-satellite translation of {known.get('source', '')}",
        "history": f"{now} satxlate_jax {__version__}" + (f": {command}" if command else ""),
        "references": "Vandal et al., IEEE TGRS 2021, arXiv 2010.06045",
        "comment": comment,
        "satellite": target,
        "instrument": instrument,
        **(satellite.platform if satellite else {}),
        "tile": known.get("tile", ""),
        "source_satellite": known.get("source_satellite", ""),
        "source_file": known.get("source", ""),
        "checkpoint_run": known.get("checkpoint_run", ""),
        "checkpoint_step": np.int64(known.get("checkpoint_step", -1)),
        "satxlate_version": __version__,
    }
    trained = metadata.get("config", {}).get("data", {}).get("satellites", {})
    if trained:  # not those that the translator can take as well
        kept = {name: entry for name, entry in metadata["satellites"].items() if name in trained}
        metadata = {**metadata, "satellites": kept}
    stored = {name: json.dumps(metadata[name]) for name in ("config", "satellites", "versions") if name in metadata}
    return described.assign_attrs({f"checkpoint_{name}": text for name, text in stored.items()})


def band_encoding(variable: xr.DataArray) -> dict[str, Any]:
    """The packing of a variable on the grid, as xarray's encoding; what has no such unit stays as it is."""
    if (packing := PACKING["netcdf"].get(variable.attrs.get("units", ""))) is None:
        return {}
    step, offset = packing
    if str(variable.name).endswith(("_std", "_spread")):  # differences, of which 0 is the least
        offset = 0.0
    return {"dtype": "int16", "scale_factor": step, "add_offset": offset, "_FillValue": FILL}


def write_netcdf(
    described: xr.Dataset, path: str | Path, grid: tuple[str, str], chunk: int, encoding: Mapping[str, Any]
) -> None:
    """Write what `describe_tile` gave, on a grid of these dimensions, packed and compressed, atomically.

    Chunks have `chunk` pixels to a side; `encoding` is that of other variables. InputError where it cannot be written.
    """
    every: dict[str, Any] = {name: {"_FillValue": None} for name in grid} | dict(encoding)
    chunks = tuple(min(chunk, described.sizes[name]) for name in grid)
    for name, variable in described.data_vars.items():
        if variable.dims[-2:] == grid:
            chunksizes = (1,) * (variable.ndim - 2) + chunks
            every[str(name)] = {"zlib": True, "chunksizes": chunksizes, **band_encoding(variable)}
    with atomic.replacing(path) as temporary:
        try:
            described.to_netcdf(temporary, engine="netcdf4", format="NETCDF4", encoding=every)
        except RuntimeError as error:  # a full disk in the words of the netCDF library; a device's are of another type
            if type(error) is not RuntimeError:
                raise
            raise OSError(str(error)) from error


def write_tile_netcdf(
    tile: xr.Dataset,
    path: str | Path,
    *,
    metadata: Mapping[str, Any] | None = None,
    command: str = "",
    options: str = "",
) -> None:
    """Write a tile that `TileTranslator.translate` gave, atomically; InputError where it cannot be written.

    The history tells of the command; the metadata are the checkpoint's, whose configuration is kept as JSON; `options`
    are those that the values depend on, in any form.
    """
    described = describe_tile(tile, metadata or {}, command)
    if options:
        described.attrs["translate_options"] = options
    time = {"time": TIME | {"dtype": "float64"}} if "time" in tile.coords else {}
    write_netcdf(described, path, ("lat", "lon"), CHUNK, time)


@dataclass
class OutputFolder:
    """Where translations go: the folder, the satellite that is made, its translator, the command for the history."""

    folder: Path
    to: str
    translator: TileTranslator
    command: str = ""

    def plan(self, sources: Sequence[Path]) -> None:
        """Take in all inputs before the first is translated."""

    def holds(self, source: Path) -> bool:
        """Tell if there is any output of an input, which another translation replaces."""
        return False


def is_made_by(translator: TileTranslator, path: Path, names: Collection[str], **attributes: str) -> bool:
    """Tell if a file is a translation by this checkpoint with these variables and attributes; '' is also none."""
    wanted = {"checkpoint_run": translator.run, "checkpoint_step": translator.step, **attributes}
    try:
        with h5py.File(path) as file:  # forty times faster than the netCDF library, which reads every variable's header
            found = {name: np.ravel(file.attrs.get(name, ""))[0] for name in wanted}
            held = set(file)
    except OSError:
        return False
    plain = {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}
    # files of earlier versions have no flags by band; they are not made again for that
    return plain == wanted and {*names} - {EXTRAPOLATED_BANDS} <= held


@dataclass
class NetcdfFolder(OutputFolder):
    """One netCDF file per input; one that lacks some `names`, or was made with other `options`, is made again."""

    names: Collection[str] = ()
    options: str = ""

    def path(self, source: Path) -> Path:
        """The file of an input's translation."""
        return self.folder / f"{source.stem}_{self.to}.nc"

    def holds(self, source: Path) -> bool:
        """As of other folders."""
        return self.path(source).exists()

    def is_complete(self, source: Path) -> bool:
        """Tell if an input's translation is there, by this checkpoint and with these options."""
        return is_made_by(
            self.translator, self.path(source), self.names, source_file=source.name, translate_options=self.options
        )

    def write(self, source: Path, tile: xr.Dataset) -> None:
        """Write an input's translation."""
        metadata = self.translator.metadata
        write_tile_netcdf(tile, self.path(source), metadata=metadata, command=self.command, options=self.options)
