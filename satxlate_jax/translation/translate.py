"""A tile of one satellite -> the same tile as another satellite would see it.

translator = satxlate_jax.load("RUN")
other = translator.translate(satxlate_jax.read_tile(path), to="H8")
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from satxlate_jax.checkpoints import Checkpoints
from satxlate_jax.errors import InputError
from satxlate_jax.models.translator import Translator, build_translator
from satxlate_jax.observations.normalization import denormalize, normalize
from satxlate_jax.observations.satellites import Band, get_satellite
from satxlate_jax.translation.missing import (
    FLAGS,
    NIGHT_ZENITH,
    blank_impossible_temperatures,
    fill_missing,
    limit,
)

STANDARD_NAMES = {
    "reflectance": "toa_bidirectional_reflectance",
    "brightness_temperature": "toa_brightness_temperature",
}


@partial(jax.jit, static_argnums=(0, 3, 4))
def _translate(translator: Translator, params: Any, x: jax.Array, source: str, target: str) -> jax.Array:
    z = translator.encode(params, x, source)
    return translator.decode(params, z, target, translator.skip_channels(x, source))


def _network(translator: Translator, params: Any, x: np.ndarray, source: str, target: str) -> np.ndarray:
    """Runs images of any size [n, h, w, band] through the network: padded to its stride, cropped after."""
    height, width = x.shape[1:3]
    below, right = -height % translator.stride, -width % translator.stride
    padded = np.pad(x, ((0, 0), (0, below), (0, right), (0, 0)), mode="edge") if below or right else x
    return np.asarray(_translate(translator, params, padded, source, target))[:, :height, :width]


def translate_array(
    params: Mapping[str, Any],
    translator: Translator,
    x: np.ndarray,
    source: str,
    target: str,
    statistics: Mapping[str, Mapping[str, Any]],
    rule: str = "filled",
) -> np.ndarray:
    """Translates one image in physical units, without noise on the latent field.

    Args:
      params: the generator's, a nested dict.
      translator: the network they belong to.
      x: [h, w, band] of the source, in the order of the translator's bands, each in its unit; NaN where missing.
      source: satellite of x.
      target: satellite to make.
      statistics: satellite -> {'mean': [band], 'std': [band]} in each band's unit, as a checkpoint's facts hold them.
      rule: what missing and impossible values become. 'filled': missing pixels are filled from their neighbourhood
        first and are NaN after, so that they cost only themselves. 'released': as the released code does: NaN spreads
        through the network, and brightness temperatures below 180 K or above 350 K become NaN.

    Returns:
      float64 [h, w, target band] in each band's unit, not limited to any range under 'filled'.
    """
    if rule not in ("filled", "released"):
        raise ValueError(f"unknown rule '{rule}'; there are 'filled' and 'released'")
    filled, missing = fill_missing(x) if rule == "filled" else (x, None)
    normalized = normalize(filled, np.asarray(statistics[source]["mean"]), np.asarray(statistics[source]["std"]))
    output = _network(translator, params, normalized[None], source, target)[0]
    values = denormalize(output, np.asarray(statistics[target]["mean"]), np.asarray(statistics[target]["std"]))
    if missing is not None:
        values[missing] = np.nan
        return values
    return blank_impossible_temperatures(values, _bands(translator, target))


def _bands(translator: Translator, name: str) -> list[Band]:
    satellite = get_satellite(name)
    return [satellite.band(number) for number in translator.bands[name]]


class TileTranslator:
    """A trained generator that takes and gives physical units.

    Attributes:
      params: the generator's parameters, a nested dict.
      facts: what the checkpoint says of itself: config, bands, normalisation, step, versions.
      network: the networks, as functions of `params`.
      run: name of the run's folder.
    """

    def __init__(self, params: Mapping[str, Any], facts: Mapping[str, Any], run: str):
        self.params, self.facts, self.run = params, facts, run
        config = facts["config"]
        self.network = build_translator(
            config["generator"],
            {name: tuple(entry["bands"]) for name, entry in facts["satellites"].items()},
            skips={name: tuple(entry.get("skips", ())) for name, entry in facts["satellites"].items()},
            precision=config.get("precision", "float32"),
        )

    @property
    def satellites(self) -> tuple[str, ...]:
        """The satellites it translates between."""
        return tuple(self.facts["satellites"])

    @property
    def step(self) -> int:
        """The training step of the checkpoint."""
        return int(self.facts["step"])

    def bands(self, satellite: str) -> tuple[Band, ...]:
        """The bands it reads or makes of a satellite.

        Raises:
          InputError: the checkpoint does not know that satellite.
        """
        return tuple(_bands(self.network, self.domain(satellite)))

    def domain(self, satellite: str) -> str:
        """The checkpoint's own name for a satellite: 'H8' finds 'H8', or else the only 'H8_...' there is.

        Raises:
          InputError: the checkpoint does not know that satellite.
        """
        if satellite in self.satellites:
            return satellite
        labelled = [name for name in self.satellites if name.split("_", 1)[0] == satellite]
        if len(labelled) == 1:
            return labelled[0]
        raise InputError(
            f"run '{self.run}' translates between {', '.join(self.satellites)}, not '{satellite}'; name one of those"
        )

    def translate(self, tile: xr.Dataset, to: str, *, source: str | None = None) -> xr.Dataset:
        """Translates a tile of any size.

        Args:
          tile: as `read_tile` gives it: BANDxx (lat, lon) in K or reflectance, NaN where missing.
          to: the satellite to make.
          source: the satellite of the tile; default its attribute `satellite`.

        Returns:
          float32 BANDxx of the target on the same grid, missing where an input band is missing, reflective bands also
          at night, limited to each band's valid range; `quality` (lat, lon) says which, bit by bit.

        Raises:
          InputError: the checkpoint lacks a satellite, or the tile lacks a band.
        """
        source_name = source or tile.attrs.get("satellite")
        if source_name is None:
            raise InputError(
                "the tile does not say which satellite saw it; pass source=, or set its attribute 'satellite'"
            )
        source, target = self.domain(source_name), self.domain(to)
        x = stack_bands(tile, _bands(self.network, source))
        values = translate_array(self.params, self.network, x, source, target, self.facts["satellites"])
        return self._as_tile(values, np.isnan(x).any(-1), tile, target)

    def _as_tile(self, values: np.ndarray, missing: np.ndarray, tile: xr.Dataset, target: str) -> xr.Dataset:
        bands = _bands(self.network, target)
        values, limited = limit(values, bands)
        quality = np.where(missing, FLAGS["input_missing"], 0) | np.where(limited.any(-1), FLAGS["limited"], 0)
        night = np.zeros(missing.shape, bool)
        if "solar_zenith" in tile:
            night = tile["solar_zenith"].values >= NIGHT_ZENITH
            quality |= np.where(night, FLAGS["night"], 0)
        variables = {}
        for channel, band in enumerate(bands):
            field = values[..., channel].astype(np.float32)
            if band.kind == "reflectance":
                field[night] = np.nan
            attributes = band_attributes(band, target) | {"limited_pixels": int(limited[..., channel].sum())}
            variables[band.name] = (("lat", "lon"), field, attributes)
        variables["quality"] = (("lat", "lon"), quality.astype(np.int8), _quality_attributes())
        attributes = {
            "satellite": target.split("_", 1)[0],
            "tile": tile.attrs.get("tile", ""),
            "source": tile.attrs.get("source", ""),
            "source_satellite": tile.attrs.get("satellite", ""),
            "checkpoint_run": self.run,
            "checkpoint_step": self.step,
        }
        coordinates = {name: tile[name] for name in ("lat", "lon", "time") if name in tile.coords}
        return xr.Dataset(variables, coordinates, attributes)


def band_attributes(band: Band, satellite: str) -> dict[str, Any]:
    """What a band's variable says of itself: name, unit, wavelength (um), valid range."""
    instrument = get_satellite(satellite).instrument
    kind = "reflectance" if band.kind == "reflectance" else "brightness temperature"
    return {
        "long_name": f"{instrument} band {band.number} ({band.wavelength:g} um) top of atmosphere {kind}, synthesised",
        "standard_name": STANDARD_NAMES[band.kind],
        "units": band.unit,
        "wavelength": band.wavelength,
        "wavelength_units": "um",
        "valid_range": np.array(band.valid_range, np.float32),
    }


def _quality_attributes() -> dict[str, Any]:
    return {
        "long_name": "what limits the synthesised bands at this pixel",
        "standard_name": "quality_flag",
        "flag_masks": np.array(list(FLAGS.values()), np.int8),
        "flag_meanings": " ".join(FLAGS),
    }


def stack_bands(tile: xr.Dataset, bands: list[Band] | tuple[Band, ...]) -> np.ndarray:
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
    x = np.stack([np.asarray(tile[band.name].values, np.float32) for band in bands], axis=-1)
    if x.ndim != 3:
        raise InputError(f"{name}: bands must be two-dimensional (lat, lon), not of shape {x.shape[:-1]}")
    for channel, band in enumerate(bands):
        seen = x[..., channel][np.isfinite(x[..., channel])]
        if not seen.size:
            raise InputError(
                f"{band.name} ({band.wavelength:g} um) of {name} is entirely missing, and the network needs it as input"
            )
        _check_unit(seen, band, tile[band.name].attrs.get("units", band.unit), name)
    return x


def _check_unit(values: np.ndarray, band: Band, units: str, name: str) -> None:
    low, high = (-0.5, 2.0) if band.kind == "reflectance" else (130.0, 450.0)
    middle = float(np.median(values))
    if units not in (band.unit, {"1": "", "K": "kelvin"}[band.unit]) or not low <= middle <= high:
        wanted = "reflectance from 0 to about 1" if band.unit == "1" else "brightness temperature in K"
        raise InputError(f"{band.name} of {name} must be {wanted}; it is in '{units}' with a median of {middle:.4g}")


def load(run: str | Path, step: int | None = None) -> TileTranslator:
    """A run's generator, ready to translate; nothing but the run is needed.

    Args:
      run: a run's folder (it holds checkpoints/).
      step: which checkpoint; default the newest.

    Raises:
      InputError: there is no checkpoint.
    """
    folder = Path(run)
    if not (folder / "checkpoints").is_dir():
        raise InputError(f"'{run}' is not a run: it has no folder 'checkpoints'; give the --workdir of a training run")
    checkpoints = Checkpoints(folder / "checkpoints")
    try:
        facts = checkpoints.facts(step)
        params = checkpoints.restore(step, only="generator")
    finally:
        checkpoints.close()
    return TileTranslator(params, facts, folder.resolve().name)
