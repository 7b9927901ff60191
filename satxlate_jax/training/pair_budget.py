"""Estimate the paper's objective from a few pairs of satellites, sampled anew in each step.

The terms between satellites grow with the square of their number. Here `count` of all N pairs (source k, target q,
q = k included) are drawn without replacement, all draws alike likely, and a term over the pairs I with the mean

    1 / |I| * sum over I of v(k, q)      becomes      N / (count |I|) * sum over the drawn pairs in I of v(k, q)

whose expectation is that mean, as is that of its gradient, since every pair is drawn with probability count / N. The
terms of single satellites (recon, kl) stay whole. The discriminators' loss is estimated from the same pairs.

Which pairs are drawn is data, not structure, so that one compiled step serves all draws: the satellites' parameters are
stacked and taken by number. Satellites of different bands are made alike by channels of zeros, in images and kernels,
which add nothing to any sum.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from satxlate_jax.models.discriminator import Discriminator
from satxlate_jax.models.translator import Translator
from satxlate_jax.training.objective import (
    Images,
    Objective,
    discriminator_adversarial,
    generator_adversarial,
    mean_square,
    mean_squared_error,
)

ANY = "any"  # the name by which the networks of stacked satellites go


def stack(trees: Sequence[Any]) -> Any:
    """Trees of one structure as one with a leading axis; leaves of different shapes are filled with zeros at the end.

    Args:
      trees: one per satellite, in order.
    """

    def join(*leaves: jax.Array) -> jax.Array:
        shape = np.max([leaf.shape for leaf in leaves], axis=0)
        widths = [list(zip([0] * leaf.ndim, shape - leaf.shape, strict=True)) for leaf in leaves]
        return jnp.stack([jnp.pad(leaf, width) for leaf, width in zip(leaves, widths, strict=True)])

    return jax.tree.map(join, *trees)


def _take(tree: Any, index: jax.Array) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], tree)


@dataclass(frozen=True)
class PairBudget:
    """The part of the budgeted objective that does not depend on the draw.

    Attributes:
      objective: the whole objective, variant 'paper'.
      translator: for images of a satellite named ANY, with as many channels as the satellite that has most.
      discriminator: the same.
      widths: satellite -> channels of its images.
      skips: satellite -> those of them that skip the latent space.
      count: pairs per step.
    """

    objective: Objective
    translator: Translator
    discriminator: Discriminator
    widths: Mapping[str, int]
    skips: Mapping[str, Sequence[int]]
    count: int

    def draw(self, key: jax.Array, batch: Images) -> jax.Array:
        """Numbers of the pairs of a step, int32 [count], distinct: source * targets + target."""
        total = len(batch) * len(self.objective.translator.satellites)
        return jax.random.choice(key, total, (self.count,), replace=False)

    def drawn(self, pairs: jax.Array, batch: Images) -> "DrawnPairs":
        """The objective over these pairs of the satellites of a batch."""
        return DrawnPairs(self, pairs, tuple(batch))

    def weights(self, sources: Sequence[str]) -> dict[str, np.ndarray]:
        """Term -> what a drawn pair's value counts [source, target], 0 where it is not of the term."""
        satellites, shared = self.objective.translator.satellites, self.objective.shared
        pairs = [(k, q) for k in sources for q in satellites]
        across = [k != q for k, q in pairs]
        sharing = [k != q and bool(shared[k][q]) for k, q in pairs]
        there_and_back = [q in sources for _, q in pairs]
        members = {"gan": across, "shared": sharing, "measured": sharing}
        members |= dict.fromkeys(("cycle_recon", "cycle_z_recon", "kl_cyc", "dis"), there_and_back)
        return {
            term: np.array(inside, np.float32).reshape(len(sources), -1)
            * (len(pairs) / self.count / max(sum(inside), 1))
            for term, inside in members.items()
        }

    def origins(self, sources: Sequence[str]) -> np.ndarray:
        """For each channel of a target the source's channel of its wavelength, or -1: [source, target, channel]."""
        satellites, shared = self.objective.translator.satellites, self.objective.shared
        origins = np.full((len(sources), len(satellites), max(self.widths.values())), -1)
        for row, k in enumerate(sources):
            for column, q in enumerate(satellites):
                if k != q:
                    origins[row, column, list(shared[q][k])] = shared[k][q]
        return origins

    def units(self, sources: Sequence[str]) -> np.ndarray | None:
        """Slope and offset of those channels from the source's to the target's units: [2, source, target, channel].

        None where all satellites are normalised alike.
        """
        satellites, objective = self.objective.translator.satellites, self.objective
        units = np.zeros((2, len(sources), len(satellites), max(self.widths.values())), np.float32)
        units[0] = 1
        for row, k in enumerate(sources):
            for column, q in enumerate(satellites):
                if k != q and objective.units[k][q] is not None:
                    units[:, row, column, list(objective.shared[q][k])] = objective.units[k][q]
        return units if (units[0] != 1).any() or units[1].any() else None


class _AnySatellite:
    """The networks of all satellites, called by a satellite's number rather than its name."""

    def __init__(self, budget: PairBudget, generator: Any, discriminator: Any):
        satellites = budget.objective.translator.satellites
        self._budget, self._shared = budget, generator.get("shared") if generator else None
        if generator:
            self._encoders = stack([generator["encoders"][name] for name in satellites])
            self._decoders = stack([generator["decoders"][name] for name in satellites])
        if discriminator:
            self._discriminators = stack([discriminator[name] for name in satellites])

    def encode(self, x: jax.Array, number: jax.Array) -> jax.Array:
        params = {"encoders": {ANY: _take(self._encoders, number)}, "shared": self._shared}
        return self._budget.translator.encode(params, x, ANY)

    def decode(self, z: jax.Array, number: jax.Array, source: jax.Array | None) -> jax.Array:
        params = {"decoders": {ANY: _take(self._decoders, number)}}
        return self._budget.translator.decode(params, z, ANY, source)

    def score(self, x: jax.Array, number: jax.Array) -> list[jax.Array]:
        return self._budget.discriminator.score({ANY: _take(self._discriminators, number)}, x, ANY)


@dataclass(frozen=True)
class _Pair:
    """One drawn pair: `row` numbers its source among the sources, `source` and `target` among all satellites."""

    row: jax.Array
    source: jax.Array
    target: jax.Array


class DrawnPairs:
    """The objective's two losses, estimated from some pairs; its methods are those of `Objective`.

    Args:
      budget: what does not depend on the draw.
      pairs: as `PairBudget.draw` gives them.
      sources: the satellites of the batch.
    """

    def __init__(self, budget: PairBudget, pairs: jax.Array, sources: tuple[str, ...]):
        self._budget, self._objective, self._sources = budget, budget.objective, sources
        satellites = budget.objective.translator.satellites
        numbers = jnp.array([satellites.index(source) for source in sources])
        split = [(pair // len(satellites), pair % len(satellites)) for pair in pairs]
        self._pairs = [_Pair(row, numbers[row], target) for row, target in split]
        self._rows = jnp.array([sources.index(name) if name in sources else 0 for name in satellites])
        self._weights = {term: jnp.asarray(table) for term, table in budget.weights(sources).items()}
        self._origins, self._units = jnp.asarray(budget.origins(sources)), budget.units(sources)
        self._skips = jnp.array([budget.skips[name] for name in satellites], jnp.int32)
        self._widths = jnp.array([budget.widths[name] for name in satellites])

    def generator_loss(
        self, generator: Any, discriminator: Any, batch: Images, noise: Images, cycles: int
    ) -> tuple[jax.Array, dict[str, Any]]:
        """As `Objective.generator_loss`, but 'items' are those of single satellites and 'translations' one per pair."""
        translator = self._objective.translator
        latents = {k: translator.encode(generator, x, k) for k, x in batch.items()}
        skips = {k: translator.skip_channels(x, k) for k, x in batch.items()}
        own = {k: translator.decode(generator, z + noise[k], k, skips[k]) for k, z in latents.items()}
        items = {}
        with jax.named_scope("recon"):
            items["recon"] = [mean_squared_error(x, own[k]) for k, x in batch.items()]
        with jax.named_scope("kl"):
            items["kl"] = [mean_square(translator.noisy(z)) for z in latents.values()]
        networks = _AnySatellite(self._budget, generator, discriminator)
        images, noises = self._images(batch), stack(list(noise.values()))
        stacked = stack(list(latents.values()))
        estimates: dict[str, list[jax.Array]] = {}
        fakes = []
        for pair in self._pairs:
            x = images[pair.row]
            values, fake = self._values(networks, pair, x, stacked[pair.row], noises[pair.row], cycles)
            fakes.append(fake)
            for term, value in values.items():
                estimates.setdefault(term, []).append(self._weights[term][pair.row, pair.target] * value)
        terms = {term: jnp.mean(jnp.stack(values)) for term, values in items.items()}
        terms |= {term: sum(values) for term, values in estimates.items()}
        total = sum(self._objective.weights[term] * value for term, value in terms.items())
        return total, {"terms": terms, "items": items, "translations": fakes}

    def _images(self, batch: Images) -> jax.Array:
        """The images of all sources [source, n, h, w, channel], with zeros for the channels that only others have."""
        widest = max(self._budget.widths.values())
        widen = [jnp.pad(x, [(0, 0)] * 3 + [(0, widest - x.shape[-1])]) for x in batch.values()]
        return jnp.stack(widen)

    def _skip(self, x: jax.Array, number: jax.Array) -> jax.Array | None:
        return jnp.take(x, self._skips[number], axis=-1) if self._skips.shape[1] else None

    def _mean_squared_error(self, x: jax.Array, y: jax.Array, count: jax.Array) -> jax.Array:
        """Over the `count` channels that are not all zeros in both."""
        return mean_squared_error(x, y) * x.shape[-1] / count

    def _values(
        self, networks: _AnySatellite, pair: _Pair, x: jax.Array, z: jax.Array, noise: jax.Array, cycles: int
    ) -> tuple[dict[str, jax.Array], jax.Array]:
        """A pair's contribution to each term, and its translation."""
        objective, k, q = self._objective, pair.source, pair.target
        skip = self._skip(x, k)
        forward = fake = networks.decode(z + noise, q, skip)
        origins = self._origins[pair.row, q]
        is_shared, taken = origins >= 0, jnp.take(x, jnp.maximum(origins, 0), axis=-1)
        if self._units is not None:
            slope, offset = jnp.asarray(self._units, x.dtype)[:, pair.row, q]
            taken = taken * slope + offset
        values = {}
        with jax.named_scope("gan"):
            values["gan"] = generator_adversarial(networks.score(forward, q), objective.gan_type)
        with jax.named_scope("shared"):
            error, count = jnp.where(is_shared, forward - taken, 0.0), jnp.maximum(jnp.sum(is_shared), 1)
            values["shared"] = self._mean_squared_error(error, jnp.zeros_like(error), count)
        if objective.weights["measured"]:
            with jax.named_scope("measured"):
                half_way = jnp.where(is_shared, taken, jax.lax.stop_gradient(forward))
                back = networks.decode(networks.encode(half_way, q), k, self._skip(half_way, q))
                values["measured"] = self._mean_squared_error(x, back, self._widths[k])
        per_cycle = []
        latent = z
        for cycle in range(cycles):
            if cycle:  # each begins where the source's own way there and back ended
                own = networks.encode(networks.decode(latent + noise, k, skip), k)
                latent = networks.encode(networks.decode(own + noise, k, skip), k)
                forward = networks.decode(latent + noise, q, skip)
            encoding = networks.encode(forward, q)
            back = networks.decode(encoding + noise, k, skip)
            with jax.named_scope("cycle_recon"):
                returned = self._mean_squared_error(x, back, self._widths[k])
            with jax.named_scope("cycle_z_recon"):
                encoded = mean_squared_error(z, encoding)
            with jax.named_scope("kl_cyc"):
                size = mean_square(self._budget.translator.noisy(encoding))
            per_cycle.append((returned, encoded, size))
        for term, of_cycles in zip(
            ("cycle_recon", "cycle_z_recon", "kl_cyc"), zip(*per_cycle, strict=True), strict=True
        ):
            values[term] = jnp.mean(jnp.stack(of_cycles))
        return values, fake

    def fakes(self, generator: Any, batch: Images, noise: Images) -> list[jax.Array]:
        """The drawn pairs' translations, for the discriminators."""
        networks = _AnySatellite(self._budget, generator, None)
        images, noises = self._images(batch), stack(list(noise.values()))
        return [
            networks.decode(
                networks.encode(images[pair.row], pair.source) + noises[pair.row],
                pair.target,
                self._skip(images[pair.row], pair.source),
            )
            for pair in self._pairs
        ]

    def discriminator_loss(
        self, discriminator: Any, batch: Images, fakes: Sequence[jax.Array]
    ) -> tuple[jax.Array, dict[str, Any]]:
        """As `Objective.discriminator_loss`, of one translation per pair."""
        networks = _AnySatellite(self._budget, None, discriminator)
        images = self._images(batch)
        loss = jnp.zeros(())
        for pair, fake in zip(self._pairs, fakes, strict=True):
            real = networks.score(images[self._rows[pair.target]], pair.target)
            verdict = networks.score(fake, pair.target)
            with jax.named_scope("dis"):
                value = discriminator_adversarial(verdict, real, self._objective.gan_type)
            loss += self._weights["dis"][pair.row, pair.target] * value
        return self._objective.weights["gan"] * loss, {"terms": {"dis": loss}, "items": {}}
