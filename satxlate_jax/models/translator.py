"""The generator: an encoder and a decoder per satellite around one shared latent space, and a spectral path beside it.

Written from the description in the paper (Vandal et al., TGRS 2021, section III) and of the released configurations.

The spectral path, where there is one, is a per-pixel bypass of the networks: z gets a channel more for each wavelength
that any satellite has, and the decoder adds a 1 x 1 map of them to its image. A satellite's bands are copied to the
channels of their wavelengths; those it lacks are a linear or quadratic map of its bands and, with hidden units, what a
small network per pixel adds to that. The networks learn what a map per pixel cannot do.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from satxlate_jax.models.layers import ConvBlock, ResidualBlock, at_least_float32
from satxlate_jax.models.network import EqualByStructure, Params, find_network

SIZES = ("dim", "n_downsample", "n_res", "activation", "padding")  # of encoders and decoders


class Encoder(nnx.Module):
    """[batch, h, w, band] -> [batch, h / 2**n_downsample, w / 2**n_downsample, latent], before the shared block."""

    def __init__(self, bands: int, dim: int, n_downsample: int, n_res: int, activation: str, padding: str, **settings):
        block = {"padding": padding, "activation": activation, **settings}
        self.conv_in = ConvBlock(bands, dim, 7, pad=3, **block)
        for index in range(n_downsample):
            setattr(self, f"down_{index}", ConvBlock(dim, 2 * dim, 4, stride=2, pad=1, **block))
            dim *= 2
        for index in range(n_res):
            setattr(self, f"res_block_{index}", ResidualBlock(dim, **block))
        self.names = ("conv_in", *(f"down_{i}" for i in range(n_downsample)), *(f"res_block_{i}" for i in range(n_res)))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Encode x."""
        for name in self.names:
            x = getattr(self, name)(x)
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
        """Decode z; `source` [batch, h, w, skips] joins the features before the last convolution."""
        for index in range(self.depth[1]):
            z = getattr(self, f"res_block_{index}")(z)
        for index in range(self.depth[0]):
            z = getattr(self, f"up_{index}")(z.repeat(2, axis=1).repeat(2, axis=2))
        if self.skips:
            if source is None:
                raise ValueError(f"this decoder needs the {self.skips} skip channels of the source image")
            z = jnp.concatenate([z, source.astype(z.dtype)], axis=-1)
        return self.conv_out(z)


# ---------------------------------------------------------------- spectral path


def spectral_features(x: Any, quadratic: bool) -> Any:
    """What the spectral path's map is linear in: bands x [..., band] (jax or numpy), or also all products of two.

    Returns:
      [..., band] or [..., band + band * (band + 1) / 2]: after the bands 1 * 1, 1 * 2, ..., 2 * 2, 2 * 3, ...
    """
    if not quadratic:
        return x
    first, second = np.triu_indices(x.shape[-1])
    if not isinstance(x, jax.Array):
        return np.concatenate([x, x[..., first] * x[..., second]], axis=-1)
    # products with ones and zeros, exact at this precision; taking channels by number is slow, its gradient slower
    take = functools.partial(jnp.matmul, x, precision="highest")
    products = take(jax.nn.one_hot(first, x.shape[-1], axis=0)) * take(jax.nn.one_hot(second, x.shape[-1], axis=0))
    return jnp.concatenate([x, products], axis=-1)


class HiddenUnits(nnx.Module):
    """[..., band] -> [..., lacking channel]: whitening, two hidden layers with ReLU, and a last layer.

    Bands of one instrument say nearly the same, and what tells a lacking one lies in their small differences; whitening
    makes these as large as the rest. All is zero until training/spectral_path_init.py fits it.
    """

    def __init__(self, bands: int, hidden: int, lacking: int, *, rngs: nnx.Rngs):
        zero = functools.partial(nnx.Linear, kernel_init=nnx.initializers.zeros, rngs=rngs)
        self.whitening = zero(bands, bands)
        self.first = zero(bands, hidden)
        self.second = zero(hidden, hidden)
        self.last = zero(hidden, lacking)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map x."""
        return self.last(nnx.relu(self.second(nnx.relu(self.first(self.whitening(x))))))


class ToWavelengths(nnx.Linear):
    """[..., band] -> [..., wavelength channel]; begins by copying bands to their wavelengths, zero elsewhere.

    The channels that the satellite lacks are fitted before training (training/spectral_path_init.py).
    """

    def __init__(self, channels: Sequence[int], n_channels: int, *, quadratic: bool, hidden: int, rngs: nnx.Rngs):
        self.lacking = tuple(channel for channel in range(n_channels) if channel not in channels)
        self.quadratic = quadratic and bool(self.lacking)  # a satellite that lacks nothing has nothing to infer
        self.infers = hidden > 0 and bool(self.lacking)
        self.n_channels, bands = n_channels, len(channels)
        products = bands * (bands + 1) // 2 if self.quadratic else 0
        copies = jax.nn.one_hot(jnp.array(channels), n_channels)
        kernel = jnp.concatenate([copies, jnp.zeros((products, n_channels))])
        super().__init__(len(kernel), n_channels, kernel_init=lambda *_: kernel, rngs=rngs)
        if self.infers:
            self.inferred = HiddenUnits(bands, hidden, len(self.lacking), rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map x."""
        channels = super().__call__(spectral_features(x, self.quadratic))
        if not self.infers:
            return channels
        return channels + self.inferred(x) @ jax.nn.one_hot(jnp.array(self.lacking), self.n_channels, dtype=x.dtype)


def from_wavelengths(channels: Sequence[int], n_channels: int, *, rngs: nnx.Rngs) -> nnx.Linear:
    """[..., wavelength channel] -> [..., band]; begins by copying."""
    kernel = jax.nn.one_hot(jnp.array(channels), n_channels).T
    return nnx.Linear(*kernel.shape, kernel_init=lambda *_: kernel, rngs=rngs)


# ---------------------------------------------------------------- translator


def _split(params: Params) -> tuple[Params, Params]:
    """The spectral path's parameters, empty without one, and the rest."""
    return params.get("spectral", {}), {name: value for name, value in params.items() if name != "spectral"}


class Translator(EqualByStructure):
    """The generator as the rest of the package sees it: encode and decode, as functions of nested dicts.

    Args:
      generator: that section of the configuration (configs/default.py says what its fields mean).
      bands: satellite -> its bands, 1-based, in the configured order.
      skips: satellite -> 0-based channels of its images that skip the latent space, equally many for each.
      wavelength_channels: satellite -> for each of its channels the spectral path's channel of its wavelength, where
        there is such a path; then n_downsample must be 0.
      initialization: of the convolution kernels.
      precision: 'float32' | 'bfloat16', of the arithmetic; parameters are float32.
      remat: less memory for more time, see `Network`.

    Attributes:
      stride: image heights and widths must be multiples of it.
      radius: pixels that an output depends on to each side; an upper bound where the network downsamples.
      latent_channels: channels of z.
      noisy_channels: how many of them, the first, take noise; the spectral path takes none.
      is_calibrated: whether it knows the distribution of what it makes, see `SpectralFlow`.
      block: largest side of an image that is computed at once, pixels: 0.5 to 0.8 GB at the published width (measured).
    """

    is_calibrated = False
    block = 704

    def __init__(
        self,
        generator: Mapping[str, Any],
        bands: Mapping[str, Sequence[int]],
        *,
        skips: Mapping[str, Sequence[int]] | None = None,
        wavelength_channels: Mapping[str, Sequence[int]] | None = None,
        initialization: str = "gaussian",
        precision: str = "float32",
        remat: bool = False,
    ):
        skips, wavelength_channels = skips or {}, wavelength_channels or {}
        sizes = {name: generator[name] for name in SIZES}
        path, hidden = generator.get("spectral_path", "none"), generator.get("spectral_hidden", 0)
        self.bands, self._skips, channels = (
            {satellite: tuple(numbers) for satellite, numbers in part.items()}
            for part in (bands, skips, wavelength_channels)
        )
        parts = (tuple(part.items()) for part in (self.bands, self._skips, channels))
        self.structure = (*sizes.values(), path, hidden, *parts, initialization, precision, remat)
        self.stride = 2 ** sizes["n_downsample"]
        self.noisy_channels = sizes["dim"] * self.stride
        resampled = 2 * sum(2 * 2**index for index in range(sizes["n_downsample"]))  # 4 x 4 strided, 3 x 3 after
        residual = (4 * sizes["n_res"] + 2) * self.stride  # two 3 x 3 in each block: encoder, shared, decoder
        self.radius = 3 + resampled + residual + 1 + (self.stride if sizes["n_downsample"] else 0)
        self._dtype = jnp.bfloat16 if precision == "bfloat16" else None
        settings = {"initialization": initialization, "dtype": self._dtype}

        network = functools.partial(find_network, remat=remat)
        self._encoders, self._decoders = {}, {}
        for satellite, numbers in self.bands.items():
            skip_count = len(skips.get(satellite, ()))
            self._encoders[satellite] = network(Encoder, len(numbers), **sizes, **settings)
            self._decoders[satellite] = network(Decoder, len(numbers), skip_count, **sizes, **settings)
        # the shared block is always relu and zero padding, whatever the rest is
        self._shared = network(ResidualBlock, self.noisy_channels, padding="zero", activation="relu", **settings)
        n = 1 + max((channel for own in channels.values() for channel in own), default=-1)
        self.latent_channels = self.noisy_channels + n
        options = {"quadratic": path == "quadratic", "hidden": hidden}
        self._to_wavelengths = {s: network(ToWavelengths, own, n, **options) for s, own in channels.items()}
        self._from_wavelengths = {s: network(from_wavelengths, own, n) for s, own in channels.items()}

    def copied(self, source: str, target: str) -> list[tuple[int, int]]:
        """Positions of bands that pass from the source's to the target's arrays unchanged: none."""
        return []

    def origins(self, source: str, target: str) -> list[str]:
        """Where each of the target's bands comes from: all are inferred, from the latent field."""
        return ["inferred"] * len(self.bands[target])

    def init(self, key: jax.Array) -> Params:
        """Fresh parameters; each satellite's depend on its name's place only through its own key."""
        shared, *keys = jax.random.split(key, 1 + 2 * len(self.bands))
        encoders = {s: network.init(k) for (s, network), k in zip(self._encoders.items(), keys[::2], strict=True)}
        decoders = {s: network.init(k) for (s, network), k in zip(self._decoders.items(), keys[1::2], strict=True)}
        for networks, parts in ((self._to_wavelengths, encoders), (self._from_wavelengths, decoders)):
            for satellite, network in networks.items():
                parts[satellite]["spectral"] = network.init(shared)
        return {"encoders": encoders, "decoders": decoders, "shared": self._shared.init(shared)}

    def encode(self, params: Params, x: jax.Array, satellite: str) -> jax.Array:
        """The latent field of a satellite's images x [batch, h, w, band], network units.

        Returns:
          z [batch, h / stride, w / stride, latent_channels], of the precision of the arithmetic; float32 or wider with
          a spectral path, whose bands must not be rounded.
        """
        spectral, rest = _split(params["encoders"][satellite])
        with jax.named_scope(f"encoder/{satellite}"):
            z = self._shared.apply(params["shared"], self._encoders[satellite].apply(rest, x))
            if not spectral:
                return z
            z = at_least_float32(z)
            return jnp.concatenate([z, self._to_wavelengths[satellite].apply(spectral, x).astype(z.dtype)], axis=-1)

    def decode(self, params: Params, z: jax.Array, satellite: str, source: jax.Array | None = None) -> jax.Array:
        """Images of a satellite [batch, h * stride, w * stride, band], network units, float32 or wider.

        Args:
          params: as `init` gives them.
          z: [batch, h, w, latent_channels], with or without noise.
          satellite: whose image to make.
          source: `skip_channels` of the image that z encodes; only where the generator has skip connections.
        """
        spectral, rest = _split(params["decoders"][satellite])
        with jax.named_scope(f"decoder/{satellite}"):
            # without the cast a float32 z, such as one with noise, would make all the decoder's sums float32
            noisy = self.noisy(z).astype(self._dtype or z.dtype)
            image = at_least_float32(self._decoders[satellite].apply(rest, noisy, source))
            if not spectral:
                return image
            return image + self._from_wavelengths[satellite].apply(spectral, z[..., self.noisy_channels :])

    def noisy(self, z: Any) -> Any:
        """The channels of z that take noise [..., noisy_channels], not those of the spectral path: measurements."""
        return z[..., : self.noisy_channels]

    def skip_channels(self, x: jax.Array, satellite: str) -> jax.Array | None:
        """The channels of a source image that skip the latent space [..., skip]; None without skip connections."""
        channels = self._skips.get(satellite, ())
        return x[..., jnp.array(channels)] if channels else None
