"""The translator of a configuration, of whichever family."""

from collections.abc import Mapping
from typing import Any

from satxlate_jax.models.spectral_flow import SpectralFlow
from satxlate_jax.models.translator import Translator
from satxlate_jax.wavelength_axis import WavelengthAxis

AnyTranslator = Translator | SpectralFlow


def make_translator(config: Mapping[str, Any], satellites: Mapping[str, Mapping[str, Any]]) -> AnyTranslator:
    """The translator that a configuration describes.

    Args:
      config: a configuration (configs/default.py), of this version or an older one.
      satellites: as a run's metadata hold them: satellite -> 'bands', 'mean', 'std' and, where there are such, 'skips'
        and 'slots' (see `Translator`).
    """
    bands = {name: tuple(entry["bands"]) for name, entry in satellites.items()}
    settings = {"precision": config.get("precision", "float32"), "remat": config.get("remat", False)}
    if config["generator"].get("family") == "spectral_flow":
        axis = WavelengthAxis.of(satellites, config["flow"]["adapters"])
        return SpectralFlow(config["flow"], axis, bands, **settings)
    return Translator(
        config["generator"],
        bands,
        skips={name: tuple(entry.get("skips", ())) for name, entry in satellites.items()},
        wavelength_channels={name: entry["slots"] for name, entry in satellites.items() if "slots" in entry},
        initialization=config.get("initialization", "gaussian"),
        **settings,
    )
