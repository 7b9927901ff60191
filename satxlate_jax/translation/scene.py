"""Translate a satpy Scene on its own area, lazily and in blocks: whole disks in bounded memory."""

from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from satxlate_jax.geometry import solar_position
from satxlate_jax.instruments import get_satellite
from satxlate_jax.sources.scene import KEPT, row_times, scene_bands, to_reflectance
from satxlate_jax.translation.band_stacking import NOISE_TITLE, describe_band, describe_std
from satxlate_jax.translation.flags import EXTRAPOLATED_BANDS, QUALITY, describe_extrapolated


def translate_on_area(translator: Any, scene: Any, to: str) -> xr.Dataset:
    """Translate a loaded Scene of one satellite, of `read_scene` or of satpy, on the area of its coarsest band.

    Returns:
      As `TileTranslator.translate` gives of a Dataset, of dask arrays on (y, x), with `solar_zenith` and the attribute
      `area`. Computing all variables at once computes each block once.

    Raises:
      InputError: the run knows one of the satellites not, or a VAE-GAN needs a band that is not loaded. A spectral flow
        goes without: it infers what the target has from the bands that are there.
    """
    import dask.array as da

    satellite, found = scene_bands(scene)
    translator = translator.ready_for(satellite.name)
    source, target = translator.domain(satellite.name), translator.domain(to)
    translator, source = translator.with_bands(source, found, target)
    arrays = [found[band.number] for band in translator.bands(source)]
    if len({array.shape for array in arrays}) > 1:
        names = [array.attrs["_satpy_id"] for array in arrays]
        coarsest = max((array.attrs["area"] for array in arrays), key=lambda area: abs(area.pixel_size_x))
        on_one = scene.resample(coarsest, datasets=names, resampler="native")
        arrays = [on_one[name] for name in names]
    area = arrays[0].attrs["area"]
    y = area.area_extent[3] - (np.arange(area.height) + 0.5) * area.pixel_size_y
    seconds = row_times(arrays[0], y).astype(np.int64) * 1e-9
    longitude, latitude = area.get_lonlats(chunks=arrays[0].data.chunks)
    channels = [array.data for array in arrays] + [latitude, longitude]
    channels.append(da.broadcast_to(da.from_array(seconds - seconds[0])[:, None], area.shape))
    align = getattr(translator.network, "alignment", translator.network.stride)
    rim = -(-translator.radius // align) * align
    side = max((translator.block - 2 * rim) // align, -(-rim // align), 1) * align
    chunks = [_cut(size, side, rim) for size in area.shape]
    stacked = da.stack([channel.astype(np.float32) for channel in channels], -1).rechunk((*chunks, -1))
    depth = {axis: rim * (len(sizes) > 1) for axis, sizes in enumerate(chunks)} | {2: 0}
    padded = da.overlap.overlap(stacked, depth, boundary="none")
    names = [band.name for band in translator.bands(target)]
    flags = describe_extrapolated(translator.bands(target))
    described: dict[str, Any] = {"quality": QUALITY, **flags}
    if translator.network.is_calibrated:
        names += [*(f"{name}_std" for name in names), *flags]
    names += ["quality", "solar_zenith"]
    conventions = [{key: array.attrs.get(key, ()) for key in ("units", "modifiers")} for array in arrays]
    translate = partial(_translate_block, translator, source, target, seconds[0], names, conventions)
    made = padded.map_blocks(translate, dtype=np.float32, chunks=(*padded.chunks[:2], (len(names),)))
    made = da.overlap.trim_internal(made, depth, boundary="none")
    origins = translator.network.origins(source, target)
    for band, origin in zip(translator.bands(target), origins, strict=True):
        described[band.name] = describe_band(band, target, origin)
        if translator.network.is_calibrated:
            title = NOISE_TITLE if origin == "passed on" else translator.std_title(source, target)
            described[f"{band.name}_std"] = describe_std(band, target, title)
            described[band.name]["ancillary_variables"] = f"{band.name}_std quality {EXTRAPOLATED_BANDS}"
    variables = {name: (("y", "x"), made[..., index], described.get(name, {})) for index, name in enumerate(names)}
    kept = {key: arrays[0].attrs[key] for key in KEPT if key in arrays[0].attrs}
    attributes = {"satellite": get_satellite(target).name, "source_satellite": satellite.name, "area": area}
    return xr.Dataset(variables, attrs=attributes | kept)


def _cut(size: int, side: int, rim: int) -> tuple[int, ...]:
    """Blocks along an axis, each from a multiple of `side`; a rest narrower than the rim joins the block before.

    Left to dask, it would take pixels from that block and begin where no wavelet does.
    """
    count = max((size + side - rim) // side, 1)
    return (*(side,) * (count - 1), size - side * (count - 1))


def _translate_block(
    translator: Any, source: str, to: str, start: float, names: list[str], conventions: list[Any], values: np.ndarray
) -> np.ndarray:
    """Translate one block [h, w, channel]: the source's bands as satpy has them, latitude, longitude, seconds."""
    latitude, longitude, seconds = np.moveaxis(values[..., -3:], -1, 0)
    seen = np.isfinite(latitude) & np.isfinite(longitude)
    latitude, longitude = (np.where(seen, place, np.nan) for place in (latitude, longitude))
    times = ((start + seconds.astype(float)) * 1e9).astype("datetime64[ns]")
    zenith, _ = solar_position(times, latitude, longitude)
    tile = xr.Dataset(
        {"solar_zenith": (("y", "x"), zenith)},
        {"lat": (("y", "x"), latitude), "lon": (("y", "x"), longitude)},
        {"satellite": get_satellite(source).name},
    )
    bands = translator.bands(source)
    for index, band in enumerate(bands):
        field = values[..., index]
        if band.kind == "reflectance":
            field = to_reflectance(field, conventions[index], zenith)
        tile[band.name] = (("y", "x"), field.astype(np.float32), {"units": band.unit})
    output = np.full((*values.shape[:2], len(names)), np.nan, np.float32)
    output[..., -1] = zenith
    if all(np.isfinite(tile[band.name].values).any() for band in bands):
        made = translator.translate(tile, to, source=source)
        for index, name in enumerate(names[:-1]):
            output[..., index] = made[name].values
    return output
