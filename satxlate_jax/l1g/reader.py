"""One GeoNEX L1G file (HDF4) <-> xarray.Dataset in physical units. The only module that imports pyhdf.

A file holds BAND01 .. BAND16 (AHI_B01 .. in early Himawari files), 16-bit integers of 300, 600 or 1200 pixels a side:
value = number * Scale_Factor + Offset_Constant, reflectance (1) or brightness temperature (K); and Solar_Zenith and
Solar_Azimuth in 0.01 degrees, possibly of another size. Which satellite, tile and time it shows is in its name.

A damaged file can end the process inside the HDF4 library: read many files through `isolation.read_isolated`.

Source: Wang et al., Remote Sensing 2020, 12(8), 1267 (GeoNEX L1G).
"""

import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from pyhdf.error import HDF4Error
from pyhdf.SD import SD, SDC

from satxlate_jax import atomic, geometry
from satxlate_jax.archive import catalog
from satxlate_jax.cli import InputError
from satxlate_jax.instruments import Band, get_satellite
from satxlate_jax.l1g import packing
from satxlate_jax.l1g.bands import BandNumbers, to_values
from satxlate_jax.l1g.faults import L1GError, MissingBandWarning, UnusableError, find_absent, in_a_line
from satxlate_jax.l1g.hdf4_directory import find_damage
from satxlate_jax.l1g.process_trust import distrust_process
from satxlate_jax.l1g.resampling import METHODS, Method, resample_angle
from satxlate_jax.l1g.tile import ANGLES, TileArrays, check_tile, identify, make_tile

DEFLATE_LEVEL = 4
_SIZES = tuple(geometry.PIXELS.values())
_INTEGERS = {SDC.UINT16: np.dtype(np.uint16), SDC.INT16: np.dtype(np.int16)}
_HDF_TYPES = {"uint16": SDC.UINT16, "int16": SDC.INT16}
_DIMENSION_LABELS = {300: "2km", 600: "1km", 1200: "500m"}
_DataSet = tuple[int, tuple[int, ...], int]  # index, shape and HDF4 type


@contextmanager
def _opened(path: Path) -> Iterator[SD]:
    damage = find_damage(path)
    if damage is not None:
        raise L1GError(f"{str(path)!r} {damage}")
    try:
        file = SD(str(path), SDC.READ)
        try:
            yield file
        finally:
            file.end()
    except InputError:
        distrust_process()
        raise
    except Exception as error:  # on a damaged file pyhdf raises whatever its C library's answers lead to
        distrust_process()
        raise L1GError(f"{str(path)!r} is damaged ({in_a_line(error)})") from error


def decode(path: str | os.PathLike) -> int:
    """Reads every number of a file, which no reader can do without, and does nothing with it; returns the bytes read.

    Raises:
      L1GError: the file cannot be read.
    """
    with _opened(Path(path)) as file:
        return sum(file.select(index).get().nbytes for index in range(file.info()[0]))


def _data_sets(file: SD) -> dict[str, _DataSet]:
    """The data sets by name; the first of a name counts."""
    found: dict[str, _DataSet] = {}
    for index in range(file.info()[0]):
        name, rank, shape, hdf_type, _ = file.select(index).info()
        found.setdefault(name, (index, tuple(shape) if rank > 1 else (shape,), hdf_type))
    return found


def _identity(path: Path, file: SD) -> catalog.TileFile:
    """Satellite, tile and time, from the file's name or, where it was renamed, from what write_tile left in it."""
    parsed = catalog.parse_name(path) or catalog.parse_name(str(file.attributes().get("l1g_name", "")))
    if parsed is None:
        raise L1GError(
            f"{str(path)!r} is not named as an L1G file, so its satellite, tile and time are unknown; "
            "name it such as GO16_ABI05_20190201_0000_GLBG_h09v03_02.hdf"
        )
    return parsed


def _read_band(file: SD, data_set: _DataSet, possible: packing.Possible | None) -> BandNumbers:
    index, shape, hdf_type = data_set
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] not in _SIZES:
        raise UnusableError(f"is {' x '.join(map(str, shape))}; a band is 300, 600 or 1200 pixels square")
    if hdf_type not in _INTEGERS:
        raise UnusableError("does not hold 16-bit integers")
    selected = file.select(index)
    band = BandNumbers.of(selected.get(), selected.attributes(), possible)
    if not band.is_usable:
        raise UnusableError("has no usable Scale_Factor and Offset_Constant")
    return band


def _read_angle(file: SD, data_set: _DataSet) -> np.ndarray:
    """The integers of one solar angle."""
    index, shape, hdf_type = data_set
    if len(shape) != 2 or not all(0 < pixels <= max(_SIZES) for pixels in shape) or hdf_type not in _INTEGERS:
        raise UnusableError("is not an image of at most 1200 x 1200 16-bit integers")
    return file.select(index).get()


def _find_fault(file: SD, name: str, data_set: _DataSet) -> str | None:
    """What is wrong with a solar angle, in words."""
    try:
        _read_angle(file, data_set)
    except UnusableError as error:
        return f"{name} {error}"
    except Exception as error:
        distrust_process()
        return f"{name} is damaged ({in_a_line(error)})"
    return None


def read_arrays(
    path: Path,
    bands: Iterable[int] | None,
    size: int,
    angles: Iterable[str],
    convert: Callable[[BandNumbers, Band], np.ndarray],
    resampling: Method = "area",
    *,
    needless: Iterable[str] = (),
) -> TileArrays:
    """Reads bands and angles of a file.

    Args:
      path: of the file.
      bands: 1-based numbers; None is all.
      size: pixels along a side of the angles' result.
      angles: to read, of ANGLES.
      convert: what to make of a band.
      resampling: how `convert` will resample.
      needless: angles that are looked at to know whether they are sound, and not read.

    Raises:
      L1GError: the file cannot be read, or is something else.
    """
    with _opened(path) as file:
        present = _data_sets(file)
        if not any(re.fullmatch(r"(BAND|AHI_B)(0[1-9]|1[0-6])", name) for name in present):
            raise L1GError(
                f"{str(path)!r} is HDF4 but not L1G: it has no BAND01 to BAND16, "
                f"but {', '.join(list(present)[:3]) or 'nothing'}{' ...' if len(present) > 3 else ''}"
            )
        identity = _identity(path, file)
        satellite = get_satellite(identity.satellite)
        wanted = list(satellite.bands) if bands is None else [satellite.band(number) for number in bands]
        found = TileArrays(identity, wanted)
        try:
            for band in wanted:
                name = next((name for name in (band.name, f"AHI_B{band.number:02d}") if name in present), band.name)
                if name in present:
                    numbers = _read_band(file, present[name], packing.possible_range(band, resampling))
                    found.arrays[band.name] = convert(numbers, band)
                    if numbers.possible is not None:
                        found.impossible[band.name] = numbers.impossible_pixels
            for variable in angles:
                name = variable.title()
                if name in present:
                    degrees = packing.unpack_angle(_read_angle(file, present[name]))
                    found.arrays[variable] = resample_angle(degrees, size, is_circular=variable == "solar_azimuth")
        except UnusableError as error:
            raise L1GError(f"{str(path)!r}: {name} {error}") from error
        except Exception as error:
            raise L1GError(f"{str(path)!r}: {name} is damaged ({in_a_line(error)})") from error
        names = [variable.title() for variable in needless]
        faults = [_find_fault(file, name, present[name]) for name in names if name in present]
        found.faults += [fault for fault in faults if fault]
    return found


def read_tile(
    path: str | os.PathLike,
    resolution_km: float = 2.0,
    *,
    resampling: Method = "area",
    bands: Iterable[int] | None = None,
) -> xr.Dataset:
    """Reads one L1G file onto the tile's grid, in physical units.

    It is read in this process, which a damaged file can end inside the HDF4 library (see `isolation`).

    Args:
      path: of the file. Its name says which satellite, tile and time it shows.
      resolution_km: 2, 1 or 0.5 (300, 600 or 1200 pixels); bands of another resolution are resampled.
      resampling: 'area', the mean over a pixel's valid parts, or 'bilinear' with the corners aligned, the release's.
        Where a band is coarser than the grid, 'area' repeats its pixels.
      bands: 1-based numbers of those to read; default all of the instrument.

    Returns:
      float32 (lat, lon) variables BAND01 .. in units '1' (reflectance) and 'K' (brightness temperature), NaN where
      missing; `solar_zenith` and `solar_azimuth` in degrees ([0, 180] and [0, 360)) where the file has them;
      coordinates lat (north to south), lon and the scalar time (UTC); attributes satellite, tile and source. A band
      that the file lacks is NaN everywhere, and a MissingBandWarning says so. Temperatures below 120 K or (not
      with 'bilinear') above 450 K are missing; a thermal band's attribute impossible_pixels counts them.

    Raises:
      L1GError: the file cannot be read, or is something else.
      InputError: no such resolution, resampling or band.
    """
    path, size = Path(path), geometry.pixels_of(resolution_km)
    if resampling not in METHODS:
        raise InputError(f"unknown resampling '{resampling}'; there are {', '.join(METHODS)}")
    bands = None if bands is None else tuple(bands)
    read = read_arrays(path, bands, size, ANGLES, lambda band, _: to_values(band, size, resampling), resampling)
    absent = find_absent(path, read.bands, read.arrays)
    if absent:
        warnings.warn(f"{absent}: read as missing", MissingBandWarning, stacklevel=2)
    identity = read.identity
    dataset = make_tile(identity.satellite, identity.tile, identity.time, read.bands, read.arrays, size)
    dataset.attrs["source"] = path.name
    for name, pixels in read.impossible.items():
        dataset[name].attrs["impossible_pixels"] = pixels
    return dataset


def _write_data_set(file: SD, name: str, numbers: np.ndarray, attributes: Mapping[str, tuple[int, Any]]) -> None:
    data_set = file.create(name, _HDF_TYPES[numbers.dtype.name], numbers.shape)
    if len(numbers) in _DIMENSION_LABELS:
        for axis, letter in enumerate("YX"):
            data_set.dim(axis).setname(f"{letter}Dim:{_DIMENSION_LABELS[len(numbers)]}")
    for key, (hdf_type, value) in attributes.items():
        data_set.attr(key).set(hdf_type, value)
    data_set.setcompress(SDC.COMP_DEFLATE, DEFLATE_LEVEL)
    data_set.set(numbers)
    data_set.endaccess()


def _write_arrays(dataset: xr.Dataset, identity: catalog.TileFile, path: Path, dtype: np.dtype) -> None:
    file = SD(str(path), SDC.WRITE | SDC.CREATE)
    try:
        for band in get_satellite(identity.satellite).bands:
            if band.name in dataset:
                scale, offset = packing.PACKING[band.kind]
                attributes = {
                    "Scale_Factor": (SDC.FLOAT64, scale),
                    "Offset_Constant": (SDC.FLOAT64, offset),
                    "_FillValue": (_HDF_TYPES[dtype.name], packing.fill_number(dtype)),
                }
                _write_data_set(file, band.name, packing.pack_band(dataset[band.name].values, band, dtype), attributes)
        for variable, kind in zip(ANGLES, (np.int16, np.uint16), strict=True):
            if variable in dataset:
                degrees = dataset[variable].values
                _write_data_set(file, variable.title(), packing.pack_angle(degrees, np.dtype(kind)), {})
        file.attr("l1g_name").set(SDC.CHAR8, identity.path.name)
    finally:
        file.end()


def write_tile(dataset: xr.Dataset, path: str | os.PathLike, *, dtype: Literal["uint16", "int16"] = "uint16") -> None:
    """Writes a tile as an L1G file, the inverse of `read_tile` to half a step (1e-4 reflectance, 0.01 K).

    Scale_Factor and Offset_Constant are this project's choice (`packing.PACKING`), not GeoNEX's own.

    Args:
      dataset: as `read_tile` returns it. A band may have its own resolution, 300, 600 or 1200 pixels a side, on
        dimensions of any name.
      path: of the file; folders above it are made. `catalog.relative_path` says where it belongs in an archive.
      dtype: 'uint16' as in new files, 'int16' as in old ones. What the integers cannot hold (a reflectance below 0
        in uint16) becomes the nearest they can.

    Raises:
      L1GError: the file cannot be written.
      InputError: the dataset has no band, lies on another grid or in other units, or contradicts the file's name.
    """
    path = Path(path)
    if dtype not in _HDF_TYPES:
        raise InputError(f"L1G files hold uint16 or int16, not '{dtype}'")
    identity = identify(dataset, path.name)
    if not check_tile(dataset, identity, _SIZES):
        raise InputError(f"the dataset for {str(path)!r} has no variable BAND01 to BAND16")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            with atomic.replacing(path) as temporary:
                # HDF4 keeps the path that it was given inside the file; by this one it learns nothing of the machine
                _write_arrays(dataset, identity, Path(f"/proc/self/fd/{folder}/{temporary.name}"), np.dtype(dtype))
        finally:
            os.close(folder)
    except (HDF4Error, OSError, ValueError) as error:  # ValueError: a full disk in pyhdf's words; atomic's has a cause
        reason = in_a_line(error.__cause__ or error)
        raise L1GError(f"{str(path)!r} cannot be written ({reason}); check space and permissions") from error
