"""Translations as Zarr: one store per satellite and tile with a time axis, consolidated, filled incrementally.

Times ascend, so that `.sel(time=slice(...))` works: the axis is laid out for all inputs at the first write, and a store
that must take in earlier times is copied once to be extended. `complete` says which times are written; all others are
missing values, and are made when asked for again. A time has one source: two files of the same tile and time, such as
of two satellites, go into two folders. One process writes a store at a time (`--part` with `--zarr` deals out tiles).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from satxlate_jax import atomic
from satxlate_jax.archive.catalog import parse_name
from satxlate_jax.cli import InputError
from satxlate_jax.translation.flags import EXTRAPOLATED_BANDS
from satxlate_jax.translation.netcdf import CHUNK, TIME, OutputFolder, band_encoding, describe_tile

_FORMAT = 2  # the format that other tools read with consolidated metadata
_LABELS = {  # on the time axis, beside the bands -> type, meaning
    "complete": ("int64", "training step of the checkpoint that the slice is of; -1: not complete"),
    "source_file": ("U64", "file that the slice was translated from"),
}
_NOT_COMPLETE = -1

Times = dict[int, tuple[int, str]]
"""Seconds since 1970 -> training step of the slice, and source file; ascending."""


def _seconds(time: object) -> int:
    return int(np.datetime64(time, "s").astype(np.int64))


@dataclass
class ZarrFolder(OutputFolder):
    """OUT/<satellite>_<tile>.zarr, of any number of times."""

    _held: dict[Path, Times] = field(default_factory=dict)
    _planned: dict[Path, Times] = field(default_factory=dict)
    _laid_out: set[Path] = field(default_factory=set)

    def path(self, tile: str) -> Path:
        """A tile's store."""
        return self.folder / f"{self.to}_{tile}.zarr"

    def plan(self, sources: Sequence[Path]) -> None:
        """Take in what is to come, so that the time axis is laid out once and in order.

        InputError where two files, or a file and a store, are of the same tile and time.
        """
        for source in sources:
            if (known := parse_name(source)) is None:
                continue
            path, time = self.path(known.tile), _seconds(known.time)
            step, there = self._times(path).get(time, (_NOT_COMPLETE, ""))
            _, planned = self._planned.setdefault(path, {}).setdefault(time, (_NOT_COMPLETE, source.name))
            for rival in (planned, source.name if step == _NOT_COMPLETE else there):
                if rival != source.name:
                    raise InputError(
                        f"{rival} and {source.name} are of one tile and time, of which a store holds one; choose with "
                        "--source, and another --output for the other"
                    )

    def is_complete(self, source: Path) -> bool:
        """Tell if an input's slice is there, complete, of this file and by this checkpoint."""
        if (known := parse_name(source)) is None:
            return False
        return self._times(self.path(known.tile)).get(_seconds(known.time)) == (self.translator.step, source.name)

    def write(self, source: Path, tile: xr.Dataset) -> None:
        """Write an input's slice, then mark it complete."""
        path, time = self.path(tile.attrs["tile"]), _seconds(tile["time"].values)
        if path.exists() and EXTRAPOLATED_BANDS not in _open_arrays(path):  # begun by an earlier version
            tile = tile.drop_vars(EXTRAPOLATED_BANDS, errors="ignore")
        if path not in self._laid_out or time not in self._times(path):
            self._lay_out(path, tile, {time: (_NOT_COMPLETE, source.name)})
            self._laid_out.add(path)
        index = list(self._times(path)).index(time)
        bands = tile.drop_vars(tile.coords).drop_attrs()
        # in float64 a value between two steps is rounded as in exact arithmetic
        bands = bands.map(lambda band: band.astype(np.float64) if band.dtype == np.float32 else band)
        store = _open_arrays(path)
        store["complete"][index] = _NOT_COMPLETE
        bands.expand_dims("time").to_zarr(_locate(path), region={"time": slice(index, index + 1)}, zarr_format=_FORMAT)
        store["source_file"][index] = source.name
        store["complete"][index] = self.translator.step

    def _times(self, path: Path) -> Times:
        """The time axis of a store, as it was when first asked for or laid out by this process."""
        if path not in self._held:
            atomic.recover(path)
            self._held[path] = {}
            if path.exists():
                with self._open(path) as store:
                    columns = [store[name].values for name in ("time", *_LABELS)]
                self._held[path] = {
                    int(time): (int(step), str(file)) for time, step, file in zip(*columns, strict=True)
                }
        return self._held[path]

    def _open(self, path: Path) -> xr.Dataset:
        """A store that this run may continue, as its consolidated metadata, which are written last, describe it."""
        try:
            store = xr.open_zarr(_locate(path), chunks=None, decode_times=False, consolidated=True)
            run = store.attrs["checkpoint_run"]
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"'{path}' is not a store of translate; remove it or choose another --output") from error
        if run != self.translator.run:
            raise InputError(f"'{path}' holds translations of run '{run}'; choose another --output")
        return store

    def _lay_out(self, path: Path, tile: xr.Dataset, new: Times) -> None:
        """Give a store a time axis with all that is planned; slices that it holds keep their times."""
        held = self._times(path)
        times = dict(sorted((self._planned.get(path, {}) | new | held).items()))
        template = self._template(tile)
        if path.exists():
            with self._open(path) as store:
                bands = {name for name in store.data_vars if store[name].dims[:1] == ("time",)} - set(_LABELS)
                if bands != set(tile.data_vars) or store["lat"].shape != tile["lat"].shape:
                    raise InputError(
                        f"'{path}' holds other bands or another grid; translate with the same options, or elsewhere"
                    )
                template.attrs = store.attrs
        if path.exists() and list(times)[: len(held)] == list(held):
            _set_times(path, times)
        else:  # a new store, or a time between those that are there
            with atomic.replacing(path) as temporary:
                template.to_zarr(_locate(temporary), zarr_format=_FORMAT)
                _set_times(temporary, times)
                for name in map(str, tile.data_vars if held else ()):
                    before, after = _open_arrays(path)[name], _open_arrays(temporary)[name]
                    for index, time in enumerate(held):
                        after[list(times).index(time)] = before[index]
        self._held[path] = times

    def _template(self, tile: xr.Dataset) -> xr.Dataset:
        """The store of a tile, with no times yet."""
        described = describe_tile(tile, self.translator.metadata, self.command)
        attributes = {name: value for name, value in described.attrs.items() if name not in ("source_file", "source")}
        template = described[list(tile.data_vars)].drop_attrs(deep=False).expand_dims("time").isel(time=slice(0))
        for name, band in template.data_vars.items():
            band.attrs = {key: value for key, value in described[name].attrs.items() if key != "limited_pixels"}
            band.encoding = {"_FillValue": None, **band_encoding(band)}  # another fill of integers would mean missing
            band.encoding["chunks"] = (1, *(min(CHUNK, size) for size in band.shape[1:]))
        axis = {"time": ("int64", {**described["time"].attrs, **TIME})}
        axis |= {name: (dtype, {"long_name": meaning}) for name, (dtype, meaning) in _LABELS.items()}
        for name, (dtype, words) in axis.items():
            template[name] = xr.Variable("time", np.zeros(0, dtype), words, {"chunks": (1024,)})
        for name in ("lat", "lon"):
            template[name].encoding = {"_FillValue": None}
        return template.assign(crs=described["crs"]).assign_attrs(attributes)


def _locate(path: Path) -> Any:
    """A store's place; as a string zarr would take a path with a '?' for a URL."""
    from zarr.storage import LocalStore  # here and below, because few translations need it

    return LocalStore(path)


def _open_arrays(path: Path) -> Any:
    import zarr

    return zarr.open_group(_locate(path), mode="r+", zarr_format=_FORMAT, use_consolidated=False)


def _set_times(path: Path, times: Mapping[int, tuple[int, str]]) -> None:
    """Lengthen every array along time; a process killed before the end leaves the old axis in force."""
    import zarr

    store = _open_arrays(path)
    for _, array in store.arrays():
        if array.attrs["_ARRAY_DIMENSIONS"][:1] == ["time"]:
            array.resize((len(times), *array.shape[1:]))
    store["time"][:] = np.array(list(times), np.int64)
    for name, values in zip(_LABELS, zip(*times.values(), strict=True), strict=True):
        store[name][:] = np.array(values, _LABELS[name][0])
    zarr.consolidate_metadata(_locate(path), zarr_format=_FORMAT)
