"""The loss terms, and the two losses that they make.

Two variants: 'paper' is what the paper (Vandal et al., TGRS 2021, section III) describes; 'released' is what the
released code computes, quirks included, and exists to prove the port and to repeat old runs. With sources K (the
satellites of the batch), decoders A (all), encodings z_k, one noise draw n_k per source and C cycles:

  term            pairs            value                                    'released' counts
  gan             k, q != k        D_q's verdict on dec_q(z_k + n_k)        all
  recon           k                mse(x_k, dec_k(z_k + n_k))               all
  shared          k, q != k        mse of the bands k and q share           only the last k
  cycle_recon     k, cycle, q      mse(x_k, there and back via q)           all, times C
  cycle_z_recon   k, cycle, q      mse(z_k, encoding of the translation)    only the last k and cycle, times C
  kl_cyc          k, cycle, q      mean square of that encoding             only the last k and cycle, times C
  kl              k                mean square of z_k                       never
  measured        k, q != k        mse(x_k, dec_k(enc_q(image of k in q's bands)))   never

'measured' is not in the paper: the half-way image has k's own measurements in every band that k and q share and the
translation (without gradient) only in the others. The ordinary cycle may hide in q's bands what it needs on the way
back; here the way back must be inferred from measured bands, as in use. It is computed only if its weight is not 0.
In 'shared' and 'measured' the bands of k are written in the network units of q, so that equal physical values are
equal numbers however each satellite is normalised; 'released' takes network units as they are, as the release does.
The mean squares of 'kl' and 'kl_cyc' are over the channels that take noise: the size of the others, which carry
measurements past the network on the spectral path, is no information to be limited. 'cycle_z_recon' compares all
channels: a measurement that comes out different on the way is an error like any other.
In 'paper' each cycle starts where the one before ended; in 'released' the second repeats the first.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from satxlate_jax.models.discriminator import Discriminator
from satxlate_jax.models.layers import at_least_float32
from satxlate_jax.models.translator import Translator
from satxlate_jax.training.channels import Channels, Units
from satxlate_jax.training.spectral_path_init import spectral_start, with_spectral_start

VARIANTS = ("paper", "released")
GAN_TYPES = ("lsgan", "nsgan")
Images = Mapping[str, jax.Array]
Translations = dict[str, dict[str, jax.Array]]
# term -> the weight's name in config.objective
WEIGHTS = {
    "gan": "gan_w",
    "recon": "recon_x_w",
    "shared": "recon_shared_w",
    "cycle_recon": "recon_x_cyc_w",
    "cycle_z_recon": "recon_z_cyc_w",
    "kl_cyc": "recon_kl_cyc_w",
    "kl": "recon_kl_w",
    "measured": "recon_measured_w",
}


def mean_squared_error(first: jax.Array, second: jax.Array) -> jax.Array:
    """Mean over all elements of the squared difference of two arrays of the same shape; a scalar."""
    return jnp.mean(jnp.square(at_least_float32(first) - at_least_float32(second)))


def mean_square(z: jax.Array) -> jax.Array:
    """Mean over all elements of z squared: twice the Kullback-Leibler term of a unit-variance Gaussian at z."""
    return jnp.mean(jnp.square(at_least_float32(z)))


def _adversarial(score: jax.Array, is_real: bool, gan_type: str) -> jax.Array:
    """Mean distance of scores [batch, h, w, 1] from the label of real (1) or generated (0)."""
    if gan_type == "lsgan":
        return jnp.mean(jnp.square(score - (1.0 if is_real else 0.0)))
    return jnp.mean(jax.nn.softplus(-score if is_real else score))  # cross entropy of sigmoid(score)


def generator_adversarial(fake_scores: Sequence[jax.Array], gan_type: str) -> jax.Array:
    """Distance of generated images from passing as real, summed over scales, from what `Discriminator.score` gives.

    `gan_type` is 'lsgan' (least squares, Mao et al. 2017) | 'nsgan' (non-saturating, Goodfellow et al. 2014).
    """
    return sum(_adversarial(score, True, gan_type) for score in fake_scores)


def discriminator_adversarial(
    fake_scores: Sequence[jax.Array], real_scores: Sequence[jax.Array], gan_type: str
) -> jax.Array:
    """The discriminator's error in telling generated from real images, summed over scales."""
    return sum(
        _adversarial(fake, False, gan_type) + _adversarial(real, True, gan_type)
        for fake, real in zip(fake_scores, real_scores, strict=True)
    )


def _pick(x: jax.Array, channels: Sequence[int]) -> jax.Array:
    """Some of the channels, without a copy where it is all of them."""
    return x if tuple(channels) == tuple(range(x.shape[-1])) else x[..., jnp.array(channels)]


def in_units(x: jax.Array, units: Units) -> jax.Array:
    """Bands [..., band] in other network units, see `channels.shared_units`."""
    if units is None:
        return x
    slope, offset = (jnp.asarray(part, x.dtype) for part in units)
    return x * slope + offset


def _mean(items: Sequence[jax.Array]) -> jax.Array:
    return jnp.mean(jnp.stack(items)) if items else jnp.zeros(())


@dataclass(frozen=True)
class Objective:
    """The two losses as functions of parameters.

    Attributes:
      shared: satellite -> satellite -> 0-based channels of the first that the second shares, in the same order.
      units: satellite -> satellite -> how to write those channels in the second's network units.
      weights: term -> its weight in the generator's loss; the discriminator's has that of 'gan'.
    """

    translator: Translator
    discriminator: Discriminator
    shared: Channels
    units: Mapping[str, Mapping[str, Units]]
    weights: Mapping[str, float]
    variant: str
    gan_type: str

    def translate_all(
        self, generator: Any, batch: Images, noise: Images | None = None, targets: Sequence[str] | None = None
    ) -> tuple[Images, Translations]:
        """Encodings {k: z_k} of a batch and its translations to all or some targets {k: {q: dec_q(z_k + n_k)}}."""
        latents = {k: self.translator.encode(generator, x, k) for k, x in batch.items()}
        return latents, self._decode(generator, batch, latents, noise, targets or self.translator.satellites)

    def _decode(
        self, generator: Any, batch: Images, latents: Images, noise: Images | None, targets: Sequence[str]
    ) -> Translations:
        """{k: {q: dec_q(latents[k] + noise[k])}}; skip channels are always those of the original image of k."""
        decode, skip = self.translator.decode, self.translator.skip_channels
        noisy = {k: z if noise is None else z + noise[k] for k, z in latents.items()}
        return {k: {q: decode(generator, noisy[k], q, skip(x, k)) for q in targets} for k, x in batch.items()}

    def _return(
        self, generator: Any, batch: Images, noise: Images, forward: Translations
    ) -> tuple[Translations, Translations]:
        """The way back: encodings of the translations {k: {q: zc_q}} and the images they give {k: {q: x2_q}}."""
        encode, decode, skip = self.translator.encode, self.translator.decode, self.translator.skip_channels
        encodings = {k: {q: encode(generator, forward[k][q], q) for q in batch} for k in batch}
        back = {
            k: {q: decode(generator, z + noise[k], k, skip(batch[k], k)) for q, z in latents.items()}
            for k, latents in encodings.items()
        }
        return encodings, back

    def _cycles(
        self, generator: Any, batch: Images, noise: Images, forward: Translations, cycles: int
    ) -> Iterator[tuple[Translations, Translations]]:
        encodings, back = self._return(generator, batch, noise, forward)
        yield encodings, back
        for cycle in range(1, cycles):
            # the release advances only after its second cycle, which therefore repeats the first
            if self.variant == "paper" or cycle > 1:
                latents = {k: self.translator.encode(generator, back[k][k], k) for k in batch}
                forward = self._decode(generator, batch, latents, noise, tuple(batch))
                encodings, back = self._return(generator, batch, noise, forward)
            yield encodings, back

    def _in_order(self, batch: Images) -> Images:
        """The batch in the configured order of the satellites; jit hands dicts on sorted by name."""
        return {name: batch[name] for name in self.translator.satellites if name in batch}

    def _shared_bands(self, batch: Images, k: str, q: str) -> jax.Array:
        """The bands of k's images that q has too, in q's network units."""
        units = self.units[k][q] if self.variant == "paper" else None
        return in_units(_pick(batch[k], self.shared[k][q]), units)

    def _measured_cycles(self, generator: Any, batch: Images, forward: Translations) -> list[jax.Array]:
        """The term 'measured', without noise: how a translation is made when it is used."""
        items = []
        for k, q in ((k, q) for k in batch for q in self.translator.satellites if q != k and self.shared[k][q]):
            given = self._shared_bands(batch, k, q)
            half_way = jax.lax.stop_gradient(forward[k][q]).at[..., jnp.array(self.shared[q][k])].set(given)
            z = self.translator.encode(generator, half_way, q)
            back = self.translator.decode(generator, z, k, self.translator.skip_channels(half_way, q))
            items.append(mean_squared_error(batch[k], back))
        return items

    def _items(
        self, generator: Any, discriminator: Any, batch: Images, noise: Images, cycles: int
    ) -> tuple[dict[str, list[jax.Array]], Translations]:
        """Every term's values, one an element of the loops that the module's docstring names; and the translations."""
        batch = self._in_order(batch)
        latents, forward = self.translate_all(generator, batch, noise)
        pairs = [(k, q) for k in batch for q in self.translator.satellites if q != k]
        shared_pairs = [(k, q) for k, q in pairs if self.shared[k][q]]
        score = self.discriminator.score
        items: dict[str, list[jax.Array]] = {}
        with jax.named_scope("gan"):
            verdicts = [score(discriminator, forward[k][q], q) for k, q in pairs]
            items["gan"] = [generator_adversarial(verdict, self.gan_type) for verdict in verdicts]
        with jax.named_scope("recon"):
            items["recon"] = [mean_squared_error(x, forward[k][k]) for k, x in batch.items()]
        with jax.named_scope("shared"):
            items["shared"] = [
                mean_squared_error(self._shared_bands(batch, k, q), _pick(forward[k][q], self.shared[q][k]))
                for k, q in shared_pairs
            ]
        with jax.named_scope("kl"):
            items["kl"] = [mean_square(self.translator.noisy(z)) for z in latents.values()]
        if self.variant == "paper" and self.weights["measured"]:
            with jax.named_scope("measured"):
                items["measured"] = self._measured_cycles(generator, batch, forward)
        with jax.named_scope("cycle"):
            steps = list(self._cycles(generator, batch, noise, forward, cycles))
        loops = [(k, cycle, q) for k in batch for cycle in range(cycles) for q in batch]
        with jax.named_scope("cycle_recon"):
            items["cycle_recon"] = [mean_squared_error(batch[k], steps[c][1][k][q]) for k, c, q in loops]
        last = list(batch)[-1]
        if self.variant == "released":
            items["shared"] = [item for item, (k, _) in zip(items["shared"], shared_pairs, strict=True) if k == last]
            items["kl"] = []
            loops = [(last, cycles - 1, q) for q in batch]
        with jax.named_scope("cycle_z_recon"):
            items["cycle_z_recon"] = [mean_squared_error(latents[k], steps[c][0][k][q]) for k, c, q in loops]
        with jax.named_scope("kl_cyc"):
            items["kl_cyc"] = [mean_square(self.translator.noisy(steps[c][0][k][q])) for k, c, q in loops]
        return items, forward

    def generator_loss(
        self, generator: Any, discriminator: Any, batch: Images, noise: Images, cycles: int
    ) -> tuple[jax.Array, dict[str, Any]]:
        """The generator's loss.

        Args:
          generator: parameters of the translator.
          discriminator: parameters of the discriminators.
          batch: satellite -> [n, h, w, band], network units.
          noise: satellite -> [n, h', w', latent], one draw of N(0, 1) per source, reused in every decode.
          cycles: how often to go there and back, at least 1.

        Returns:
          The loss and {'terms': term -> value, 'items': term -> list of values, 'translations': {k: {q: image}}}.
        """
        items, forward = self._items(generator, discriminator, batch, noise, cycles)
        terms = {term: _mean(values) for term, values in items.items()}
        if self.variant == "released":
            terms |= {term: cycles * terms[term] for term in ("cycle_recon", "cycle_z_recon", "kl_cyc")}
        total = sum(self.weights[term] * value for term, value in terms.items())
        return total, {"terms": terms, "items": items, "translations": forward}

    def fit_start(self, config: Any, generator: Any, place: Callable[[Any], Any]) -> Any:
        """The parameters before step 0: a spectral path is fitted, or begins by copying bands."""
        if config.generator.spectral_path == "none":
            return generator
        maps = place(spectral_start(config))
        return with_spectral_start(generator, maps, silent=config.generator.spectral_path != "copy")

    def fit_end(self, config: Any, generator: Any, place: Callable[[Any], Any]) -> dict[str, Any]:
        """The parts of the parameters that are fitted after the last step: none."""
        return {}

    def translations(self, generator: Any, batch: Images) -> Translations:
        """{k: {q: the images of k as q}}, without noise, network units."""
        return self.translate_all(generator, batch)[1]

    def errors(self, generator: Any, batch: Images) -> dict[str, jax.Array]:
        """Errors of reconstructions, cycles and shared bands, as `validation.Validation.scores` names them.

        Each is [n, h, w, band], in network units of the first satellite.
        """
        translator, errors = self.translator, {}
        forward = self.translations(generator, batch)
        for k, x in batch.items():
            errors[f"validation_reconstruction/{k}"] = forward[k][k] - x
            for q in (q for q in translator.satellites if q != k):
                z = translator.encode(generator, forward[k][q], q)
                back = translator.decode(generator, z, k, translator.skip_channels(x, k))
                errors[f"validation_cycle/{k}-{q}-{k}"] = back - x
                if self.shared[k][q]:
                    ours, theirs = jnp.array(self.shared[k][q]), jnp.array(self.shared[q][k])
                    translated = in_units(forward[k][q][..., theirs], self.units[q][k])
                    errors[f"validation_shared/{k}-{q}"] = translated - x[..., ours]
        return errors

    def withheld(self, generator: Any, batch: Images) -> dict[str, Any]:
        """Nothing: this family has no distribution of withheld bands."""
        return {}

    def discriminator_loss(
        self, discriminator: Any, batch: Images, fakes: Translations
    ) -> tuple[jax.Array, dict[str, Any]]:
        """The discriminators' loss: for every pair (d, q) of the batch, q = d included, fakes[q][d] against batch[d].

        Fakes {q: {d: dec_d(z_q + n_q)}} come without gradient. Returns are as of `generator_loss`, of a term 'dis'.
        """
        items, batch = [], self._in_order(batch)
        for d, x in batch.items():
            real = self.discriminator.score(discriminator, x, d)
            for q in batch:
                fake = self.discriminator.score(discriminator, fakes[q][d], d)
                with jax.named_scope("dis"):
                    items.append(discriminator_adversarial(fake, real, self.gan_type))
        terms = {"dis": _mean(items)}
        return self.weights["gan"] * terms["dis"], {"terms": terms, "items": {"dis": items}}
