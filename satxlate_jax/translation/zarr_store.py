"""Translations as Zarr: one store per satellite and tile with a time axis, consolidated, filled as they come.

The time axis is laid out first and a moment's slice is written next; `complete` says which slices are. What a killed
process left half-written is not complete and is written again. Times stand in the order in which they were asked for.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr

from satxlate_jax.errors import InputError
from satxlate_jax.observations.catalog import parse_name
from satxlate_jax.translation.netcdf import FILL, PACKING, describe_tile
from satxlate_jax.translation.translate import TileTranslator

try:
    import zarr
except ImportError as missing:
    raise InputError("--zarr needs the package zarr; pip install zarr") from missing

_FORMAT = 2  # the format that other tools read with consolidated metadata
_TIME = {"units": "seconds since 1970-01-01 00:00:00", "calendar": "standard"}
_CHUNK = 300


@dataclass
class ZarrFolder:
    """OUT/<satellite>_<tile>.zarr, of any number of times.

    Attributes:
      folder: where the stores are.
      to: the satellite that is made, part of the stores' names.
      translator: whose checkpoint the slices must be of.
      command: for the stores' history.
    """

    folder: Path
    to: str
    translator: TileTranslator
    command: str = ""
    _complete: dict[Path, dict[int, int]] = field(default_factory=dict)

    def path(self, tile: str) -> Path:
        """Of a tile's store."""
        return self.folder / f"{self.to}_{tile}.zarr"

    def is_complete(self, source: Path) -> bool:
        """Whether the input's moment is there, complete and of this checkpoint."""
        known = parse_name(source)
        if known is None:
            return False
        path = self.path(known.tile)
        if path not in self._complete:
            self._complete[path] = self._read_complete(path)
        return self._complete[path].get(_seconds(np.datetime64(known.time, "s"))) == self.translator.step

    def _read_complete(self, path: Path) -> dict[int, int]:
        if not path.exists():
            return {}
        store = self._open(path)
        return dict(zip(store["time"][:].astype(int).tolist(), store["complete"][:].tolist(), strict=True))

    def _open(self, path: Path) -> zarr.Group:
        try:
            store = zarr.open_group(path, mode="r+", zarr_format=_FORMAT, use_consolidated=False)
            run = store.attrs["checkpoint_run"]
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"'{path}' is not a store that translate made; remove it or choose another --output"
            ) from error
        if run != self.translator.run:
            raise InputError(f"'{path}' holds translations of run '{run}'; choose another --output")
        return store

    def write(self, source: Path, tile: xr.Dataset) -> None:
        """Writes a moment's slice, then marks it complete."""
        path = self.path(tile.attrs["tile"])
        if not path.exists():
            self._create(path, tile)
        store = self._open(path)
        _check_same(store, tile, path)
        seconds = _seconds(tile["time"].values)
        times = store["time"][:].astype(int).tolist()
        if seconds in times:
            index = times.index(seconds)
            store["complete"][index] = -1
        else:
            index = len(times)
            for name in _along_time(store):
                store[name].resize((index + 1, *store[name].shape[1:]))
            store["time"][index] = seconds
            zarr.consolidate_metadata(path, zarr_format=_FORMAT)
        for name, variable in tile.data_vars.items():
            store[name][index] = _pack(variable)
        store["source_file"][index] = source.name
        store["complete"][index] = self.translator.step

    def _create(self, path: Path, tile: xr.Dataset) -> None:
        """An empty store with everything but times, under a temporary name, then renamed."""
        described = describe_tile(tile, self.translator.facts, self.command)
        temporary = path.with_name(f".{path.name}.part")
        store = zarr.open_group(temporary, mode="w", zarr_format=_FORMAT)
        attributes = {name: value for name, value in described.attrs.items() if name not in ("source_file", "source")}
        store.attrs.update({name: _plain(value) for name, value in attributes.items()})
        grid = tuple(tile.sizes[name] for name in ("lat", "lon"))
        chunks = (1, *(min(_CHUNK, size) for size in grid))
        for name in ("lat", "lon"):
            values = described[name].values.astype(np.float64)
            _describe(store.create_array(name, data=values, fill_value=None), (name,), described[name].attrs)
        _describe(store.create_array("crs", data=np.int32(0)), (), described["crs"].attrs)
        for name, variable in described.data_vars.items():
            if variable.dims[-2:] != ("lat", "lon"):
                continue
            floating = np.issubdtype(variable.dtype, np.floating)
            array = store.create_array(
                name,
                shape=(0, *grid),
                chunks=chunks,
                dtype="int16" if floating else "int8",
                fill_value=FILL if floating else 0,
            )
            packing = (
                dict(zip(("scale_factor", "add_offset"), PACKING[variable.attrs["units"]], strict=True))
                if floating
                else {}
            )
            packing |= {"_FillValue": FILL} if floating else {}
            attributes = {key: value for key, value in variable.attrs.items() if key != "limited_pixels"}
            _describe(array, ("time", "lat", "lon"), attributes | packing)
        _describe(
            store.create_array("time", shape=(0,), chunks=(1024,), dtype="int64", fill_value=0),
            ("time",),
            described["time"].attrs | _TIME,
        )
        words = {"long_name": "training step of the checkpoint that the slice is of; -1: not complete"}
        _describe(
            store.create_array("complete", shape=(0,), chunks=(1024,), dtype="int64", fill_value=-1), ("time",), words
        )
        words = {"long_name": "file that the slice was translated from"}
        _describe(
            store.create_array("source_file", shape=(0,), chunks=(1024,), dtype="U64", fill_value=""), ("time",), words
        )
        zarr.consolidate_metadata(temporary, zarr_format=_FORMAT)
        temporary.rename(path)


def _along_time(store: zarr.Group) -> list[str]:
    return [name for name, array in store.arrays() if array.attrs["_ARRAY_DIMENSIONS"][:1] == ["time"]]


def _check_same(store: zarr.Group, tile: xr.Dataset, path: Path) -> None:
    names = {name for name in _along_time(store)} - {"time", "complete", "source_file"}
    if names != set(map(str, tile.data_vars)) or store["lat"].shape != tile["lat"].shape:
        raise InputError(f"'{path}' holds other bands or another grid; translate with the same options, or elsewhere")


def _pack(variable: xr.DataArray) -> np.ndarray:
    if not np.issubdtype(variable.dtype, np.floating):
        return variable.values
    step, offset = PACKING[variable.attrs["units"]]
    codes = np.rint((variable.values.astype(np.float64) - offset) / step)
    return np.where(np.isfinite(codes), codes, FILL).astype(np.int16)


def _describe(array: zarr.Array, dimensions: Sequence[str], attributes: dict) -> None:
    array.attrs.update(
        {name: _plain(value) for name, value in attributes.items()} | {"_ARRAY_DIMENSIONS": list(dimensions)}
    )


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else json.loads(json.dumps(value))


def _seconds(time: np.datetime64) -> int:
    return int(time.astype("datetime64[s]").astype(np.int64))
