"""Fit what a satellite's wavelet coefficients are usually like, for `models.likelihood.surprise`."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from satxlate_jax.instruments import get_satellite
from satxlate_jax.models import wavelet
from satxlate_jax.models.spectral_flow import ANGLES, SpectralFlow
from satxlate_jax.training.input import Examples

Tree = dict[str, Any]


def fit_usual(flow: SpectralFlow, params: Tree, examples: Mapping[str, Examples]) -> Tree:
    """Satellite -> 'mean' [channel] and 'precision' [subband, channel, channel] on the axis.

    A satellite that sends no images is like the first of its instrument that does and has its bands; without one its
    'precision' is zero.
    """
    moments = {name: _moments(flow, params, name, each.images) for name, each in examples.items()}
    instruments, n, found = dict(flow.axis.instruments), flow.axis.size, {}
    for satellite, numbers in flow.bands.items():
        own = flow.axis.of_satellite(satellite)
        alike = (name for name in (satellite, *moments) if instruments[name] == instruments[satellite])
        donors = [name for name in alike if name in moments and {*own} <= {*flow.axis.of_satellite(name)}]
        mean, precision = np.zeros(n), np.zeros((3 * flow.levels + 1, n, n))
        for donor_mean, covariances in (moments[name] for name in donors[:1]):
            noise = np.array([get_satellite(satellite).band(number).noise for number in numbers])
            floor = np.diag((noise / np.array(flow.axis.std)[[*own]]) ** 2) / 4  # of a coefficient, about
            places = np.ix_(range(len(precision)), own, own)
            mean[[*own]], precision[:] = donor_mean[[*own]], np.eye(n)
            precision[places] = np.linalg.inv(covariances[places] + floor)
        found[satellite] = {"mean": mean, "precision": precision}
    return found


def _moments(flow: SpectralFlow, params: Tree, satellite: str, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean [channel] of a satellite's images, and covariances [subband, channel, channel] of their coefficients."""

    @jax.jit
    def squares(y: jax.Array) -> jax.Array:
        x = wavelet.transform(y, flow.levels)
        parts = (x[band.rows, band.columns] for band in wavelet.subbands(y.shape[:2], flow.levels))
        found = [jnp.einsum("ijc,ijd->cd", part, part, precision="highest") / part[..., 0].size for part in parts]
        return jnp.stack(found)

    to_axis = jax.jit(lambda image: flow.to_axis(params, image[..., : -len(ANGLES)], satellite))
    mean = np.mean([np.asarray(to_axis(image)).mean((0, 1)) for image in images], 0, np.float64)
    return mean, np.mean([np.asarray(squares(to_axis(image) - mean)) for image in images], 0, np.float64)
