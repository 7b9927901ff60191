"""A tile's bands <-> one array: which bands, in which order, in which unit, and what they say of themselves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from satxlate_jax.errors import InputError
from satxlate_jax.observations.satellites import Band, get_satellite
from satxlate_jax.translation.missing import FLAGS

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


def stack_bands(tile: xr.Dataset, bands: Sequence[Band]) -> np.ndarray:
    """A tile's bands as one array.

    Args:
      tile: with BANDxx (lat, lon).
      bands: which, in order.

    Returns:
      float32 [h, w, band] in each band's unit, NaN where missing.

    Raises:
      InputError: a band is absent, wholly missing, or in another unit.
    """
    name = tile.attrs.get("source") or "the tile"
    for band in bands:
        if band.name not in tile:
            raise InputError(f"{name} has no {band.name} ({band.wavelength:g} um), which the network needs as input")
        if tile[band.name].ndim != 2:
            raise InputError(f"{band.name} of {name} must be (lat, lon), not {tile[band.name].dims}")
    fields = [np.asarray(tile[band.name].values, np.float32) for band in bands]
    if len({field.shape for field in fields}) > 1:
        shapes = ", ".join(f"{band.name} {field.shape}" for band, field in zip(bands, fields, strict=True))
        raise InputError(f"the bands of {name} lie on different grids ({shapes}); read_tile puts them on one")
    x = np.stack(fields, axis=-1)
    check_values(x, bands, name, [tile[band.name].attrs.get("units", band.unit) for band in bands])
    return x


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
