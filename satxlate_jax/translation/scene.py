"""Translate a satpy Scene on its own area, lazily and in blocks: whole disks in bounded memory."""

from typing import Any

import numpy as np
import xarray as xr

from satxlate_jax.geometry import solar_position
from satxlate_jax.instruments import get_satellite
from satxlate_jax.sources.scene import KEPT, row_times, scene_bands, to_reflectance, to_scene
from satxlate_jax.translation.band_stacking import EXTRAPOLATED, QUALITY, STD_TITLE, describe_band, describe_std


def translate_scene(translator: Any, scene: Any, to: str) -> Any:
    """A Scene of the target's bands on the Scene's own area (the coarsest of its bands); see `translate_on_area`."""
    return to_scene(translate_on_area(translator, scene, to))


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
    calibrated = [f"{name}_std" for name in names] + ["extrapolated"] if translator.network.is_calibrated else []
    names = [*names, *calibrated, "quality", "solar_zenith"]
    block = _Block(translator, source, target, seconds[0], names, [array.attrs for array in arrays])
    made = padded.map_blocks(block, dtype=np.float32, chunks=(*padded.chunks[:2], (len(names),)))
    made = da.overlap.trim_internal(made, depth, boundary="none")
    described, copied = {}, {theirs for _, theirs in translator.network.copied(source, target)}
    for index, band in enumerate(translator.bands(target)):
        described[band.name] = describe_band(band, target, index in copied)
        described[f"{band.name}_std"] = describe_std(band, target, STD_TITLE)
    described |= {"quality": dict(QUALITY), "extrapolated": dict(EXTRAPOLATED)}
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


class _Block:
    """Translates one block [h, w, channel]: the source's bands as satpy has them, latitude, longitude, seconds."""

    def __init__(self, translator: Any, source: str, to: str, start: float, names: list[str], attributes: list[Any]):
        self.translator, self.source, self.to, self.start, self.names = translator, source, to, start, names
        self.attributes = [{key: each.get(key, ()) for key in ("units", "modifiers")} for each in attributes]

    def __call__(self, values: np.ndarray) -> np.ndarray:
        latitude, longitude, seconds = np.moveaxis(values[..., -3:], -1, 0)
        seen = np.isfinite(latitude) & np.isfinite(longitude)
        latitude, longitude = (np.where(seen, place, np.nan) for place in (latitude, longitude))
        times = ((self.start + seconds.astype(float)) * 1e9).astype("datetime64[ns]")
        zenith, _ = solar_position(times, latitude, longitude)
        tile = xr.Dataset(
            {"solar_zenith": (("y", "x"), zenith)},
            {"lat": (("y", "x"), latitude), "lon": (("y", "x"), longitude)},
            {"satellite": get_satellite(self.source).name},
        )
        for index, band in enumerate(self.translator.bands(self.source)):
            field = values[..., index]
            if band.kind == "reflectance":
                field = to_reflectance(field, self.attributes[index], zenith)
            tile[band.name] = (("y", "x"), field.astype(np.float32), {"units": band.unit})
        output = np.full((*values.shape[:2], len(self.names)), np.nan, np.float32)
        output[..., self.names.index("solar_zenith")] = zenith
        if all(np.isfinite(tile[band.name].values).any() for band in self.translator.bands(self.source)):
            made = self.translator.translate(tile, self.to, source=self.source)
            for index, name in enumerate(self.names[:-1]):
                output[..., index] = made[name].values
        return output
