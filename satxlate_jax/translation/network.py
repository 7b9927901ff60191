"""The generator on images of any size, in network and in physical units: padding, blocks, draws, missing values."""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from satxlate_jax.instruments import Band, denormalize, get_satellite, normalize
from satxlate_jax.models.translator import Translator
from satxlate_jax.translation.blocks import apply_in_blocks
from satxlate_jax.translation.layout import unmask
from satxlate_jax.translation.missing import blank_impossible_temperatures, fill_missing

BLOCK = 700
"""Largest side of what goes through the network at once, pixels: 0.5 to 0.8 GB at the published width (measured)."""

RULES = ("filled", "released")


PROGRAMS = 64
"""Most compiled programs that a process keeps; what was used longest ago makes room."""


@lru_cache(maxsize=PROGRAMS)
def _program(function: Callable, structure: tuple, shape: tuple[int, ...], *satellites: str) -> Callable:
    """One of the functions below, to be compiled at its first call, for networks of a structure and images of a shape.

    Runs of one structure share it, with parameters of their own. It holds no run's network and no parameters, and it is
    a function of its own, so that what was compiled goes when it goes.
    """
    return jax.jit(partial(function, Translator.of_structure(structure), *satellites))


def _translate(translator: Translator, source: str, target: str, params: Any, x: jax.Array) -> jax.Array:
    z = translator.encode(params, x, source)
    return translator.decode(params, z, target, translator.skip_channels(x, source))


def _encode(translator: Translator, source: str, params: Any, x: jax.Array) -> jax.Array:
    z = translator.encode(params, x, source)
    return z.astype(jnp.promote_types(z.dtype, jnp.float32))


def _decode_draw(
    translator: Translator, source: str, target: str, params: Any, inputs: tuple, key: jax.Array, row: int, column: int
) -> jax.Array:
    x, z = inputs
    channels = translator.noisy_channels
    noise = _latent_noise(key, row, column, (*z.shape[1:3], channels)).astype(z.dtype)
    noisy = z.at[..., :channels].add(noise)
    return translator.decode(params, noisy, target, translator.skip_channels(x, source))


def _latent_noise(key: jax.Array, row: int, column: int, shape: tuple[int, int, int]) -> jax.Array:
    """Unit Gaussian noise [h, w, channel]; depends on a pixel's place, not on its block or the rest of a batch."""

    def at(place: jax.Array) -> jax.Array:
        return jax.random.normal(jax.random.fold_in(key, place), (shape[2],))

    rows, columns = row + jnp.arange(shape[0]), column + jnp.arange(shape[1])
    return jax.vmap(jax.vmap(at))(rows[:, None] * 65_536 + columns[None, :])


def view_radius(generator: Mapping[str, Any]) -> int:
    """How far the network sees to each side of a pixel, in pixels; an upper bound where it downsamples.

    Args:
      generator: the section of the configuration: n_downsample, n_res.
    """
    halvings = generator["n_downsample"]
    coarse = 2**halvings
    strided = sum(2 * 2**index for index in range(halvings))  # 4 x 4 convolutions, each at its own resolution
    upsampled = sum(2 * 2**index for index in range(halvings))  # 3 x 3 after a nearest upsampling
    residual = (4 * generator["n_res"] + 2) * coarse  # two 3 x 3 in each block: encoder, shared, decoder
    return 3 + strided + residual + upsampled + 1 + (coarse if halvings else 0)


def on_local_devices(tree: Any, *, by_row: bool) -> Any:
    """Puts arrays on all local devices: cut along their first axis, or whole on each."""
    devices = jax.local_devices()
    if len(devices) == 1:
        return jax.device_put(tree, devices[0])
    mesh = Mesh(np.array(devices), ("tile",))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec("tile") if by_row else PartitionSpec()))


def run_network(
    params: Any,
    translator: Translator,
    x: np.ndarray,
    source: str,
    target: str,
    *,
    radius: int = 0,
    margin: int = 0,
    block: int | None = None,
    draws: int = 0,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Images of any size through the network, in network units.

    Args:
      params: the generator's, a nested dict.
      translator: the network they belong to.
      x: float32 [n, h, w, band] of the source; as many images as local devices are computed side by side.
      source: satellite of x.
      target: satellite to make.
      radius: `view_radius` of the network, needed with `block`.
      margin: pixels by which the image is continued to all sides by reflection before and cut after, so that its
        edges are not the network's zeros: with `radius` the error of the outermost pixels is that of the others.
      block: largest side computed at once, pixels; None: the whole image.
      draws: of the latent noise; 0 is none, the plain translation.
      seed: of the noise.

    Returns:
      float32 [n, h, w, target band]: the translation, or the mean over draws; and their standard deviation, or None.
    """
    height, width = x.shape[1:3]
    margin = -(-margin // translator.stride) * translator.stride
    sides = [(margin, margin - (size + 2 * margin) % -translator.stride) for size in (height, width)]
    padded = np.pad(x, ((0, 0), *sides, (0, 0)), mode="reflect" if margin else "edge")
    by_row = len(x) % len(jax.local_devices()) == 0
    structure = translator.structure

    def compute(piece: np.ndarray, row: int, column: int) -> np.ndarray:
        piece = on_local_devices(piece, by_row=by_row)
        if not draws:
            return np.asarray(_program(_translate, structure, piece.shape, source, target)(params, piece))
        inputs = piece, _program(_encode, structure, piece.shape, source)(params, piece)
        decode = _program(_decode_draw, structure, piece.shape, source, target)
        mean, squares = 0.0, 0.0
        place = row // translator.stride, column // translator.stride
        for draw in range(draws):  # Welford: small spreads on large values do not cancel
            key = jax.random.fold_in(jax.random.key(seed), draw)
            y = np.asarray(decode(params, inputs, key, *place))
            step = y - mean
            mean = mean + step / (draw + 1)
            squares = squares + step * (y - mean)
        return np.concatenate([mean, np.sqrt(squares / max(draws - 1, 1))], axis=-1)

    size = block or max(padded.shape[1:3])
    output = apply_in_blocks(compute, padded, size, radius, translator.stride)
    output = output[:, margin : margin + height, margin : margin + width]
    return (output, None) if not draws else tuple(np.split(output, 2, axis=-1))


def translate_array(
    params: Mapping[str, Any],
    translator: Translator,
    x: np.ndarray,
    source: str,
    target: str,
    statistics: Mapping[str, Mapping[str, Any]],
    rule: str = "filled",
    **settings: Any,
) -> np.ndarray:
    """Translates one image in physical units, without noise on the latent field.

    Args:
      params: the generator's, a nested dict.
      translator: the network they belong to.
      x: [h, w, band] of the source, in the order of the translator's bands, each in its unit; missing is NaN or masked.
      source: satellite of x.
      target: satellite to make.
      statistics: satellite -> {'mean': [band], 'std': [band]} in each band's unit, as a checkpoint's facts hold them.
      rule: what missing and impossible values become. 'filled': missing pixels are filled from their neighbourhood
        first and are NaN after, so that they cost only themselves. 'released': as the released code does: NaN spreads
        through the network, and brightness temperatures below 180 K or above 350 K become NaN.
      settings: radius, margin, block of `run_network`.

    Returns:
      float64 [h, w, target band] in each band's unit, not limited to any range under 'filled'.
    """
    if rule not in RULES:
        raise ValueError(f"unknown rule '{rule}'; there are {', '.join(RULES)}")
    x = unmask(x)
    if rule == "filled":
        return translate_batch(params, translator, x[None], source, target, statistics, **settings)[0][0]
    output, _ = run_network(params, translator, _normalized(x[None], source, statistics), source, target, **settings)
    values = denormalize(output[0], *_statistics(target, statistics))
    return blank_impossible_temperatures(values, translator_bands(translator, target))


def translate_batch(
    params: Mapping[str, Any],
    translator: Translator,
    x: np.ndarray,
    source: str,
    target: str,
    statistics: Mapping[str, Mapping[str, Any]],
    **settings: Any,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Translates images in physical units under the rule 'filled' of `translate_array`.

    As many at once as there are local devices, so that a long batch takes no more memory than its own size.

    Args:
      params: the generator's, a nested dict.
      translator: the network they belong to.
      x: [n, h, w, band] of the source, each band in its unit, NaN where missing; every band has values in each image.
      source: satellite of x.
      target: satellite to make.
      statistics: as for `translate_array`.
      settings: radius, margin, block, draws, seed of `run_network`.

    Returns:
      float64 [n, h, w, target band] in each band's unit, NaN where an input band is missing; and the standard
      deviation over draws, or None.
    """
    filled, missing = (np.stack(parts) for parts in zip(*(fill_missing(image) for image in x), strict=True))
    groups = _side_by_side(_normalized(filled, source, statistics))
    pairs = [run_network(params, translator, group, source, target, **settings) for group in groups]
    output = np.concatenate([pair[0] for pair in pairs])
    spread = None if pairs[0][1] is None else np.concatenate([pair[1] for pair in pairs])
    mean, std = _statistics(target, statistics)
    values = denormalize(output, mean, std)
    values[missing] = np.nan
    if spread is not None:
        spread = spread.astype(np.float64) * std
        spread[missing] = np.nan
    return values, spread


def encode_batch(
    params: Mapping[str, Any],
    translator: Translator,
    x: np.ndarray,
    source: str,
    statistics: Mapping[str, Mapping[str, Any]],
    radius: int = 0,
    block: int | None = None,
) -> np.ndarray:
    """The latent fields of images in physical units, without noise.

    Memory beyond what is returned is that of one block of one image on each local device.

    Args:
      params: the generator's, a nested dict.
      translator: the network they belong to.
      x: [n, h, w, band] as for `translate_batch`; h and w multiples of the network's stride.
      source: satellite of x.
      statistics: as for `translate_array`.
      radius: by which the image is continued by reflection, and of the blocks' overlap: `view_radius` of the network.
      block: as for `run_network`.

    Returns:
      float32 [n, h / stride, w / stride, latent], dimensionless.
    """
    filled = np.stack([fill_missing(image)[0] for image in x])
    stride = translator.stride
    around = -(-radius // stride) * stride

    def encode(piece: np.ndarray, row: int, column: int) -> np.ndarray:
        by_row = len(piece) % len(jax.local_devices()) == 0
        program = _program(_encode, translator.structure, piece.shape, source)
        return np.asarray(program(params, on_local_devices(piece, by_row=by_row)))

    def inner(group: np.ndarray) -> np.ndarray:
        padded = np.pad(group, ((0, 0), (around, around), (around, around), (0, 0)), mode="reflect")
        z = apply_in_blocks(encode, padded, block or max(padded.shape[1:3]), radius, stride, coarser=stride)
        rim = around // stride
        return z[:, rim : z.shape[1] - rim, rim : z.shape[2] - rim]

    return np.concatenate([inner(group) for group in _side_by_side(_normalized(filled, source, statistics))])


def _side_by_side(x: np.ndarray) -> list[np.ndarray]:
    """Groups of as many images as there are local devices; the last may have fewer."""
    return np.split(x, range(len(jax.local_devices()), len(x), len(jax.local_devices())))


def translator_bands(translator: Translator, name: str) -> tuple[Band, ...]:
    """The bands that a network reads or makes of a satellite, in the order of its channels."""
    satellite = get_satellite(name)
    return tuple(satellite.band(number) for number in translator.bands[name])


def _statistics(satellite: str, statistics: Mapping[str, Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(statistics[satellite]["mean"]), np.asarray(statistics[satellite]["std"])


def _normalized(x: np.ndarray, satellite: str, statistics: Mapping[str, Mapping[str, Any]]) -> np.ndarray:
    return normalize(x, *_statistics(satellite, statistics))
