"""Datasets of bands, on GeoNEX tiles or a sensor's own grid, to satpy Scenes."""

from typing import Any

import numpy as np
import xarray as xr

from satxlate_jax import geometry
from satxlate_jax.cli import InputError
from satxlate_jax.instruments import get_satellite
from satxlate_jax.l1g.tile import solar_zenith
from satxlate_jax.sources.scene import READER_OF, find_band, import_satpy, reader_bands

# of the source's bands that a Scene's other users need: when and from where
KEPT = ("start_time", "end_time", "orbital_parameters", "scan_times")


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
    half = (
        geometry.TILE_DEGREES / 300 / 2
        if len(latitude) == 1
        else (latitude[0] - latitude[-1]) / (len(latitude) - 1) / 2
    )
    extent = (longitude[0] - half, latitude[-1] - half, longitude[-1] + half, latitude[0] + half)
    return AreaDefinition(
        tile or "tile", "GeoNEX grid", "", {"proj": "longlat", "datum": "WGS84"}, *shape[::-1], extent
    )
