"""Whether the model agrees with itself: there and back again, and two satellites' views in the latent space."""

from dataclasses import dataclass, field

import numpy as np

from satxlate_jax.evaluation.metrics import BandScore, data_range
from satxlate_jax.instruments import get_satellite
from satxlate_jax.translation.translate import TileTranslator


@dataclass
class Consistency:
    """Sums over cases.

    Attributes:
      cycle: source's band -> scores of source -> target -> source against the source.
      latent: sums over latent channels of the two views of coincident files: [5, channel] of n, and centred moments.
    """

    cycle: dict[int, BandScore] = field(default_factory=dict)
    _n: int = 0
    _mean: np.ndarray | None = None  # [2, channel]
    _moments: np.ndarray | None = None  # [3, channel]: squares of the first, of the second, products

    def add_cycle(self, translator: TileTranslator, x: np.ndarray, source: str, target: str) -> None:
        """Takes a case there and back.

        Args:
          translator: the model.
          x: [h, w, source band] in physical units, NaN where missing.
          source: satellite of x.
          target: satellite to go by.
        """
        there = translator.translate(x, target, source=source)
        back = translator.translate(there, source, source=target)
        for channel, number in enumerate(translator.network.bands[source]):
            scale = data_range(get_satellite(source).band(number))
            self.cycle.setdefault(number, BandScore(scale)).update(back[..., channel], x[..., channel])

    def add_latent(self, first: np.ndarray, second: np.ndarray) -> None:
        """Takes the latent fields of two satellites' coincident tiles, [h, w, channel] each.

        Only the channels that take noise in training: measurements on the spectral path agree whatever the model is.
        """
        z = np.stack([values.reshape(-1, values.shape[-1]).astype(np.float64) for values in (first, second)])
        n, mean = z.shape[1], z.mean(1)
        centred = z - mean[:, None]
        moments = np.stack([(centred[0] ** 2).sum(0), (centred[1] ** 2).sum(0), (centred[0] * centred[1]).sum(0)])
        if self._mean is None or self._moments is None:
            self._n, self._mean, self._moments = n, mean, moments
            return
        total = self._n + n
        step = mean - self._mean
        products = np.stack([step[0] ** 2, step[1] ** 2, step[0] * step[1]])
        self._moments += moments + products * (self._n * n / total)
        self._mean = self._mean + step * (n / total)
        self._n = total

    def latent_agreement(self) -> dict[str, float] | None:
        """How alike the two satellites' latent fields are; None where no coincident files were encoded.

        Returns:
          'correlation': median over channels; 'difference': root mean square of the difference over that of the fields
          (0 is the same, 1.4 is unrelated); 'size': root mean square of the fields, against unit noise in training.
        """
        if self._mean is None or self._moments is None:
            return None
        first, second, products = self._moments / self._n
        scale = np.sqrt(np.maximum(first * second, 1e-30))
        difference = first + second - 2 * products + (self._mean[0] - self._mean[1]) ** 2
        size = (first + second + (self._mean**2).sum(0)) / 2
        return {
            "correlation": float(np.median(products / scale)),
            "difference": float(np.sqrt(difference.mean() / size.mean())),
            "size": float(np.sqrt(size.mean())),
        }
