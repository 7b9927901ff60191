"""`satxlate translate` of Level-1b granules: CF netCDF on the sensor's own grid, or on GeoNEX tiles."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from tqdm import tqdm

from satxlate_jax.cli import InputError
from satxlate_jax.geometry import parse_tile
from satxlate_jax.sources.granule_files import Granule, Scan, find_granules, group_scans, is_url, recognise
from satxlate_jax.sources.gridding import grid_tile
from satxlate_jax.sources.scene import import_satpy, local_files, open_scan, single_threaded_dask
from satxlate_jax.translation.flags import EXTRAPOLATED_BANDS, QUALITY_BITS, select_variables
from satxlate_jax.translation.netcdf import describe_tile, is_made_by, write_netcdf, write_tile_netcdf
from satxlate_jax.translation.scene import translate_on_area
from satxlate_jax.translation.translate import TileTranslator

CHUNK = 512  # pixels along a side of a chunk


# what is not looked at is not unlike anything
_OFF_DISK = {"quality": QUALITY_BITS["input_missing"], "extrapolated": 0, EXTRAPOLATED_BANDS: 0}


def are_granules(inputs: Sequence[str]) -> bool:
    """Tell if inputs are Level-1b: URLs, files named so, or a folder whose first file of a known kind is."""
    for place in inputs:
        names = (path.name for path in sorted(Path(place).rglob("*"))) if Path(place).is_dir() else [place]
        if is_url(place) or any(recognise(name) for name in names):
            return True
    return False


def translate_granules(
    translator: TileTranslator, options: argparse.Namespace, names: Sequence[str], command: str
) -> tuple[list[Path], int, list[dict[str, str]]]:
    """Translate scans and write variables of those names; what this checkpoint made already stays.

    Of the command's options it takes inputs, to, output, tiles, overwrite; `command` is for the history. Returns
    the files written, how many were there, and file and reason of each failure.
    """
    import_satpy()
    for tile in options.tiles or ():
        parse_tile(tile)  # InputError where it is none
    granules, strange = find_granules(options.inputs)
    failures, written, kept = list[dict[str, str]](), list[Path](), 0
    unread: set[int] = set()
    for scan in tqdm(group_scans(granules), f"translate to {options.to}", unit="scan", disable=None):
        outputs = {tile: _path(Path(options.output), scan, options.to, tile) for tile in options.tiles or ("",)}
        waiting = {
            tile: path for tile, path in outputs.items() if options.overwrite or not is_made_by(translator, path, names)
        }
        kept += len(outputs) - len(waiting)
        if not waiting:
            continue
        try:
            platform = scan.granules[0].platform
            ready = translator.ready_for(platform, options.as_instrument)
            domain = ready.domain(platform or _only_source(translator, options.to))
            if domain == ready.domain(options.to):
                raise InputError(f"is of {domain}, the satellite to make; name another one as --to")
            bands = [band.number for band in ready.bands(domain)]
            needed = scan.require(bands)
            unread |= {granule.band for granule in scan.granules if granule.band} - {*bands}
            with local_files(needed, str(options.output)) as files:
                scene, faults = open_scan(needed, files, bands)
                failures += [{"file": name, "reason": reason} for name, reason in faults.items()]
                for name, reason in faults.items():
                    tqdm.write(f"translated without it: {name} {reason}")
                read = ", ".join(granule.name for granule in needed.granules if granule.name not in faults)
                for tile, path in waiting.items():
                    to = options.to
                    made = _translate_tile(ready, scene, tile, to) if tile else translate_on_area(ready, scene, to)
                    if not tile:
                        sound = [one for one in needed.granules if one.name not in faults]
                        _tell_of_missing_bands(scan.title, bands, sound)
                    made = select_variables(made, (*names, "solar_zenith")).assign_attrs(source=read)
                    if tile:
                        write_tile_netcdf(made, path, metadata=ready.metadata, command=command)
                    else:
                        _write_on_area(made, ready, path, command)
                    written.append(path)
        except InputError as error:
            reason = str(error).removeprefix(f"{scan.title}: ").removeprefix(f"{scan.title} ")
            failures.append({"file": scan.title, "reason": reason})
            tqdm.write(f"skipped: {scan.title}: {reason}")
    if unread and written:
        print(f"measured, too, but not read by the run: bands {', '.join(map(str, sorted(unread)))}")
    return written, kept, failures + [{"file": place, "reason": reason} for place, reason in strange]


def _translate_tile(translator: TileTranslator, scene: Any, tile: str, to: str) -> xr.Dataset:
    gridded = grid_tile(scene, tile)
    if not any(gridded[name].notnull().any() for name in gridded if str(name).startswith("BAND")):
        raise InputError(f"shows nothing of {tile}")
    return translator.translate(gridded, to)


def _tell_of_missing_bands(title: str, bands: Iterable[int], read: Iterable[Granule]) -> None:
    held = {granule.band for granule in read}
    if None not in held and (missing := sorted({*bands} - held)):  # a file of all bands does not say which it has
        lacking = f"{title} lacks band{'s' * (len(missing) > 1)} {', '.join(map(str, missing))}"
        they = "they are" if len(missing) > 1 else "it is"
        known = "which the run was trained with"
        tqdm.write(f"{lacking}, {known}: {they} inferred, too, and all inferred bands are flagged as extrapolated")


def _only_source(translator: TileTranslator, to: str) -> str:
    (source, *others) = [name for name in translator.satellites if name != translator.domain(to)]
    if others:
        raise InputError("names of these files do not say which satellite they are of")
    return source


def _path(folder: Path, scan: Scan, to: str, tile: str) -> Path:
    first = scan.granules[0]
    parts = (first.platform or first.reader, first.scene, f"{scan.start:%Y%m%d_%H%M%S}", tile, to)
    return folder / ("_".join(part for part in parts if part) + ".nc")


def _write_on_area(made: xr.Dataset, translator: TileTranslator, path: Path, command: str) -> None:
    """Write what `translate_on_area` gives as CF netCDF with the sensor's projection, block by block, atomically.

    Coordinates x and y are scanning angles in radians, as CF has them of the grid mapping geostationary. InputError
    where the file cannot be written, or the area is not of a geostationary satellite.
    """
    area = made.attrs["area"]
    mapping = area.crs.to_cf()
    if mapping["grid_mapping_name"] != "geostationary":
        raise InputError("the Scene is not on a geostationary grid; grid it to tiles with --tiles")
    height = mapping["perspective_point_height"]
    x, y = (np.asarray(vector) / height for vector in area.get_proj_vectors())
    made = made.assign_attrs(checkpoint_run=translator.run, checkpoint_step=translator.step)
    made["solar_zenith"] = made["solar_zenith"].assign_attrs(units="degree", standard_name="solar_zenith_angle")
    for name in _OFF_DISK.keys() & made.keys():
        made[name] = made[name].fillna(_OFF_DISK[name]).astype(np.int32 if name == EXTRAPOLATED_BANDS else np.int8)
    words = {"units": "rad", "long_name": "scanning angle"}
    described = describe_tile(made, translator.metadata, command).assign_coords(
        x=("x", x, words | {"standard_name": "projection_x_coordinate", "axis": "X"}),
        y=("y", y, words | {"standard_name": "projection_y_coordinate", "axis": "Y"}),
        time=((), np.datetime64(made.attrs["start_time"], "ns"), {"standard_name": "time", "axis": "T"}),
    )
    kept = {key: value for key, value in mapping.items() if key != "crs_wkt"}  # its axes are in metres
    described["crs"] = xr.Variable((), np.int32(0), kept)
    with single_threaded_dask():
        write_netcdf(described, path, ("y", "x"), CHUNK, {})
