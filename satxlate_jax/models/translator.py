"""The generator: an encoder and a decoder per satellite around one shared latent space.

Written from the description in the paper (Vandal et al., TGRS 2021, section III) and of the released configurations.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from satxlate_jax.models.abreast import places
from satxlate_jax.models.layers import ConvBlock, ResidualBlock, upsample_nearest
from satxlate_jax.models.params import Network, Params
from satxlate_jax.models.spectral_path import FromSlots, ToSlots


class Encoder(nnx.Module):
    """[batch, h, w, band] -> [batch, h / 2**n_downsample, w / 2**n_downsample, latent]."""

    def __init__(self, bands: int, dim: int, n_downsample: int, n_res: int, activation: str, padding: str, **settings):
        self.depth = (n_downsample, n_res)
        block = {"padding": padding, "activation": activation, **settings}
        self.conv_in = ConvBlock(bands, dim, 7, pad=3, **block)
        for index in range(n_downsample):
            setattr(self, f"down_{index}", ConvBlock(dim, 2 * dim, 4, stride=2, pad=1, **block))
            dim *= 2
        for index in range(n_res):
            setattr(self, f"res_block_{index}", ResidualBlock(dim, **block))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Encodes x, before the shared block."""
        x = self.conv_in(x)
        for index in range(self.depth[0]):
            x = getattr(self, f"down_{index}")(x)
        for index in range(self.depth[1]):
            x = getattr(self, f"res_block_{index}")(x)
        return x


class Decoder(nnx.Module):
    """[batch, h, w, latent] -> [batch, h * 2**n_downsample, w * 2**n_downsample, band]."""

    def __init__(
        self, bands: int, skips: int, dim: int, n_downsample: int, n_res: int, activation: str, padding: str, **settings
    ):
        self.depth = (n_downsample, n_res)
        self.skips = skips
        dim *= 2**n_downsample
        block = {"padding": padding, "activation": activation, **settings}
        for index in range(n_res):
            setattr(self, f"res_block_{index}", ResidualBlock(dim, **block))
        for index in range(n_downsample):
            setattr(self, f"up_{index}", ConvBlock(dim, dim // 2, 3, pad=1, norm="ln", **block))
            dim //= 2
        self.conv_out = ConvBlock(dim + skips, bands, 3, pad=1, padding=padding, **settings)

    def __call__(self, z: jax.Array, source: jax.Array | None) -> jax.Array:
        """Decodes z; `source` [batch, h, w, skips] joins the features before the last convolution."""
        for index in range(self.depth[1]):
            z = getattr(self, f"res_block_{index}")(z)
        for index in range(self.depth[0]):
            z = getattr(self, f"up_{index}")(upsample_nearest(z))
        if self.skips:
            if source is None:
                raise ValueError(f"this decoder needs the {self.skips} skip channels of the source image")
            z = jnp.concatenate([z, source.astype(z.dtype)], axis=-1)
        return self.conv_out(z)


def _at_least_float32(x: jax.Array) -> jax.Array:
    """Images are never bfloat16, nor is what goes around the network."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _split(params: Params) -> tuple[Params, Params]:
    """The spectral path's parameters, empty without one, and the rest."""
    return params.get("spectral", {}), {name: value for name, value in params.items() if name != "spectral"}


class Translator:
    """What everything outside models/ sees of a generator: encode and decode, as functions of nested dicts.

    With `slots` a spectral path runs around the network: z gets a channel more for each wavelength that any satellite
    has, made of the image's bands per pixel (spectral.py), and the decoder adds a 1 x 1 map of them to its image.
    The network learns what a map per pixel cannot do.

    Attributes:
      bands: satellite -> its bands (1-based), in the configured order.
      stride: image heights and widths must be multiples of it.
      latent_channels: channels of z.
      noisy_channels: how many of them, the first, take noise; the spectral path takes none.
      structure: all that it was made of, hashable; translators of one structure are the same functions of parameters.
    """

    def __init__(
        self,
        bands: Mapping[str, Sequence[int]],
        skips: Mapping[str, Sequence[int]],
        slots: Mapping[str, Sequence[int]],
        *,
        dim: int,
        n_downsample: int,
        n_res: int,
        activation: str,
        padding: str,
        initialization: str,
        dtype: jnp.dtype,
        abreast: int,
        remat: bool,
        quadratic: bool,
        hidden: int,
    ):
        given = {"dim": dim, "n_downsample": n_downsample, "n_res": n_res, "activation": activation, "padding": padding}
        given |= {"initialization": initialization, "dtype": dtype, "abreast": abreast, "remat": remat}
        given |= {"quadratic": quadratic, "hidden": hidden}
        parts = (tuple((name, tuple(numbers)) for name, numbers in part.items()) for part in (bands, skips, slots))
        self.structure = (*parts, tuple(given.items()))
        self.bands = {satellite: tuple(numbers) for satellite, numbers in bands.items()}
        self.stride = 2**n_downsample
        self.noisy_channels = dim * self.stride
        self._skips = {satellite: places(channels, abreast) for satellite, channels in skips.items()}
        self._dtype = dtype
        network = functools.partial(Network, abreast=abreast, remat=remat)
        settings = {"initialization": initialization, "dtype": dtype}
        sizes: dict[str, Any] = {
            "dim": dim,
            "n_downsample": n_downsample,
            "n_res": n_res,
            "activation": activation,
            "padding": padding,
        }
        self._encoders, self._decoders = {}, {}
        for satellite, numbers in self.bands.items():
            skip_count = len(skips.get(satellite, ()))
            encoder = functools.partial(Encoder, len(numbers), **sizes, **settings)
            decoder = functools.partial(Decoder, len(numbers), skip_count, **sizes, **settings)
            self._encoders[satellite], self._decoders[satellite] = network(encoder), network(decoder)
        # the shared block is always relu and zero padding, whatever the rest is
        shared = functools.partial(ResidualBlock, self.noisy_channels, padding="zero", activation="relu", **settings)
        self._shared = network(shared)
        self._split_at = self.noisy_channels * abreast
        n_slots = 1 + max((slot for numbers in slots.values() for slot in numbers), default=-1)
        self.latent_channels = self.noisy_channels + n_slots
        self._to_slots, self._from_slots = {}, {}
        for satellite, own_slots in slots.items():
            self._to_slots[satellite] = network(
                functools.partial(ToSlots, own_slots, n_slots, quadratic=quadratic, hidden=hidden)
            )
            self._from_slots[satellite] = network(functools.partial(FromSlots, own_slots, n_slots))

    @classmethod
    def of_structure(cls, structure: tuple) -> "Translator":
        """Another translator of the same structure."""
        bands, skips, slots, settings = structure
        return cls(dict(bands), dict(skips), dict(slots), **dict(settings))

    @property
    def satellites(self) -> tuple[str, ...]:
        """The satellites it translates between, in the configured order."""
        return tuple(self.bands)

    def init(self, key: jax.Array) -> Params:
        """Fresh parameters; each satellite's depend on its name's place only through its own key."""
        shared, *keys = jax.random.split(key, 1 + 2 * len(self.bands))
        encoders = {s: network.init(k) for (s, network), k in zip(self._encoders.items(), keys[::2], strict=True)}
        decoders = {s: network.init(k) for (s, network), k in zip(self._decoders.items(), keys[1::2], strict=True)}
        for networks, parts in ((self._to_slots, encoders), (self._from_slots, decoders)):
            for satellite, network in networks.items():
                parts[satellite]["spectral"] = network.init(shared)
        return {"encoders": encoders, "decoders": decoders, "shared": self._shared.init(shared)}

    def encode(self, params: Params, x: jax.Array, satellite: str) -> jax.Array:
        """The latent field of an image.

        Args:
          params: as `init` gives them.
          x: [batch, h, w, band] of that satellite, network units.
          satellite: where x comes from.

        Returns:
          z [batch, h / stride, w / stride, latent_channels], of the precision of the arithmetic; float32 or wider with
          a spectral path, whose bands must not be rounded.
        """
        spectral, rest = _split(params["encoders"][satellite])
        with jax.named_scope(f"encoder/{satellite}"):
            z = self._shared.apply(params["shared"], self._encoders[satellite].apply(rest, x))
            if not spectral:
                return z
            z = _at_least_float32(z)
            return jnp.concatenate([z, self._to_slots[satellite].apply(spectral, x).astype(z.dtype)], axis=-1)

    def decode(self, params: Params, z: jax.Array, satellite: str, source: jax.Array | None = None) -> jax.Array:
        """An image of a satellite from a latent field.

        Args:
          params: as `init` gives them.
          z: [batch, h, w, latent_channels], with or without noise.
          satellite: whose image to make.
          source: `skip_channels` of the image that z encodes; only where the generator has skip connections.

        Returns:
          [batch, h * stride, w * stride, band] of that satellite, network units, float32 or wider.
        """
        spectral, rest = _split(params["decoders"][satellite])
        with jax.named_scope(f"decoder/{satellite}"):
            # without the cast a float32 z, such as one with noise, would make all the decoder's sums float32
            noisy = self.noisy(z).astype(self._dtype or z.dtype)
            image = _at_least_float32(self._decoders[satellite].apply(rest, noisy, source))
            if not spectral:
                return image
            return image + self._from_slots[satellite].apply(spectral, z[..., self._split_at :])

    def noisy(self, z: Any) -> Any:
        """The channels of z that take noise [..., noisy_channels], not those of the spectral path: measurements."""
        return z[..., : self._split_at] if self.latent_channels > self.noisy_channels else z

    def skip_channels(self, x: jax.Array, satellite: str) -> jax.Array | None:
        """The channels of a source image that skip the latent space [..., skip]; None without skip connections."""
        channels = self._skips.get(satellite, ())
        return x[..., jnp.array(channels)] if channels else None


def build_translator(
    generator: Mapping[str, Any],
    bands: Mapping[str, Sequence[int]],
    *,
    skips: Mapping[str, Sequence[int]] | None = None,
    slots: Mapping[str, Sequence[int]] | None = None,
    initialization: str = "gaussian",
    precision: str = "float32",
    abreast: int = 1,
    remat: bool = False,
) -> Translator:
    """A translator from the `generator` section of a configuration.

    Args:
      generator: family, dim, n_downsample, n_res, activation, padding (configs/default.py says what they mean).
      bands: satellite -> its bands, 1-based.
      skips: satellite -> 0-based channels of its images that skip the latent space, equally many for each.
      slots: satellite -> for each of its channels the slot of its wavelength, where there is a spectral path; then
        n_downsample must be 0.
      initialization: of the convolution kernels.
      precision: 'float32' | 'bfloat16', of the arithmetic; parameters are float32.
      abreast: images and latent fields come packed, so many images side by side (abreast.py); n_downsample must be 0.
      remat: less memory for more time, see `Network`.
    """
    fields = ("dim", "n_downsample", "n_res", "activation", "padding")
    return Translator(
        bands,
        skips or {},
        slots or {},
        initialization=initialization,
        dtype=jnp.bfloat16 if precision == "bfloat16" else None,
        abreast=abreast,
        remat=remat,
        quadratic=generator.get("spectral_path") == "quadratic",
        hidden=generator.get("spectral_hidden", 0),
        **{field: generator[field] for field in fields},
    )
