"""The spectral flow's objective: the exact negative log-likelihood of withheld channels, and its training step.

Of the patterns of given channels that a satellite's images serve one is drawn in each step. No pairs of satellites, no
discriminator: a step costs the same for each satellite, however many there are.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from satxlate_jax.models import wavelet
from satxlate_jax.models.discriminator import Discriminator
from satxlate_jax.models.spectral_flow import ANGLES, SpectralFlow
from satxlate_jax.training import sharding
from satxlate_jax.training.flow_calibration import calibrate, fit_usual
from satxlate_jax.training.flow_init import PATCHES, fit_start, usable_patterns
from satxlate_jax.training.input import read_examples
from satxlate_jax.training.step import TrainState, TrainStep

Images = Mapping[str, jax.Array]
Pattern = tuple[int, ...]


class WithheldPrediction(NamedTuple):
    """A satellite's images [n, h, w, band], and what only the bands of another predict for them; network units.

    `std` is 0 where a band is given; `log_likelihood` [level] is that of the other coefficients, nats each.
    """

    observed: jax.Array
    mean: jax.Array
    std: jax.Array
    sample: jax.Array
    log_likelihood: jax.Array


@dataclasses.dataclass(frozen=True)
class FlowObjective:
    """The loss of a spectral flow; its discriminator is one of no satellite."""

    translator: SpectralFlow
    discriminator: Discriminator

    def fit_start(self, config: Any, generator: Any, place: Callable[[Any], Any]) -> Any:
        """The parameters before step 0: all but the network is fitted to the training split, and put on devices."""

        def fit() -> Any:
            examples = read_examples(config, "train", PATCHES)
            fitted = fit_start(self.translator, generator, examples)
            return fitted | ({"usual": fit_usual(self.translator, fitted, examples)} if "usual" in fitted else {})

        fitted = sharding.fitted_by_first_process(fit)
        return generator | place({name: part for name, part in fitted.items() if name != "network"})

    def fit_end(self, config: Any, generator: Any, place: Callable[[Any], Any]) -> dict[str, Any]:
        """The parts of the parameters that are fitted after the last step: the calibration, to what was left out."""

        def fit() -> Any:
            splits = (read_examples(config, split, PATCHES) for split in ("train", "validation"))
            return calibrate(self.translator, generator, *splits)

        return {"calibration": place(sharding.fitted_by_first_process(fit))}

    def loss(self, params: Any, batch: Images, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The mean over satellites of the negative log-likelihood per pixel and channel of what a pattern withholds.

        Level l of the wavelet counts 2^l times: coarse coefficients are few. The base, adapters and calibration of
        `params` get no gradient. Beside the loss the root mean square of z, 1 where standard deviations are right.
        """
        flow, losses, squares = self.translator, [], []
        params = {name: part if name == "network" else jax.lax.stop_gradient(part) for name, part in params.items()}
        for each, (satellite, x) in zip(jax.random.split(key, len(batch)), batch.items(), strict=True):
            patterns = usable_patterns(flow, satellite)
            if not patterns:
                continue
            index = jax.random.randint(each, (), 0, len(patterns))
            loss, square = self._of_satellite(params, x, satellite, patterns, index)
            losses.append(loss)
            squares.append(square)
        if not losses:
            raise ValueError("no satellite's images hold a band that another satellite lacks")
        return jnp.mean(jnp.stack(losses)), {"z_rms": jnp.sqrt(jnp.mean(jnp.stack(squares)))}

    def _of_satellite(
        self, params: Any, x: jax.Array, satellite: str, patterns: Sequence[Pattern], index: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """The loss of one of the patterns, and the mean of z squared; only the regression differs in its program."""
        flow, own = self.translator, self.translator.mask(self.translator.axis.of_satellite(satellite))
        y, angles = flow.to_axis(params, x[..., : -len(ANGLES)], satellite), x[..., -len(ANGLES) :]
        branches = [
            lambda p, y, a, given=pattern: flow.regress(p, y, a, given, y if flow.reflectance in given else None)[0]
            for pattern in patterns
        ]
        settings = [flow.settings(params, pattern) for pattern in patterns]
        chosen = jax.tree.map(lambda *parts: jnp.stack(parts)[index], *settings)
        chosen["calibration"] = jax.tree.map(jnp.ones_like, chosen["calibration"])
        given = chosen["given"]
        filled = flow.wiener_filter(chosen["gains"], jax.lax.switch(index, branches, params, y, angles), given)
        mean, sigma = flow.run_network(params, filled, chosen)
        counts = (own & ~given).astype(y.dtype)
        z = (wavelet.transform(y - filled, flow.levels) - mean) / sigma
        terms, total = (0.5 * z**2 + jnp.log(sigma)) * counts, jnp.zeros(())
        for band in wavelet.subbands(y.shape[1:3], flow.levels):
            total += 2.0**band.level * jnp.sum(jnp.mean(terms[..., band.rows, band.columns, :], (0, 1)))
        withheld = counts.sum()
        share = jnp.sum(z**2 * counts) / (withheld * z[..., 0].size)
        return total / (withheld * y.shape[1] * y.shape[2]), share

    def translations(self, params: Any, batch: Images) -> dict[str, dict[str, jax.Array]]:
        """Satellite -> satellite -> the mean of the first's images as the second's, network units, without angles."""
        names = self.translator.satellites
        return {k: {q: self.translator.distribution(params, x, k, q).mean for q in names} for k, x in batch.items()}

    def errors(self, params: Any, batch: Images) -> dict[str, jax.Array]:
        """Errors of reconstructions and cycles: none, they are exact."""
        return {}

    def withheld(self, params: Any, batch: Images) -> dict[str, WithheldPrediction]:
        """'G16-G17' -> the images of G16 as those of its bands that G17 has too give them."""
        flow, found = self.translator, {}  # type: SpectralFlow, dict[str, WithheldPrediction]
        z = flow.noise(jax.random.key(0), (*next(iter(batch.values())).shape[1:3], flow.axis.size))
        for k, x in batch.items():
            patterns = {q: flow.axis.given(q, k) for q in flow.satellites}
            needed = sorted({*patterns.values()} & {*usable_patterns(flow, k)})  # compiling each takes seconds
            made = {pattern: self._withheld(params, x, k, pattern, z) for pattern in needed}
            found |= {f"{k}-{q}": made[pattern] for q, pattern in patterns.items() if pattern in made}
        return found

    def _withheld(
        self, params: Any, x: jax.Array, satellite: str, pattern: Pattern, z: jax.Array
    ) -> WithheldPrediction:
        flow, observed, angles = self.translator, x[..., : -len(ANGLES)], x[..., -len(ANGLES) :]
        y, own = flow.to_axis(params, observed, satellite), flow.axis.of_satellite(satellite)
        filled, unlike = flow.base(params, y, angles, pattern, y if flow.reflectance in pattern else None)
        means, sigma = flow.coefficients(params, filled, pattern)
        mean, std = flow.moments(params, filled, unlike, means, sigma, pattern)
        sample = flow.draw(filled, means, sigma, flow.smooth(params, z, pattern), pattern)
        missing = flow.missing(pattern)
        z = (wavelet.transform(flow.take(y - filled, missing), flow.levels) - means) / sigma
        terms = -0.5 * z**2 - jnp.log(sigma) - 0.5 * np.log(2 * np.pi)
        inferred, parts = np.flatnonzero(np.isin(missing, own)), defaultdict(list)
        for band in wavelet.subbands(y.shape[1:3], flow.levels):
            parts[band.level].append(terms[..., band.rows, band.columns, inferred].ravel())
        likelihood = jnp.stack([jnp.mean(jnp.concatenate(part)) for part in parts.values()])
        mean, sample = (flow.from_axis(params, image, satellite) for image in (mean, sample))
        return WithheldPrediction(observed, mean, flow.std_from_axis(std, satellite), sample, likelihood)


class FlowStep(TrainStep):
    """One update of the spectral flow's network, in the place of the generator's and the discriminators'."""

    def __call__(
        self, state: TrainState, batch: Images, key: jax.Array, *, cycles: int = 1
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """One step; arguments and result as of `TrainStep`."""
        loss = jax.value_and_grad(self.objective.loss, has_aux=True)
        (total, parts), gradients = loss(state.generator, batch, jax.random.fold_in(key, state.step))
        metrics = {f"generator/{term}": value for term, value in parts.items()} | {"generator/total": total}
        generator, optimizer = self._updated("generator", gradients, state)
        after = dataclasses.replace(state, generator=generator, generator_optimizer=optimizer)
        return self._finished(state, after, metrics)
