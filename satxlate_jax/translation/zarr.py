"""Translations as Zarr: one store per satellite and tile with a time axis, consolidated, filled as they come.

Times ascend, so that `.sel(time=slice(...))` works: the axis is laid out for all inputs at the first write, and a store
that must take in earlier times is copied once to make room. `complete` says which moments are written; what a killed
process left, and what could not be translated, is missing values and not complete, and is made when asked for again.
A moment has one source: two files of the same tile and time, such as of two satellites, go into stores of two folders.
One process writes a store at a time (`--share` with `--zarr` deals out whole tiles).
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr

from satxlate_jax import atomic
from satxlate_jax.archive.catalog import parse_name
from satxlate_jax.cli import InputError
from satxlate_jax.translation.netcdf import FILL, PACKING, describe_tile
from satxlate_jax.translation.translate import TileTranslator

try:
    import zarr
except ImportError as missing:
    raise InputError("--zarr needs the package zarr; pip install zarr") from missing

_FORMAT = 2  # the format that other tools read with consolidated metadata
_TIME = {"units": "seconds since 1970-01-01 00:00:00", "calendar": "standard"}
_CHUNK = 300
_UNSET = 0  # what is read where no time was written yet: 1970, before there were such satellites


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
    _moments: dict[Path, dict[int, tuple[int, str]]] = field(default_factory=dict)  # seconds -> step, source file
    _planned: dict[Path, dict[int, str]] = field(default_factory=dict)  # seconds -> source file
    _laid_out: set[Path] = field(default_factory=set)

    def path(self, tile: str) -> Path:
        """Of a tile's store."""
        return self.folder / f"{self.to}_{tile}.zarr"

    def plan(self, sources: Sequence[Path]) -> None:
        """Says what is to come, so that the time axis is laid out once and in order.

        Raises:
          InputError: two files, or a file and what a store holds, are of the same tile and time.
        """
        for source in sources:
            if (known := parse_name(source)) is None:
                continue
            path, seconds = self.path(known.tile), _seconds(np.datetime64(known.time, "s"))
            there = self._known(path).get(seconds, (-1, source.name))
            rival = self._planned.setdefault(path, {}).setdefault(seconds, source.name)
            rival = rival if rival != source.name or there[0] < 0 else there[1]
            if rival != source.name:
                raise InputError(
                    f"{rival} and {source.name} are of one tile and time, of which a store holds one; choose with "
                    "--source, and another --output for the other"
                )

    def is_complete(self, source: Path) -> bool:
        """Whether the input's moment is there, complete, of this file and of this checkpoint."""
        known = parse_name(source)
        if known is None:
            return False
        moment = self._known(self.path(known.tile)).get(_seconds(np.datetime64(known.time, "s")))
        return moment == (self.translator.step, source.name)

    def _known(self, path: Path) -> dict[int, tuple[int, str]]:
        if path not in self._moments:
            atomic.recover(path)
            self._moments[path] = _read_moments(self._open(path)) if path.exists() else {}
        return self._moments[path]

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
        seconds = _seconds(tile["time"].values)
        if not path.exists():
            self._create(path, tile)
        store = self._open(path)
        _check_same(store, tile, path)
        moments = {when: name for when, (_, name) in _read_moments(store).items()}
        if seconds not in moments or path not in self._laid_out:
            store = _lay_out(path, store, self._planned.get(path, {}) | moments | {seconds: source.name})
            self._laid_out.add(path)
        index = store["time"][:].astype(int).tolist().index(seconds)
        store["complete"][index] = -1
        store["source_file"][index] = source.name
        for name, variable in tile.data_vars.items():
            store[name][index] = _pack(variable)
        store["complete"][index] = self.translator.step

    def _create(self, path: Path, tile: xr.Dataset) -> None:
        """An empty store with everything but times."""
        with atomic.replacing(path) as temporary:
            self._fill(temporary, tile)

    def _fill(self, temporary: Path, tile: xr.Dataset) -> None:
        described = describe_tile(tile, self.translator.facts, self.command)
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
                fill_value=FILL if floating else None,  # to xarray any other fill value means missing
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
            store.create_array("time", shape=(0,), chunks=(1024,), dtype="int64", fill_value=None),
            ("time",),
            described["time"].attrs | _TIME,
        )
        words = {"long_name": "training step of the checkpoint that the slice is of; -1: not complete"}
        _describe(
            store.create_array("complete", shape=(0,), chunks=(1024,), dtype="int64", fill_value=None), ("time",), words
        )
        words = {"long_name": "file that the slice was translated from"}
        _describe(
            store.create_array("source_file", shape=(0,), chunks=(1024,), dtype="U64", fill_value=""), ("time",), words
        )
        zarr.consolidate_metadata(temporary, zarr_format=_FORMAT)


def _read_moments(store: zarr.Group) -> dict[int, tuple[int, str]]:
    columns = [store[name][:].tolist() for name in ("time", "complete", "source_file")]
    # a process killed while laying out leaves columns longer than times, or times that are not yet set
    return {int(seconds): (step, name) for seconds, step, name in zip(*columns, strict=False) if seconds != _UNSET}


def _lay_out(path: Path, store: zarr.Group, moments: Mapping[int, str]) -> zarr.Group:
    """Gives a store the time axis of `moments` (seconds -> source file), ascending, with what it holds in its place."""
    before = _read_moments(store)
    times = sorted(moments)
    if times[: len(before)] != list(before):  # room is needed among what is there: copied to where it belongs
        with atomic.replacing(path) as copy:
            shutil.copytree(path, copy)
            store = zarr.open_group(copy, mode="r+", zarr_format=_FORMAT, use_consolidated=False)
            old = zarr.open_group(path, mode="r", zarr_format=_FORMAT, use_consolidated=False)
            _resize(store, times, moments)
            for index in sorted(range(len(times)), reverse=True):
                origin = list(before).index(times[index]) if times[index] in before else None
                for name in set(_along_time(store)) - {"time", "source_file"}:
                    empty = -1 if name == "complete" else store[name].fill_value or 0
                    store[name][index] = empty if origin is None else old[name][origin]
            zarr.consolidate_metadata(copy, zarr_format=_FORMAT)
        return zarr.open_group(path, mode="r+", zarr_format=_FORMAT, use_consolidated=False)
    _resize(store, times, moments)
    zarr.consolidate_metadata(path, zarr_format=_FORMAT)
    return store


def _resize(store: zarr.Group, times: Sequence[int], moments: Mapping[int, str]) -> None:
    known = store["time"].shape[0]
    # The times come last: a process killed before leaves arrays that are longer, and no moment without a time.
    for name in sorted(_along_time(store), key=lambda name: name == "time"):
        store[name].resize((len(times), *store[name].shape[1:]))
    store["complete"][known:] = -1
    store["source_file"][:] = np.array([moments[seconds] for seconds in times], "U64")
    store["time"][:] = np.array(times, np.int64)


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
