"""What a translation must beat: methods without a shared latent space, and what they are fitted on.

Unpaired, as the model is:
- `constant`: the target's mean.
- `band_copy`: the source's band of the same wavelength, as measured.
- `linear`, `quadratic`, `trees`, `cnn`: fitted on the TARGET satellite's own tiles, inputs = its bands that the
  source's input bands share by wavelength, outputs = each of its bands, and then applied to what the SOURCE measured.
- `matching`: a shared band's values mapped so that their distribution becomes the target's.
- `green_...`: the published formulas for the green band.
Paired, and so given more than the model: `sbaf`, a line per shared band fitted on coincident files.
Every fit streams over tiles or keeps a bounded sample. `methods` lists them all.
"""

import abc
from dataclasses import dataclass

import numpy as np

from satxlate_jax.evaluation.composites import GREEN_FORMULAS, find_band, formula_green, green_band
from satxlate_jax.instruments import get_satellite, is_shared, shared_channels


@dataclass(frozen=True)
class Task:
    """What is to be predicted from what.

    Attributes:
      source: name of the satellite whose bands are given.
      source_bands: its 1-based bands, in the order of the arrays.
      target: name of the satellite whose bands are wanted.
      target_bands: its 1-based bands, in the order of the arrays.
    """

    source: str
    source_bands: tuple[int, ...]
    target: str
    target_bands: tuple[int, ...]

    @property
    def shared(self) -> tuple[list[int], list[int]]:
        """Channels of the source's array and of the target's that are the same band by wavelength."""
        return shared_channels(self.source, self.source_bands, self.target, self.target_bands)

    @property
    def lacking(self) -> list[int]:
        """Channels of the target's array that the source's input has no band for."""
        return [channel for channel in range(len(self.target_bands)) if channel not in self.shared[1]]


class Baseline(abc.ABC):
    """A method without a network between satellites. Fitted by calls of `fit_...`, then `finish`; then `predict`.

    Attributes:
      name: in tables.
      wants: what it is fitted on: any of 'target', 'source' (tiles of one satellite), 'pairs' (coincident tiles).
    """

    name = ""
    wants: tuple[str, ...] = ()

    def __init__(self, task: Task):
        self.task = task

    def fit_target(self, values: np.ndarray) -> None:  # noqa: B027 - a baseline overrides what it wants
        """Takes in a tile of the target: [h, w, target band], physical units, NaN where missing."""

    def fit_source(self, values: np.ndarray) -> None:  # noqa: B027 - a baseline overrides what it wants
        """Takes in a tile of the source: [h, w, source band], physical units, NaN where missing."""

    def fit_pair(self, source: np.ndarray, target: np.ndarray) -> None:  # noqa: B027 - a baseline overrides what it wants
        """Takes in coincident tiles of both, as above."""

    def finish(self) -> None:  # noqa: B027 - a baseline overrides what it wants
        """Ends the fit."""

    @abc.abstractmethod
    def predict(self, values: np.ndarray) -> np.ndarray:
        """From [h, w, source band] to float64 [h, w, target band], physical units; NaN where it has no answer."""

    def nothing(self, values: np.ndarray) -> np.ndarray:
        """No answer anywhere, [h, w, target band], to be filled in."""
        return np.full(values.shape[:2] + (len(self.task.target_bands),), np.nan)


class Constant(Baseline):
    """Each band's mean over the fitting tiles."""

    name, wants = "constant", ("target",)

    def __init__(self, task: Task):
        super().__init__(task)
        self._sum = np.zeros(len(task.target_bands))
        self._n = np.zeros(len(task.target_bands), np.int64)
        self._mean = np.full(len(task.target_bands), np.nan)

    def fit_target(self, values: np.ndarray) -> None:
        """Adds a tile [h, w, target band] to the means."""
        seen = np.isfinite(values)
        self._sum += np.sum(values, axis=(0, 1), where=seen, dtype=np.float64)
        self._n += seen.sum((0, 1))

    def finish(self) -> None:
        """Divides; a band never seen stays NaN."""
        self._mean = np.where(self._n > 0, self._sum / np.maximum(self._n, 1), np.nan)

    def predict(self, values: np.ndarray) -> np.ndarray:
        """The means at every pixel, [h, w, target band]."""
        return np.broadcast_to(self._mean, values.shape[:2] + self._mean.shape)


class BandCopy(Baseline):
    """The source's band of the same wavelength, where there is one."""

    name = "band_copy"

    def predict(self, values: np.ndarray) -> np.ndarray:
        """The shared bands as measured; NaN in bands the source has no partner for, [h, w, target band]."""
        copied = self.nothing(values)
        for source_channel, target_channel in zip(*self.task.shared, strict=True):
            copied[..., target_channel] = values[..., source_channel]
        return copied


class GreenFormula(Baseline):
    """The green band (0.51 um) from blue, red and vegetation by a published formula."""

    formula = "CIMSS"

    def predict(self, values: np.ndarray) -> np.ndarray:
        """The green band alone, [h, w, target band]."""
        predicted = self.nothing(values)
        number = green_band(self.task.target)
        fields = {band: values[..., channel] for channel, band in enumerate(self.task.source_bands)}
        parts = [find_band(self.task.source, wavelength, fields) for wavelength in (0.47, 0.64, 0.865)]
        present = [part for part in parts if part is not None]
        if number in self.task.target_bands and len(present) == 3:
            blue, red, vegetation = (fields[part].astype(np.float64) for part in present)
            green = formula_green(blue, red, vegetation, self.formula)
            predicted[..., self.task.target_bands.index(number)] = green
        return predicted


GREEN_BASELINES = tuple(
    type(f"Green{formula}", (GreenFormula,), {"name": f"green_{formula.lower()}", "formula": formula})
    for formula in GREEN_FORMULAS
)


def has_partner(task: Task, target_band: int) -> bool:
    """Whether a target band has the wavelength of one of the source's given bands."""
    source, wanted = get_satellite(task.source), get_satellite(task.target).band(target_band)
    return any(is_shared(source.band(number), wanted) for number in task.source_bands)
