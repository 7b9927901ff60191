"""What a translator makes of a few patches, as pictures of one or three channels."""

from collections.abc import Mapping, Sequence

import numpy as np

from satxlate_jax.instruments import get_satellite

# Natural colour (EUMETSAT's recipe): vegetation green, ice and high cloud cyan, low cloud white. Both imagers have
# these bands, which is not so for true colour.
NATURAL_COLOUR = (1.61, 0.865, 0.64)
WINDOW = (10.35,)  # the clean infrared window, cold is bright
_TOLERANCE = 0.03
_PICTURES = {"natural_colour": (NATURAL_COLOUR, 2.0), "infrared": (WINDOW, -3.0)}


def make_pictures(
    batch: Mapping[str, np.ndarray],
    translations: Mapping[str, Mapping[str, np.ndarray]],
    bands: Mapping[str, Sequence[int]],
) -> dict[str, np.ndarray]:
    """One strip per patch: what was observed, its reconstruction, and it as every other satellite sees it.

    Args:
      batch: satellite -> [n, h, w, band], network units.
      translations: satellite -> satellite -> the first as the second, [n, h, w, band].
      bands: satellite -> its bands, 1-based.

    Returns:
      'KIND/WHAT IS ON IT' -> [n, h, w * (2 + number of other satellites), 3 or 1], 0 to 1. A part is grey where its
      satellite lacks the bands. A satellite without bands of a kind gives the nearest band it has in 'first_band'.
    """
    pictures = {}
    for satellite, observed in batch.items():
        others = [other for other in bands if other != satellite]
        parts = [(satellite, observed), (satellite, translations[satellite][satellite])]
        parts += [(other, translations[satellite][other]) for other in others]
        caption = " | ".join([satellite, "itself", *(f"as {other}" for other in others)])
        kinds = [kind for kind, (wavelengths, _) in _PICTURES.items() if _channels(satellite, bands, wavelengths)]
        for kind in kinds:
            wavelengths, reach = _PICTURES[kind]
            strip = [_draw(x, _channels(name, bands, wavelengths), len(wavelengths), reach) for name, x in parts]
            pictures[f"{kind}/{caption}"] = np.concatenate(strip, axis=2)
        if not kinds:
            pictures[f"first_band/{caption}"] = np.concatenate([_draw(x, [0], 1, 3.0) for _, x in parts], axis=2)
    return pictures


def _channels(satellite: str, bands: Mapping[str, Sequence[int]], wavelengths: Sequence[float]) -> list[int]:
    """Where those wavelengths (um) stand among a satellite's bands; empty when one is missing."""
    ours = [get_satellite(satellite).band(number).wavelength for number in bands[satellite]]
    nearest = [min((abs(our - w), i) for i, our in enumerate(ours))[1] for w in wavelengths]
    found = all(abs(ours[i] - w) < _TOLERANCE * w for i, w in zip(nearest, wavelengths, strict=True))
    return nearest if found else []


def _draw(x: np.ndarray, channels: Sequence[int], depth: int, reach: float) -> np.ndarray:
    """Network units from -reach to +reach become 0 to 1; a negative reach turns the scale round."""
    if not channels:
        return np.full((*x.shape[:3], depth), 0.5, np.float32)
    return np.clip(0.5 + x[..., list(channels)] / (2 * reach), 0, 1).astype(np.float32)
