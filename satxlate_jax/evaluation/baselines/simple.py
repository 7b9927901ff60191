"""Baselines without a regression: constant, band copy, histogram matching, green formulas."""

import abc

import numpy as np

from satxlate_jax.evaluation.cases import Task
from satxlate_jax.evaluation.composites import GREEN_FORMULAS, find_band, formula_green, green_band
from satxlate_jax.evaluation.distributions import BINS
from satxlate_jax.instruments import get_satellite


class Baseline(abc.ABC):
    """A method without a latent space. It is fitted by calls of `fit_...` for what it wants and `finish`.

    `fit_target` and `fit_source` take a tile of that satellite, [h, w, band] in physical units, NaN where missing;
    `fit_pair` takes coincident tiles of source and target.

    Attributes:
      name: in tables.
      label: in words.
      wants: tiles that it is fitted on, any of 'target', 'source', 'pair'.
      channels: channels of the source's array that have a partner in the target's.
      partners: those partners, in the same order.
    """

    name = ""
    label = ""
    wants: tuple[str, ...] = ()

    def __init__(self, task: Task):
        self.task = task
        self.channels, self.partners = task.shared

    def finish(self) -> None:  # noqa: B027 - not every baseline is fitted
        """Ends the fit."""

    @abc.abstractmethod
    def predict(self, values: np.ndarray) -> np.ndarray:
        """From [h, w, source band] to float64 [h, w, target band], physical units; NaN where it has no answer."""

    def nothing(self, values: np.ndarray) -> np.ndarray:
        """No answer anywhere, [h, w, target band], to be filled in; each band lies together, as it is scored."""
        return np.moveaxis(np.full((len(self.task.target_bands), *values.shape[:2]), np.nan), 0, -1)


class Constant(Baseline):
    """Each band's mean over the fitting tiles."""

    name, label, wants = "constant", "constant", ("target",)

    def __init__(self, task: Task):
        super().__init__(task)
        self._sum = np.zeros(len(task.target_bands))
        self._n = np.zeros(len(task.target_bands), np.int64)

    def fit_target(self, values: np.ndarray) -> None:
        """Adds a tile to the means."""
        seen = np.isfinite(values)
        self._sum += np.sum(values, axis=(0, 1), where=seen, dtype=np.float64)
        self._n += seen.sum((0, 1))

    def predict(self, values: np.ndarray) -> np.ndarray:
        """The means at every pixel; NaN for a band that was never seen."""
        mean = np.where(self._n > 0, self._sum / np.maximum(self._n, 1), np.nan)
        return np.broadcast_to(mean, (*values.shape[:2], len(mean)))


class BandCopy(Baseline):
    """The source's band of the same wavelength, where there is one."""

    name, label = "band_copy", "band copy"

    def predict(self, values: np.ndarray) -> np.ndarray:
        """The shared bands as measured; NaN in the others."""
        copied = self.nothing(values)
        copied[..., self.partners] = values[..., self.channels]
        return copied


class HistogramMatching(Baseline):
    """Maps each shared band so that its distribution over the source's tiles becomes that over the target's."""

    name, label, wants = "matching", "histogram matching", ("target", "source")

    def __init__(self, task: Task):
        super().__init__(task)
        target = get_satellite(task.target)
        bins = [BINS[target.band(task.target_bands[channel]).kind] for channel in self.partners]
        self._edges = [np.linspace(low, high, round((high - low) / width) + 1) for low, high, width in bins]
        self._counts = [np.zeros((2, len(edges) - 1)) for edges in self._edges]
        self._maps: list[tuple[np.ndarray, np.ndarray] | None] = [None] * len(self._edges)

    def fit_source(self, values: np.ndarray) -> None:
        """Counts a tile of the source."""
        self._count(0, values[..., self.channels])

    def fit_target(self, values: np.ndarray) -> None:
        """Counts a tile of the target."""
        self._count(1, values[..., self.partners])

    def _count(self, side: int, values: np.ndarray) -> None:
        for index, (edges, counts) in enumerate(zip(self._edges, self._counts, strict=True)):
            field = values[..., index]
            within = np.clip(field[np.isfinite(field)], edges[0], edges[-1])
            counts[side] += np.histogram(within, len(edges) - 1, (edges[0], edges[-1]))[0]

    def finish(self) -> None:
        """Makes each band's map: values of equal rank in the two distributions."""
        for index, (edges, counts) in enumerate(zip(self._edges, self._counts, strict=True)):
            if counts.sum(1).min() > 0:
                ranks = np.concatenate([np.zeros((2, 1)), counts.cumsum(1) / counts.sum(1, keepdims=True)], axis=1)
                inside = np.flatnonzero((ranks[0] > 1e-4) & (ranks[0] < 1 - 1e-4))
                if inside.size > 1:
                    # strictly rising ranks, so that flat parts of the target's distribution have one inverse
                    rising = ranks[1] + 1e-12 * np.arange(ranks.shape[1])
                    self._maps[index] = edges[inside], np.interp(ranks[0][inside], rising, edges)

    def predict(self, values: np.ndarray) -> np.ndarray:
        """The shared bands; beyond the source's distribution by the shift at its end."""
        predicted = self.nothing(values)
        for channel, partner, mapped in zip(self.channels, self.partners, self._maps, strict=True):
            if mapped is not None:
                field = values[..., channel].astype(np.float64)
                predicted[..., partner] = field + np.interp(field, mapped[0], mapped[1] - mapped[0])
        return predicted


class GreenFormula(Baseline):
    """The green band (0.51 um) from blue, red and vegetation by a published formula."""

    formula = ""

    def predict(self, values: np.ndarray) -> np.ndarray:
        """The green band alone."""
        predicted = self.nothing(values)
        number = green_band(self.task.target)
        fields = {band: values[..., channel] for channel, band in enumerate(self.task.source_bands)}
        parts = [find_band(self.task.source, wavelength, fields) for wavelength in (0.47, 0.64, 0.865)]
        if number in self.task.target_bands and None not in parts:
            blue, red, vegetation = (fields[part].astype(np.float64) for part in parts if part is not None)
            green = formula_green(blue, red, vegetation, self.formula)
            predicted[..., self.task.target_bands.index(number)] = green
        return predicted


def green_baseline(formula: str) -> type[GreenFormula]:
    """The baseline of one of `GREEN_FORMULAS`."""
    names = {"name": f"green_{formula.lower()}", "label": f"{formula} green formula", "formula": formula}
    return type(f"Green{formula}", (GreenFormula,), names)


GREEN_BASELINES = tuple(map(green_baseline, GREEN_FORMULAS))
