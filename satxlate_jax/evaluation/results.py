"""What an evaluation found: scores by group and file, and examples for pictures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from satxlate_jax.evaluation import ranking
from satxlate_jax.evaluation.baselines.methods import MODEL
from satxlate_jax.evaluation.baselines.simple import has_partner
from satxlate_jax.evaluation.cases import Case, Comparison
from satxlate_jax.evaluation.cycle_consistency import Consistency
from satxlate_jax.evaluation.ensemble_calibration import Calibration
from satxlate_jax.evaluation.groups import ALL
from satxlate_jax.evaluation.joint_histogram import JointHistogram
from satxlate_jax.evaluation.metrics import BandScore
from satxlate_jax.evaluation.power_spectra import PowerSpectrum
from satxlate_jax.instruments import Band, get_satellite

Scores = dict[tuple[str, int], BandScore]  # (method, target band)


@dataclass
class Example:
    """One scored case, kept for pictures.

    Attributes:
      case: its files.
      lat: [h] degrees north, north to south.
      lon: [w] degrees east.
      solar_zenith: [h, w] degrees, or None.
      source: source's band -> [h, w], every band that was read.
      truth: target's band -> [h, w].
      predictions: method -> target's band -> [h, w].
      spread: target's band -> [h, w], the model's over draws, or None.
      coastlines: whether pictures show them.
    """

    case: Case
    lat: np.ndarray
    lon: np.ndarray
    solar_zenith: np.ndarray | None
    source: Mapping[int, np.ndarray]
    truth: Mapping[int, np.ndarray]
    predictions: Mapping[str, Mapping[int, np.ndarray]]
    spread: Mapping[int, np.ndarray] | None = None
    coastlines: bool = False


@dataclass
class Results:
    """What an evaluation found.

    Attributes:
      comparison: what was compared.
      methods: the model first, then the baselines.
      samples: draws of the latent noise, 0 for none.
      by_group: (group of pixels, method, band) -> scores over all files.
      per_file: of each file that had something to score.
      histograms: (method, band) -> joint histogram of prediction and truth, over all files.
      spectra: (method, band) -> power by wavelength, over all files.
      calibration: band -> of the model's spread over draws.
      consistency: of the model with itself.
      examples: some cases with their fields.
      left_out: file name and reason of cases that could not be scored.
    """

    comparison: Comparison
    methods: Sequence[str]
    samples: int = 0
    by_group: dict[tuple[str, str, int], BandScore] = field(default_factory=dict)
    per_file: list[tuple[Case, Scores]] = field(default_factory=list)
    histograms: dict[tuple[str, int], JointHistogram] = field(default_factory=dict)
    spectra: dict[tuple[str, int], PowerSpectrum] = field(default_factory=dict)
    calibration: dict[int, Calibration] = field(default_factory=dict)
    consistency: Consistency = field(default_factory=Consistency)
    examples: list[Example] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)

    @property
    def total(self) -> Scores:
        """Over all files and all pixels."""
        return self.of_group(ALL)

    def of_group(self, group: str) -> Scores:
        """The scores of one group of pixels, over all files."""
        return {(method, band): score for (name, method, band), score in self.by_group.items() if name == group}

    @property
    def groups(self) -> list[str]:
        """The groups that hold pixels, 'all' first."""
        return list(dict.fromkeys([ALL, *(group for group, _, _ in self.by_group)]))

    @property
    def shown_methods(self) -> list[str]:
        """Where two must do for all: the model and linear regression, or else the first baseline with an answer."""
        answering = {method for _, method, _ in self.by_group}
        order = sorted(self.methods[1:], key=lambda method: method != "linear")
        return [MODEL, *[method for method in order if method in answering][:1]]

    def band(self, number: int) -> Band:
        """The target's band of that number."""
        return get_satellite(self.comparison.task.target).band(number)

    @property
    def scored_bands(self) -> list[Band]:
        """Bands for which the model was scored on at least one pixel."""
        numbers = sorted({number for (method, number), score in self.total.items() if method == MODEL and score.n})
        return [self.band(number) for number in numbers]

    def rmse(self, method: str, band: int, *, by_area: bool = False) -> float:
        """Root mean square error in the band's unit, by pixel or by area; NaN where the method has no answer."""
        score = self.by_group.get((ALL, method, band))
        return score.figures()["rmse_area" if by_area else "rmse"] if score else math.nan

    def is_synthesised(self, band: int) -> bool:
        """Whether the network was given no band of that wavelength."""
        return not has_partner(self.comparison.task, band)

    def best_baseline(self, band: int, *, paired: bool = False, by_area: bool = False) -> tuple[str, float]:
        """The best baseline of a band, among the unpaired or the paired ones, and its RMSE: `ranking.best_baseline`."""
        rmse = {method: self.rmse(method, band, by_area=by_area) for method in self.methods}
        return ranking.best_baseline(rmse, paired=paired)
