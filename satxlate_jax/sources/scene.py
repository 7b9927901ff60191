"""Level-1b files to satpy Scenes, and translations and tiles back to Scenes. No package but this one imports satpy."""

import tempfile
import warnings
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from satxlate_jax import geometry
from satxlate_jax.cli import InputError, one_line
from satxlate_jax.instruments import SATELLITES, Band, Satellite, get_satellite, is_same_wavelength
from satxlate_jax.l1g.tile import solar_zenith
from satxlate_jax.sources.granule_files import (
    BLOCK_BYTES,
    Granule,
    Scan,
    file_system,
    find_granules,
    group_scans,
    is_url,
)

LOW_SUN = 85.0  # degrees of solar zenith angle beyond which reflectance is 0 or missing
READER_OF = {"ABI": "abi_l1b", "AHI": "ahi_hsd", "AMI": "ami_l1b", "FCI": "fci_l1c_nc", "SEVIRI": "seviri_l1b_native"}
KEPT = ("start_time", "end_time", "orbital_parameters", "scan_times")
"""Attributes of the source's bands that a Scene's other users need: when and from where."""
_CHUNK = "16MiB"  # of dask: with satpy's own, a Himawari segment takes six times longer and five times the memory


def import_satpy() -> Any:
    """The module satpy; InputError, which says what to install, where it is absent."""
    try:
        import satpy
    except ImportError as error:
        raise InputError(
            f"Level-1b files need satpy ({error}); pip install 'satxlate-jax[l1b]', in a clone -e '.[l1b]'"
        ) from error
    return satpy


def single_threaded_dask() -> Any:
    """Dask without threads: HDF5 libraries fail in several."""
    import dask

    return dask.config.set(scheduler="synchronous")


def _definition(reader: str) -> Any:
    import_satpy()
    from satpy.readers.core.config import configs_for_reader
    from satpy.readers.core.loading import load_reader
    from yaml.constructor import ConstructorError

    try:
        return load_reader(next(iter(configs_for_reader(reader))))
    except ConstructorError as error:
        package = "pip install pyspectral" if "pyspectral" in str(error) else "see its documentation"
        raise InputError(f"satpy's reader {reader} lacks a package: {package}") from error
    except (ValueError, StopIteration) as error:
        raise InputError(f"satpy has no reader '{reader}'; {', '.join(READER_OF.values())} are known here") from error


@lru_cache
def reader_bands(reader: str) -> list[Any]:
    """Satpy's DataIDs of a reader's calibrated bands, in the order of their names."""
    found: dict[str, Any] = {}
    for identity in _definition(reader).all_dataset_ids:
        words = identity.to_dict()
        is_band = words.get("calibration") in ("reflectance", "brightness_temperature") and words.get("wavelength")
        key = words["name"]
        if is_band and (key not in found or words["resolution"] < found[key]["resolution"]):
            found[key] = identity
    return sorted(found.values(), key=lambda identity: identity["name"])


def find_band(satellite: Satellite, wavelength: Any) -> Band | None:
    """The band of a satellite whose wavelength is nearest to a WavelengthRange or um; None where none is the same."""
    um = float(getattr(wavelength, "central", wavelength))
    band = min(satellite.bands, key=lambda one: abs(one.wavelength - um))
    return band if is_same_wavelength(band.wavelength, um) else None


def find_satellite(platform_name: str) -> Satellite:
    """The satellite that satpy calls so; InputError where instruments.py has none."""
    for satellite in SATELLITES.values():
        if platform_name in (satellite.platform_name, satellite.name):
            return satellite
    raise InputError(
        f"instruments.py knows no satellite '{platform_name}'; docs/your_own_satellite.md says how to add it"
    )


def _remote_file(path: str, system: Any) -> Any:
    from satpy.readers.core.remote import FSFile

    class RemoteFile(FSFile):
        """Opens in small blocks that are kept; satpy's own opens with the file system's long reading ahead."""

        def open(self, *_: Any, **__: Any) -> Any:
            return system.open(path, "rb", block_size=BLOCK_BYTES, cache_type="blockcache")

    return RemoteFile(path, system)


@contextmanager
def local_files(scan: Scan, folder: str | None = None) -> Iterator[list[Any]]:
    """Give what satpy opens: paths, files at URLs, and where its reader takes none, copies in a temporary folder."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".satxlate-") as temporary:
        files: list[Any] = []
        for granule in scan.granules:
            if not is_url(granule.place):
                files.append(granule.place)
                continue
            system, path = file_system(granule.place)
            if scan.reader.streams:
                files.append(_remote_file(path, system))
            else:
                files.append(str(Path(temporary, granule.name)))
                system.get_file(path, files[-1])
        yield files


def open_scan(scan: Scan, files: Sequence[Any], bands: Iterable[int] | None = None) -> tuple[Any, dict[str, str]]:
    """Open a scan as a Scene with its bands (1-based; default all) loaded lazily; what ABI's flags call bad is missing.

    `files` are the granules as `local_files` gives them. Returns also the reason of each granule or band that cannot be
    opened, by its name. InputError where no file can be opened, or the satellite is unknown.
    """
    import dask

    satpy, reader, faults = import_satpy(), scan.reader, {}
    options = {"filenames": list(files), "reader": reader.name, "reader_kwargs": dict(reader.options)}
    with dask.config.set({"array.chunk-size": _CHUNK}):
        try:
            scene = satpy.Scene(**options)
        except Exception:  # satpy raises whatever its libraries do: find out of which file
            good = []
            for granule, file in zip(scan.granules, files, strict=True):
                try:
                    satpy.Scene(**options | {"filenames": [file]})
                    good.append(file)
                except Exception as error:
                    faults[granule.name] = f"cannot be opened ({one_line(error)[:200]}); fetch it again"
            if not good:
                raise InputError(f"{scan.title}: {next(iter(faults))} {next(iter(faults.values()))}") from None
            scene = satpy.Scene(**options | {"filenames": good})
        images = [one for one in scene.available_dataset_ids() if one.to_dict().get("wavelength") is not None]
        satellite = _satellite_of(scan, scene, images[0]) if images else None
        held = {one["name"]: satellite and find_band(satellite, one["wavelength"]) for one in images}
        wanted = None if bands is None else set(bands)
        names = {band.number: name for name, band in held.items() if band and (wanted is None or band.number in wanted)}
        if not names:
            raise InputError(f"{scan.title}: no band that is wanted")
        scene.load(list(names.values()), pad_data=False)
        for name in names.values():
            if name in scene:
                _describe_rows(scene, name, reader.from_south)
            else:
                faults[f"{scan.title} {name}"] = "cannot be read by satpy; fetch it again"
        opened = [pair for pair in zip(scan.granules, files, strict=True) if pair[0].name not in faults]
        _mask_flagged(scene, opened, names)
    return scene, faults


def _satellite_of(scan: Scan, scene: Any, image: Any) -> Satellite:
    if platform := scan.granules[0].platform:
        return SATELLITES[platform]
    scene.load([image], pad_data=False)
    return find_satellite(scene[image].attrs["platform_name"])


def _describe_rows(scene: Any, name: str, from_south: bool) -> None:
    """Set the attribute `scan_times`: seconds since 1970 as a line in the projection's y, to hold for parts too."""
    array = scene[name]
    times = {f"observation_{end}_time": array.attrs.get(f"{end}_time") for end in ("start", "end")}
    times |= array.attrs.get("time_parameters", {})
    first, last = (
        np.datetime64(times[f"observation_{end}_time"], "ns").astype(np.int64) * 1e-9 for end in ("start", "end")
    )
    _, south, _, north = array.attrs["area"].area_extent
    south, north = min(south, north), max(south, north)
    array.attrs["scan_times"] = ((south, first), (north, last)) if from_south else ((north, first), (south, last))


def _mask_flagged(scene: Any, opened: Iterable[tuple[Granule, Any]], names: Mapping[int, str]) -> None:
    """Make pixels missing that ABI's quality flags call bad; satpy applies those of AMI and AHI itself."""
    import dask.array as da

    for granule, file in opened:
        name = names.get(granule.band or 0)
        if granule.reader == "abi_l1b" and name in scene:
            source = file.open() if hasattr(file, "open") else file
            quality = xr.open_dataset(source, mask_and_scale=False, chunks={}, engine="h5netcdf")["DQF"].data
            data = scene[name]
            # 0 is good, 1 usable; 2 saturated or out of range, 3 no value, 4 a focal plane that is too warm
            good = da.isin(quality.rechunk(data.data.chunks), [0, 1])
            scene[name] = data.copy(data=da.where(good, data.data, np.float32(np.nan)))


class DamagedGranuleWarning(UserWarning):
    """A granule of a scan cannot be opened; the Scene goes without it."""


def read_scene(
    files_or_urls: str | Sequence[str], *, reader: str | None = None, bands: Iterable[int] | None = None
) -> Any:
    """Open Level-1b files of one scan as a satpy.Scene with all bands loaded (lazily) and bad pixels missing.

    Args:
      files_or_urls: files, folders, patterns or URLs (of buckets, anonymously); of one scan.
      reader: satpy's; default by the names of the files.
      bands: 1-based; default all.

    Returns:
      The Scene; reflectance as satpy has it, in percent and not divided by the cosine of the solar zenith angle.
      Attribute `scan_times` of each band: ((y, seconds since 1970), (y, seconds)), a line in the projection's y.

    Raises:
      InputError: satpy is absent, a file cannot be found or opened, or they are of several scans.
    """
    import_satpy()
    inputs = [files_or_urls] if isinstance(files_or_urls, str | Path) else files_or_urls
    granules, _ = find_granules([str(one) for one in inputs], reader)
    bands = None if bands is None else tuple(bands)
    scans = [scan.require(bands) for scan in group_scans(granules)]
    if len(scans) != 1:
        titles = ", ".join(scan.title for scan in scans[:3])
        raise InputError(f"a Scene is one scan; these files are of {len(scans)} ({titles}); name the files of one")
    stack = ExitStack()
    scene, faults = open_scan(scans[0], stack.enter_context(local_files(scans[0])), bands)
    for name, fault in faults.items():
        warnings.warn(f"{name} {fault}", DamagedGranuleWarning, stacklevel=2)
    weakref.finalize(scene, stack.close)  # copies of remote files live as long as the Scene
    return scene


def scene_bands(scene: Any) -> tuple[Satellite, dict[int, Any]]:
    """The satellite of a Scene, and its bands that are loaded: number -> DataArray, ascending.

    InputError where there is none, or they are of several satellites or of one that is unknown.
    """
    arrays = [array for array in scene if array.attrs.get("wavelength") is not None and "area" in array.attrs]
    satellites = {find_satellite(str(array.attrs.get("platform_name"))) for array in arrays}
    if len(satellites) != 1:
        names = ", ".join(sorted(one.name for one in satellites)) or "no band that is loaded; scene.load([...])"
        raise InputError(f"the Scene must hold bands of one satellite; it has {names}")
    satellite = satellites.pop()
    found = {band.number: array for array in arrays if (band := find_band(satellite, array.attrs["wavelength"]))}
    return satellite, dict(sorted(found.items()))  # satpy's order is chance, and the first band's times are the tile's


def row_times(array: Any, y: np.ndarray) -> np.ndarray:
    """Times (datetime64) at coordinates y of the projection, from the attribute `scan_times`, or the scan's middle."""
    if "scan_times" in array.attrs:
        (y0, first), (y1, last) = array.attrs["scan_times"]
        seconds = first + (np.clip(y, min(y0, y1), max(y0, y1)) - y0) / (y1 - y0) * (last - first)
    else:
        start, end = (np.datetime64(array.attrs[f"{part}_time"], "ns").astype(np.int64) for part in ("start", "end"))
        seconds = np.full_like(y, (start + end) / 2e9)
    return (seconds * 1e9).astype("datetime64[ns]")


def to_reflectance(
    values: np.ndarray, attributes: Mapping[str, Any], zenith: np.ndarray, night: str = "zero"
) -> np.ndarray:
    """Bidirectional reflectance (1) of satpy's percent that is or is not divided by the sun's cosine, by attributes."""
    if attributes.get("units") == "%":
        values = values / 100
    if not any(str(name).startswith("sunz") for name in attributes.get("modifiers", ())):
        values = values / np.cos(np.radians(np.minimum(zenith, LOW_SUN)))
    low = np.float32(0 if night == "zero" else np.nan)
    return np.where((zenith > LOW_SUN) & np.isfinite(values), low, values).astype(np.float32)


def to_scene(dataset: xr.Dataset) -> Any:
    """Make a satpy.Scene of a tile or of a translation.

    Args:
      dataset: of `read_tile`, `grid_tile` or `translate`, on (lat, lon); or on (y, x) with the attribute `area`.

    Returns:
      The Scene: bands under satpy's names and full DataIDs, so that composites find them by wavelength; reflectance in
      percent, not divided by the cosine of the solar zenith angle, as satpy's readers have it (where the dataset
      does not tell the sun's place it stays divided, with the modifier sunz_corrected). Other variables on the grid
      (quality, BANDxx_std) go along under their names.

    Raises:
      InputError: satpy is absent, or the dataset has no known satellite, no grid or no band.
    """
    satpy = import_satpy()
    from satpy.dataset.dataid import DataID, default_id_keys_config

    satellite = get_satellite(str(dataset.attrs.get("satellite", "")))
    area = dataset.attrs.get("area")
    area = _tile_area(dataset) if area is None else area
    identities = [identity.to_dict() for identity in reader_bands(READER_OF[satellite.instrument])]
    names = {band.number: one for one in identities if (band := find_band(satellite, one["wavelength"]))}
    zenith = dataset["solar_zenith"].data if "solar_zenith" in dataset else solar_zenith(dataset)
    cosine = None if zenith is None else np.cos(np.radians(zenith)).clip(0)
    shared = {key: dataset.attrs[key] for key in KEPT if key in dataset.attrs} | satellite.platform | {"area": area}
    if "time" in dataset.coords and "start_time" not in shared:
        shared["start_time"] = shared["end_time"] = dataset["time"].values.astype("datetime64[us]").item()
    scene, bands = satpy.Scene(), {band.name: band for band in satellite.bands}
    resolution = round(float(abs(area.pixel_size_x)) * (111_319.5 if area.crs.is_geographic else 1))
    for name, variable in dataset.data_vars.items():
        if variable.ndim != 2:
            continue
        attributes: dict[str, Any] = dict(variable.attrs) | shared | {"resolution": resolution}
        data, band, key = variable.data, bands.get(str(name)), str(name)
        attributes["name"] = key
        if band is not None and band.number in names:
            words = names[band.number]
            is_reflectance = band.kind == "reflectance"
            modifiers = ("sunz_corrected",) if is_reflectance and cosine is None else ()
            identity = {**{part: words[part] for part in ("name", "wavelength", "calibration")}, "modifiers": modifiers}
            if is_reflectance:
                data = data * 100 if cosine is None else data * cosine * 100
            attributes |= identity | {"units": "%" if is_reflectance else "K"}
            key = DataID(default_id_keys_config, resolution=resolution, **identity)
        import dask.array as da

        scene[key] = xr.DataArray(da.asarray(data), dims=("y", "x"), attrs=attributes)
    if not any(name in dataset for name in bands):
        raise InputError(f"the dataset has no band of {satellite.name}")
    return scene


def _tile_area(dataset: xr.Dataset) -> Any:
    from pyresample import AreaDefinition

    if not {"lat", "lon"} <= set(dataset.dims):
        raise InputError("the dataset is on no grid that is known: dimensions lat and lon, or an attribute area")
    tile, shape = dataset.attrs.get("tile", ""), (dataset.sizes["lat"], dataset.sizes["lon"])
    latitude, longitude = dataset["lat"].values, dataset["lon"].values
    step = (latitude[0] - latitude[-1]) / (len(latitude) - 1) if len(latitude) > 1 else geometry.TILE_DEGREES / 300
    half = step / 2
    extent = (longitude[0] - half, latitude[-1] - half, longitude[-1] + half, latitude[0] + half)
    return AreaDefinition(
        tile or "tile", "GeoNEX grid", "", {"proj": "longlat", "datum": "WGS84"}, *shape[::-1], extent
    )
