"""A tile's bands <-> one array: which bands, in which order, in which unit, and what they say of themselves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from satxlate_jax.cli import InputError
from satxlate_jax.instruments import Band, get_satellite
from satxlate_jax.translation.layout import Layout, as_plain, find_layout
from satxlate_jax.translation.missing import FLAGS, find_night, limit

STANDARD_NAMES = {
    "reflectance": "toa_bidirectional_reflectance",
    "brightness_temperature": "toa_brightness_temperature",
}

# kind -> what the median of a band may be, and what is wanted, in words: catches counts, percent and Celsius
_PLAUSIBLE = {
    "reflectance": (-0.5, 2.0, "reflectance from 0 to about 1"),
    "brightness_temperature": (130.0, 450.0, "brightness temperature in K"),
}
_SAME_UNIT = {"1": ("1", "", "unitless", "dimensionless"), "K": ("K", "kelvin", "Kelvin")}


def stack_bands(tile: xr.Dataset, bands: Sequence[Band]) -> tuple[np.ndarray, Layout]:
    """A tile's bands as one array.

    Args:
      tile: with BANDxx on dimensions that `layout.find_layout` understands.
      bands: which, in order.

    Returns:
      float32 [row, column, band] in each band's unit, NaN where missing; and how the first band lies.

    Raises:
      InputError: a band is absent, wholly missing, in another unit or on other dimensions than the first.
    """
    name = tile.attrs.get("source") or "the tile"
    for band in bands:
        if band.name not in tile:
            raise InputError(f"{name} has no {band.name} ({band.wavelength:g} um), which the network needs as input")
    layout = find_layout(tile, tile[bands[0].name].dims, name)
    for band in bands:
        sizes = tile[band.name].sizes
        longer = [dim for dim, size in sizes.items() if size > 1 and dim not in (layout.rows, layout.columns)]
        if layout.rows in sizes and layout.columns in sizes and longer:
            raise InputError(
                f"{band.name} of {name} has {sizes[longer[0]]} elements along '{longer[0]}'; translate one at a time, "
                f"such as tile.isel({longer[0]}=0)"
            )
        if not layout.fits(tile[band.name]):
            shapes = ", ".join(f"{band.name} {dict(tile[band.name].sizes)}" for band in bands)
            raise InputError(f"the bands of {name} lie on different grids ({shapes}); read_tile puts them on one")
    fields = [as_plain(layout.upright(tile[band.name]).data, f"{band.name} of {name}") for band in bands]
    x = np.stack(fields, axis=-1)
    check_values(x, bands, name, [tile[band.name].attrs.get("units", band.unit) for band in bands])
    return x, layout


def unstack_bands(
    values: np.ndarray,
    missing: np.ndarray,
    tile: xr.Dataset,
    layout: Layout,
    bands: Sequence[Band],
    target: str,
    spread: np.ndarray | None = None,
    draws: int = 0,
) -> xr.Dataset:
    """Synthesised bands on the grid of the tile they were made from, limited, without reflectance at night.

    Args:
      values: [row, column, band] in each band's unit, NaN where missing.
      missing: bool [row, column], where an input band is missing.
      tile: the input.
      layout: of the input; the output lies likewise, with the input's coordinates.
      bands: in the order of the last axis.
      target: the satellite they are of.
      spread: [row, column, band], the standard deviation over draws.
      draws: of the latent noise, where there is a spread.
    """
    values, limited = limit(values, bands)
    quality = np.where(missing, FLAGS["input_missing"], 0) | np.where(limited.any(-1), FLAGS["limited"], 0)
    night = find_night(layout.where_and_when(tile))
    night = np.zeros(missing.shape, bool) if night is None else night
    quality |= np.where(night, FLAGS["night"], 0)
    variables = {}
    for channel, band in enumerate(bands):
        field = values[..., channel].astype(np.float32)
        if band.kind == "reflectance":
            field[night] = np.nan
        attributes = describe_band(band, target) | {"limited_pixels": int(limited[..., channel].sum())}
        variables[band.name] = (*layout.put_back(field), attributes)
        if spread is not None:
            field = np.where(np.isnan(field), np.nan, spread[..., channel]).astype(np.float32)
            variables[f"{band.name}_spread"] = (*layout.put_back(field), describe_spread(band, target, draws))
            attributes["ancillary_variables"] = f"{band.name}_spread quality"
    variables["quality"] = (*layout.put_back(quality.astype(np.int8)), describe_quality())
    return xr.Dataset(variables).assign_coords(layout.coordinates(tile))


def check_values(x: np.ndarray, bands: Sequence[Band], name: str, units: Sequence[str] | None = None) -> None:
    """Refuses bands that are wholly missing or cannot be in the unit they must be in.

    Args:
      x: [..., band] of one image.
      bands: in the order of the last axis.
      name: what to call it in a message.
      units: as stated, one per band; default as they should be.

    Raises:
      InputError: names the band.
    """
    for channel, band in enumerate(bands):
        seen = x[..., channel][np.isfinite(x[..., channel])]
        if not seen.size:
            raise InputError(
                f"{band.name} ({band.wavelength:g} um) of {name} is entirely missing, and the network needs it as input"
            )
        low, high, wanted = _PLAUSIBLE[band.kind]
        middle, unit = float(np.median(seen)), units[channel] if units else band.unit
        if unit not in _SAME_UNIT[band.unit] or not low <= middle <= high:
            raise InputError(f"{band.name} of {name} must be {wanted}; it is in '{unit}' with a median of {middle:.4g}")


def describe_band(band: Band, satellite: str) -> dict[str, Any]:
    """What a synthesised band's variable says of itself: name, unit, wavelength (um), valid range."""
    instrument = get_satellite(satellite).instrument
    kind = band.kind.replace("_", " ")
    return {
        "long_name": f"{instrument} band {band.number} ({band.wavelength:g} um) top of atmosphere {kind}, synthesised",
        "standard_name": STANDARD_NAMES[band.kind],
        "units": band.unit,
        "wavelength": band.wavelength,
        "wavelength_units": "um",
        "valid_range": np.array(band.valid_range, np.float32),
    }


def describe_spread(band: Band, satellite: str, draws: int) -> dict[str, Any]:
    """What the spread of a synthesised band says of itself."""
    instrument = get_satellite(satellite).instrument
    words = f"standard deviation over {draws} draws of the latent noise"
    return {"long_name": f"{instrument} band {band.number} ({band.wavelength:g} um) {words}", "units": band.unit}


def describe_quality() -> dict[str, Any]:
    """What the quality variable says of itself."""
    return {
        "long_name": "what limits the synthesised bands at this pixel",
        "standard_name": "quality_flag",
        "flag_masks": np.array(list(FLAGS.values()), np.int8),
        "flag_meanings": " ".join(FLAGS),
    }
