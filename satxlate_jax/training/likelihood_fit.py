"""Fit what a satellite's wavelet coefficients are usually like: for surprise, repair and unseen satellites."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from satxlate_jax.instruments import get_satellite
from satxlate_jax.models import wavelet
from satxlate_jax.models.likelihood import condition, infer
from satxlate_jax.models.spectral_flow import ANGLES, SpectralFlow
from satxlate_jax.training.flow_fit import label_blocks
from satxlate_jax.training.input import Examples

Tree = dict[str, Any]


def fit_usual(flow: SpectralFlow, params: Tree, examples: Mapping[str, Examples]) -> Tree:
    """Satellite -> 'mean' [channel] and 'precision' [subband, channel, channel] on the axis, and 'factor' [channel].

    The factor is that with which 68 % of errors are within one standard deviation, where each channel is inferred from
    the others on blocks left out. A satellite that sends no images is like the first of its instrument that does and
    has its bands; without one its 'precision' is zero.
    """
    moments = {
        name: _Coefficients(flow, params, name, each, label_blocks(examples)[name]) for name, each in examples.items()
    }
    instruments, n, found = dict(flow.axis.instruments), flow.axis.size, {}
    for satellite in flow.bands:
        own = {*flow.axis.of_satellite(satellite)}
        alike = (name for name in (satellite, *moments) if instruments[name] == instruments[satellite])
        donors = [name for name in alike if name in moments and own <= {*flow.axis.of_satellite(name)}]
        found[satellite] = {
            "mean": np.zeros(n),
            "precision": np.zeros((3 * flow.levels + 1, n, n)),
            "factor": np.ones(n),
        }
        for donor in donors[:1]:
            found[satellite] = moments[donor].usual(satellite) | {"factor": moments[donor].factor(satellite)}
    return found


class _Coefficients:
    """A satellite's images on the axis, their means [image, channel] and squares [image, subband, channel, channel]."""

    def __init__(self, flow: SpectralFlow, params: Tree, satellite: str, examples: Examples, blocks: np.ndarray):
        self.flow, self.blocks = flow, blocks
        to_axis = jax.jit(lambda images: flow.to_axis(params, images[..., : -len(ANGLES)], satellite))
        self.images = [np.asarray(to_axis(image)) for image in examples.images]
        self.means = np.stack([image.mean((0, 1), np.float64) for image in self.images])
        centre = self.means.mean(0)
        self.squares = np.stack([np.asarray(_mean_squares(image - centre, flow.levels)) for image in self.images])

    def usual(self, satellite: str, without: int | None = None) -> Tree:
        """The mean and precision of a satellite's channels, of the images of all blocks but one."""
        own, n, kept = list(self.flow.axis.of_satellite(satellite)), self.flow.axis.size, self.blocks != without
        noise = np.array([get_satellite(satellite).band(number).noise for number in self.flow.bands[satellite]])
        floor = np.diag((noise / np.array(self.flow.axis.std)[own]) ** 2) / 4  # of a coefficient, about
        mean, precision = np.zeros(n), np.broadcast_to(np.eye(n), self.squares.shape[1:]).copy()
        mean[own], places = self.means[kept].mean(0)[own], np.ix_(range(len(precision)), own, own)
        precision[places] = np.linalg.inv(self.squares[kept].mean(0, np.float64)[places] + floor)
        return {"mean": mean, "precision": precision}

    def factor(self, satellite: str) -> np.ndarray:
        """The conformal factor [channel]."""
        own, n = self.flow.axis.of_satellite(satellite), self.flow.axis.size
        found, apply = np.ones(n), jax.jit(infer, static_argnums=2)
        if len(set(self.blocks.tolist())) == 1:
            return found
        for channel in own:
            ratios = []
            for block in sorted(set(self.blocks.tolist())):
                usual = self.usual(satellite, block)
                part = condition(usual | {"factor": 1.0}, np.arange(n) != channel)
                for index in np.flatnonzero(self.blocks == block)[::8]:
                    y = self.images[index][None]
                    mean, std = apply(part, y, self.flow.levels)
                    ratios.append((np.abs(mean - y) / std)[0, ::4, 1::4, channel])
            found[channel] = max(float(np.quantile(ratios, 0.6827)), 1e-3)
        return found


@partial(jax.jit, static_argnums=1)
def _mean_squares(y: jax.Array, levels: int) -> jax.Array:
    """Mean products [subband, channel, channel] of an image's wavelet coefficients."""
    x = wavelet.transform(y, levels)
    parts = (x[band.rows, band.columns] for band in wavelet.subbands(y.shape[:2], levels))
    return jnp.stack([jnp.einsum("ijc,ijd->cd", one, one, precision="highest") / one[..., 0].size for one in parts])
