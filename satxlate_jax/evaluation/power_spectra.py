"""How sharp a translation is: power by wavelength of output, truth and error, summed over tiles.

The effective resolution is the shortest wavelength down to which the error's power stays below half of the truth's,
as it is used for gridded products (Ballarotta et al., Ocean Sci. 15 (2019), 1091-1109).
"""

from dataclasses import dataclass, field

import numpy as np

_DEGREE_KM = 111.32
# Edges of the bins of wavelength, km: from two pixels of 2 km to a tile.
EDGES_KM = np.geomspace(4.0, 640.0, 31)
_MOST_MISSING = 0.02  # of a tile's pixels; a tile with more does not count
_HALF = 0.5


@dataclass
class PowerSpectrum:
    """Sums of power by wavelength.

    Attributes:
      power: [3, bin] of truth, prediction and error, in the band's unit squared.
      n: modes in each bin.
      tiles: counted.
    """

    power: np.ndarray = field(default_factory=lambda: np.zeros((3, len(EDGES_KM) - 1)))
    n: np.ndarray = field(default_factory=lambda: np.zeros(len(EDGES_KM) - 1))
    tiles: int = 0

    def update(self, prediction: np.ndarray, truth: np.ndarray, lat: np.ndarray, pixel_degrees: float) -> None:
        """Adds a tile, unless more than 2 % of it is missing; what is missing is taken for the tile's mean.

        Args:
          prediction: [h, w] in the band's unit, NaN where missing.
          truth: [h, w], likewise.
          lat: [h] degrees north.
          pixel_degrees: size of a pixel.
        """
        seen = np.isfinite(prediction) & np.isfinite(truth)
        if seen.mean() < 1 - _MOST_MISSING:
            return
        window = np.hanning(truth.shape[0])[:, None] * np.hanning(truth.shape[1])[None]
        fields = []
        for values in (truth, prediction):
            mean = float(np.mean(values, where=seen, dtype=np.float64))
            fields.append(np.where(seen, values - mean, 0.0) * window)
        fields.append(fields[1] - fields[0])
        north = np.fft.fftfreq(truth.shape[0], pixel_degrees * _DEGREE_KM)
        east = np.fft.rfftfreq(truth.shape[1], pixel_degrees * _DEGREE_KM * np.cos(np.radians(np.mean(lat))))
        wavenumber = np.hypot(north[:, None], east[None])
        with np.errstate(divide="ignore"):
            bins = np.digitize(1 / wavenumber, EDGES_KM) - 1
        inside = (bins >= 0) & (bins < len(self.n))
        for row, values in enumerate(fields):
            power = np.abs(np.fft.rfft2(values)) ** 2
            self.power[row] += np.bincount(bins[inside], power[inside], minlength=len(self.n))
        self.n += np.bincount(bins[inside], minlength=len(self.n))
        self.tiles += 1

    def merge(self, other: "PowerSpectrum") -> "PowerSpectrum":
        """Adds another's sums, in place."""
        self.power += other.power
        self.n += other.n
        self.tiles += other.tiles
        return self

    @property
    def wavelengths(self) -> np.ndarray:
        """Centres of the bins that hold anything, km, ascending."""
        return np.sqrt(EDGES_KM[1:] * EDGES_KM[:-1])[self.n > 0]

    def ratio(self) -> np.ndarray:
        """Power of the prediction over that of the truth, by `wavelengths`; below 1 is too smooth."""
        power = self.power[:, self.n > 0]
        return power[1] / np.maximum(power[0], 1e-30)

    def noise(self) -> np.ndarray:
        """Power of the error over that of the truth, by `wavelengths`."""
        power = self.power[:, self.n > 0]
        return power[2] / np.maximum(power[0], 1e-30)

    def sharpness(self, below_km: float = 20.0) -> float:
        """Power of the prediction over that of the truth in all wavelengths below so many km; NaN without a tile."""
        fine = np.sqrt(EDGES_KM[1:] * EDGES_KM[:-1]) < below_km
        truth, prediction = self.power[0, fine].sum(), self.power[1, fine].sum()
        return round(float(prediction / truth), 9) if truth > 0 else float("nan")

    def effective_resolution(self) -> float:
        """The shortest wavelength, km, down to which the error has less than half the truth's power; NaN where none."""
        wavelengths, noise = self.wavelengths, self.noise()
        if not self.tiles or not len(noise):
            return float("nan")
        bad = np.flatnonzero(noise >= _HALF)
        if not bad.size:
            return float(wavelengths[0])
        last = bad[-1]
        if last == len(noise) - 1:
            return float("nan")
        ends = np.log(noise[[last, last + 1]])
        share = (np.log(_HALF) - ends[0]) / (ends[1] - ends[0])
        return float(np.exp(np.interp(share, [0, 1], np.log(wavelengths[[last, last + 1]]))))
