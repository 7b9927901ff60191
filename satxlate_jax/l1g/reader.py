"""GeoNEX L1G files (HDF4) <-> xarray.Dataset in physical units. The only module that imports pyhdf.

A file holds BAND01 .. BAND16 (AHI_B01 .. in early Himawari files), 16-bit integers of 300, 600 or 1200 pixels a side:
value = counts * Scale_Factor + Offset_Constant, reflectance (1) or brightness temperature (K); and Solar_Zenith and
Solar_Azimuth in 0.01 degrees, possibly of another size. Its name says which satellite, tile and time it shows.

A damaged file can end the process inside the HDF4 library: read many files through `isolation.read_isolated`.

Source: Wang et al., Remote Sensing 2020, 12(8), 1267 (GeoNEX L1G).
"""

import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from pyhdf.error import HDF4Error
from pyhdf.SD import SD, SDC

from satxlate_jax import atomic, geometry
from satxlate_jax.archive import catalog
from satxlate_jax.cli import InputError, one_line
from satxlate_jax.cpus import count_cpus
from satxlate_jax.instruments import Band, get_satellite
from satxlate_jax.l1g import packing
from satxlate_jax.l1g.file_check import find_damage
from satxlate_jax.l1g.isolation import Failure, mark_process_suspect, read_isolated
from satxlate_jax.l1g.resampling import METHODS, Method, resample_angle
from satxlate_jax.l1g.tile import ANGLES, check_tile, identify, make_tile

DEFLATE_LEVEL = 4
_SIZES = tuple(geometry.PIXELS.values())
_HDF_TYPES = {"uint16": SDC.UINT16, "int16": SDC.INT16}
_DIMENSION_LABELS = {300: "2km", 600: "1km", 1200: "500m"}
_WORKERS = 4  # each may be a few tiles ahead, of some 6 MB; more than four are faster than what computes

Request = tuple[Path, Sequence[int]]
"""A file and the bands to read of it, 1-based."""


class L1GError(InputError):
    """A file that cannot be read as L1G, or data that cannot be written as such; the message names the file."""


class MissingBandError(L1GError):
    """A file lacks bands that are required."""


class MissingBandWarning(UserWarning):
    """A file lacks bands that were asked for; they are read as missing everywhere."""


class ViewpointError(L1GError):
    """A file shows what its satellite would see from another place than is wanted."""


class _UnusableError(Exception):
    """The fault of a data set, to follow its name."""


@dataclass
class TileArrays:
    """Bands and angles of a file."""

    identity: catalog.TileFile
    bands: list[Band]  # that were asked for
    viewpoint: str = ""  # the satellite from whose place a simulated file is seen; '' its own
    arrays: dict[str, np.ndarray] = field(default_factory=dict)  # those of them and of the angles that are there
    absent: str = ""  # the bands that the file lacks, in words
    impossible: dict[str, int] = field(default_factory=dict)  # thermal band -> pixels beyond packing.POSSIBLE_KELVIN
    faults: list[str] = field(default_factory=list)  # damage of angles that were not asked for, in words


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
        mark_process_suspect()
        raise
    except Exception as error:  # on a damaged file pyhdf raises whatever its C library's answers lead to
        mark_process_suspect()
        raise L1GError(f"{str(path)!r} is damaged ({one_line(error)})") from error


def decode(path: str | os.PathLike) -> int:
    """Reads all counts of a file, the work that no reader is spared, for benchmarks; returns the bytes read."""
    with _opened(Path(path)) as file:
        return sum(file.select(index).get().nbytes for index in range(file.info()[0]))


def _read_counts(file: SD, index: int) -> tuple[np.ndarray, Mapping[str, Any]]:
    selected = file.select(index)
    _, rank, shape, hdf_type, _ = selected.info()
    shape = tuple(shape) if rank > 1 else (shape,)
    if len(shape) != 2 or not all(0 < pixels <= max(_SIZES) for pixels in shape):
        raise _UnusableError(f"is {' x '.join(map(str, shape))}; L1G has images of at most 1200 x 1200 pixels")
    if hdf_type not in _HDF_TYPES.values():
        raise _UnusableError("does not hold 16-bit integers")
    return selected.get(), selected.attributes()


def _read_band(file: SD, index: int, band: Band, resampling: Method) -> packing.PackedBand:
    counts, attributes = _read_counts(file, index)
    if counts.shape[0] != counts.shape[1] or len(counts) not in _SIZES:
        raise _UnusableError(f"is {' x '.join(map(str, counts.shape))}; a band is 300, 600 or 1200 pixels square")
    packed = packing.PackedBand.of(counts, attributes, band, resampling)
    if not packed.is_usable:
        raise _UnusableError("has no usable Scale_Factor and Offset_Constant")
    return packed


def read_arrays(
    path: Path,
    bands: Iterable[int] | None,
    size: int,
    angles: Iterable[str],
    convert: Callable[[packing.PackedBand, Band], np.ndarray],
    resampling: Method = "area",
) -> TileArrays:
    """Reads bands (1-based; None is all) and angles (of ANGLES) of a file; other angles are only checked.

    `convert` makes of a band as the file holds it the array that is wanted, by the same `resampling`; angles become
    [size, size]. Raises L1GError where the file cannot be read or is something else.
    """
    with _opened(path) as file:
        present: dict[str, int] = {}
        for index in range(file.info()[0]):
            present.setdefault(file.select(index).info()[0], index)
        if not any(re.fullmatch(r"(BAND|AHI_B)(0[1-9]|1[0-6])", name) for name in present):
            raise L1GError(
                f"{str(path)!r} is HDF4 but not L1G: it has no BAND01 to BAND16, "
                f"but {', '.join(list(present)[:3]) or 'nothing'}{' ...' if len(present) > 3 else ''}"
            )
        identity = catalog.parse_name(path) or catalog.parse_name(str(file.attributes().get("l1g_name", "")))
        if identity is None:
            raise L1GError(
                f"{str(path)!r} is not named as an L1G file, so its satellite, tile and time are unknown; "
                "name it such as GO16_ABI05_20190201_0000_GLBG_h09v03_02.hdf"
            )
        satellite = get_satellite(identity.satellite)
        wanted = [*satellite.bands] if bands is None else [satellite.band(one) for one in bands]
        found = TileArrays(identity, wanted, str(getattr(file, "viewpoint", "")))
        try:
            for band in found.bands:
                name = band.name if band.name in present else f"AHI_B{band.number:02d}"
                if name in present:
                    packed = _read_band(file, present[name], band, resampling)
                    found.arrays[band.name] = convert(packed, band)
                    if packed.possible is not None:
                        found.impossible[band.name] = packed.impossible_pixels
            for variable in angles:
                name = variable.title()
                if name in present:
                    degrees = packing.unpack_angle(_read_counts(file, present[name])[0])
                    found.arrays[variable] = resample_angle(degrees, size, is_circular=variable == "solar_azimuth")
        except _UnusableError as error:
            raise L1GError(f"{str(path)!r}: {name} {error}") from error
        except Exception as error:
            raise L1GError(f"{str(path)!r}: {name} is damaged ({one_line(error)})") from error
        unasked = [variable.title() for variable in ANGLES if variable not in angles]
        faults = [_find_fault(file, name, present[name]) for name in unasked if name in present]
        found.faults += filter(None, faults)
    if absent := [band.name for band in found.bands if band.name not in found.arrays]:
        mark_process_suspect()  # a library that is no longer sound overlooks data sets
        found.absent = f"{str(path)!r} lacks {', '.join(absent)}"
    return found


def _find_fault(file: SD, name: str, index: int) -> str:
    try:
        _read_counts(file, index)
    except _UnusableError as error:
        return f"{name} {error}"
    except Exception as error:
        mark_process_suspect()
        return f"{name} is damaged ({one_line(error)})"
    return ""


def read_tile(
    path: str | os.PathLike,
    resolution_km: float = 2.0,
    *,
    resampling: Method = "area",
    bands: Iterable[int] | None = None,
) -> xr.Dataset:
    """Reads one L1G file onto the tile's grid, in physical units, in this process, which a damaged file can end.

    Args:
      path: of the file. Its name says which satellite, tile and time it shows.
      resolution_km: 2, 1 or 0.5 (300, 600 or 1200 pixels); bands of another resolution are resampled.
      resampling: 'area', the mean over a pixel's valid parts, or 'bilinear' with the corners aligned, the release's.
        Where a band is coarser than the grid, 'area' repeats its pixels.
      bands: 1-based numbers of those to read; default all of the instrument.

    Returns:
      float32 (lat, lon) variables BAND01 .. in units '1' (reflectance) and 'K' (brightness temperature), NaN where
      missing; `solar_zenith` and `solar_azimuth` in degrees ([0, 180] and [0, 360)) where the file has them;
      coordinates lat (north to south), lon and the scalar time (UTC); attributes satellite, tile, platform_name,
      sensor, source and, in what `simulate --viewpoint` wrote, viewpoint. A band that the file lacks is NaN everywhere,
      and a MissingBandWarning says so. Temperatures below 120 K or (not with 'bilinear') above 450 K are missing; a
      thermal band's attribute impossible_pixels counts them.

    Raises:
      InputError: no such resolution, resampling or band; as L1GError, the file cannot be read, or is something else.
    """
    path, size = Path(path), geometry.pixels_of(resolution_km)
    if resampling not in METHODS:
        raise InputError(f"unknown resampling '{resampling}'; there are {', '.join(METHODS)}")
    read = read_arrays(path, bands, size, ANGLES, lambda packed, _: packed.values(size, resampling), resampling)
    if read.absent:
        warnings.warn(f"{read.absent}: read as missing", MissingBandWarning, stacklevel=2)
    identity = read.identity
    dataset = make_tile(identity.satellite, identity.tile, identity.time, read.bands, read.arrays, size)
    dataset.attrs |= {"source": path.name} | ({"viewpoint": read.viewpoint} if read.viewpoint else {})
    for name, pixels in read.impossible.items():
        dataset[name].attrs["impossible_pixels"] = pixels
    return dataset


def read_groups(
    groups: Sequence[Sequence[Request]], resolution_km: float = 2.0
) -> Iterator[list[xr.Dataset] | InputError]:
    """Reads files that are needed together, such as coincident ones, ahead in isolated processes.

    Yields:
      For each group the tiles in its order, as `read_tile` gives them, a band that a file lacks missing everywhere; or
      the error of the first of its files that cannot be read.
    """
    requests = (request for group in groups for request in group)
    outcomes = read_isolated(requests, partial(_read_request, resolution_km), workers=min(_WORKERS, count_cpus()))
    for group in groups:
        found = list(islice(outcomes, len(group)))
        errors = [outcome.as_error(path) for (path, _), outcome in found if isinstance(outcome, Failure)]
        yield errors[0] if errors else [tile for _, tile in found]


def _read_request(resolution_km: float, request: Request) -> xr.Dataset:
    path, bands = request
    with warnings.catch_warnings(action="ignore", category=MissingBandWarning):
        return read_tile(path, resolution_km, bands=sorted(set(bands)))


def read_input(path: Path, bands: Mapping[str, Sequence[int]], resolution_km: float = 2.0) -> xr.Dataset:
    """Read the bands of one L1G file that the network needs, given as satellite -> its bands, 1-based.

    InputError where it cannot be read, or is of another satellite.
    """
    known = catalog.parse_name(path)
    with warnings.catch_warnings(action="ignore", category=MissingBandWarning):  # an error where the band is used
        tile = read_tile(path, resolution_km, bands=bands.get(known.satellite) if known else None)
    if (satellite := tile.attrs["satellite"]) not in bands:
        raise InputError(f"{path.name} is of {satellite}; what is asked for can be made from {', '.join(bands)}")
    return tile


def _write_data_set(file: SD, name: str, counts: np.ndarray, attributes: Mapping[str, tuple[int, Any]]) -> None:
    data_set = file.create(name, _HDF_TYPES[counts.dtype.name], counts.shape)
    if len(counts) in _DIMENSION_LABELS:
        for axis, letter in enumerate("YX"):
            data_set.dim(axis).setname(f"{letter}Dim:{_DIMENSION_LABELS[len(counts)]}")
    for key, (hdf_type, value) in attributes.items():
        data_set.attr(key).set(hdf_type, value)
    data_set.setcompress(SDC.COMP_DEFLATE, DEFLATE_LEVEL)
    data_set.set(counts)
    data_set.endaccess()


def _write_arrays(dataset: xr.Dataset, identity: catalog.TileFile, path: Path, dtype: np.dtype) -> None:
    file = SD(str(path), SDC.WRITE | SDC.CREATE)
    try:
        for band in get_satellite(identity.satellite).bands:
            if band.name in dataset:
                scale, offset = packing.PACKING["l1g"][band.unit]
                attributes = {
                    "Scale_Factor": (SDC.FLOAT64, scale),
                    "Offset_Constant": (SDC.FLOAT64, offset),
                    "_FillValue": (_HDF_TYPES[dtype.name], packing.fill_value(dtype)),
                }
                counts = packing.pack_band(dataset[band.name].values, band.unit, dtype)
                _write_data_set(file, band.name, counts, attributes)
        for variable, kind in zip(ANGLES, (np.int16, np.uint16), strict=True):
            if variable in dataset:
                counts = packing.pack_angle(dataset[variable].values, np.dtype(kind))
                _write_data_set(file, variable.title(), counts, {})
        file.attr("l1g_name").set(SDC.CHAR8, identity.path.name)
        if viewpoint := dataset.attrs.get("viewpoint"):
            file.attr("viewpoint").set(SDC.CHAR8, viewpoint)
    finally:
        file.end()


def write_tile(dataset: xr.Dataset, path: str | os.PathLike, *, dtype: Literal["uint16", "int16"] = "uint16") -> None:
    """Writes a tile as an L1G file, the inverse of `read_tile` to half a step (1e-4 reflectance, 0.01 K).

    Args:
      dataset: as `read_tile` returns it. A band may have its own resolution, 300, 600 or 1200 pixels a side, on
        dimensions of any name.
      path: of the file; folders above it are made. `catalog.relative_path` says where it belongs in an archive.
      dtype: 'uint16' as in new files, 'int16' as in old ones; what it cannot hold becomes the nearest that it can.

    Raises:
      InputError: the dataset has no band, lies on another grid or in other units, or contradicts the file's name; as
        L1GError, the file cannot be written.
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
        reason = one_line(error.__cause__ or error)
        raise L1GError(f"{str(path)!r} cannot be written ({reason}); check space and permissions") from error
