"""The flags of a translation's pixels: quality, and where a band's standard deviation does not hold.

Source: NetCDF Climate and Forecast Metadata Conventions 1.8, section 3.5 (flags).
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from satxlate_jax.instruments import Band

QUALITY_BITS = {"input_missing": 1, "night": 2, "limited": 4}
QUALITY = {
    "long_name": "what limits the synthesised bands at this pixel",
    "standard_name": "quality_flag",
    "flag_masks": np.array(list(QUALITY_BITS.values()), np.int8),
    "flag_meanings": " ".join(QUALITY_BITS),
}
EXTRAPOLATED = {
    "long_name": "inputs of at least one band unlike those of the training: its deviation is not calibrated",
    "flag_values": np.array([0, 1], np.int8),
    "flag_meanings": "not_flagged extrapolated",
}
EXTRAPOLATED_BANDS = "extrapolated_bands"
"""The name of the variable in which each band has a bit; `extrapolated` tells of any band."""

_TITLE = "bands whose inputs are unlike those of the training: their standard deviations are not calibrated"
FEW = 0.005  # share of the pixels that is not worth a word


def describe_bits(bands: Sequence[Band], title: str) -> dict[str, Any]:
    """The attributes of a variable in which each band has a bit."""
    masks = 2 ** np.arange(len(bands), dtype=np.int32)
    return {"long_name": title, "flag_masks": masks, "flag_meanings": " ".join(band.name for band in bands)}


def pack_bits(where: np.ndarray) -> np.ndarray:
    """Such a variable, int32 [...], of what holds for each band, bool [..., band]."""
    return where @ (2 ** np.arange(where.shape[-1], dtype=np.int32))


def unpack_bits(variable: xr.DataArray) -> dict[str, np.ndarray]:
    """Band -> where it has its bit in a variable, bool."""
    names, values = variable.attrs["flag_meanings"].split(), variable.values.astype(np.int32)
    return {name: values & bit != 0 for name, bit in zip(names, np.ravel(variable.attrs["flag_masks"]), strict=True)}


def describe_extrapolated(bands: Sequence[Band]) -> dict[str, dict[str, Any]]:
    """The attributes of both variables that tell where standard deviations do not hold."""
    return {"extrapolated": EXTRAPOLATED, EXTRAPOLATED_BANDS: describe_bits(bands, _TITLE)}


def flag_extrapolated(where: np.ndarray, bands: Sequence[Band]) -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
    """Field and attributes of both, of where each band's inputs are unlike the training's, bool [..., band]."""
    fields = where.any(-1).astype(np.int8), pack_bits(where)
    described = describe_extrapolated(bands)
    return dict(zip(described, zip(fields, described.values(), strict=True), strict=True))


def select_variables(made: xr.Dataset, names: Collection[str]) -> xr.Dataset:
    """The variables of a translation that have these names; the flags then tell of the bands among them alone."""
    chosen = made[[name for name in made if name in names]]
    if EXTRAPOLATED_BANDS not in made:
        return chosen
    bits = made[EXTRAPOLATED_BANDS]
    masks = dict(zip(bits.attrs["flag_meanings"].split(), np.ravel(bits.attrs["flag_masks"]), strict=True))
    masks = {name: mask for name, mask in masks.items() if name in names}
    described = {"flag_masks": np.array([*masks.values()], np.int32), "flag_meanings": " ".join(masks)}
    flagged = (bits.fillna(0).astype(np.int32) & sum(masks.values())).assign_attrs(bits.attrs | described)
    is_far = (flagged != 0).astype(np.int8).drop_attrs().assign_attrs(EXTRAPOLATED)
    told = {"extrapolated": is_far, EXTRAPOLATED_BANDS: flagged}
    return chosen.assign({name: flags for name, flags in told.items() if name in names})


@dataclass
class ExtrapolatedShare:
    """The share of the pixels of translations that is flagged, of any band and of each."""

    translations: int = 0
    any_band: float = 0.0  # sums over the translations
    bands: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, made: xr.Dataset) -> "ExtrapolatedShare":
        """Take in a translation; one without flags by band counts as not flagged."""
        self.translations += 1
        if EXTRAPOLATED_BANDS in made:
            seen = {
                name: np.isfinite(made[name].values) for name in unpack_bits(made[EXTRAPOLATED_BANDS]) if name in made
            }
            anywhere = np.any([*seen.values()], axis=0)
            self.any_band += float((made["extrapolated"].values == 1).sum() / max(anywhere.sum(), 1))
            for name, where in unpack_bits(made[EXTRAPOLATED_BANDS]).items():
                own = seen.get(name, np.zeros(1, bool))
                self.bands[name] += float(where.sum() / max(own.sum(), 1)) if name in made else 0.0
        return self

    def of_band(self, name: str) -> float:
        """The share of a band."""
        return self.bands[name] / max(self.translations, 1)

    def __str__(self) -> str:
        """In words; nothing where few pixels are flagged."""
        if self.any_band <= FEW * self.translations:
            return ""
        shares = {name: self.of_band(name) for name in self.bands}
        listed = ", ".join(f"{name} {share:.1%}" for name, share in shares.items() if share >= FEW / 10)
        known = "of the pixels, whose inputs are unlike the training's: standard deviations do not hold there"
        return f"flagged as extrapolated: {listed} {known}"
