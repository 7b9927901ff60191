"""Run the generator on images of any size, in normalised units.

Large images go through in blocks that overlap by twice the network's field of view and a ramp. The rim, where the
network sees the block's edge, gets no weight, and within the ramp one block fades into the next. The result equals that
of the whole image; only with downsampling the decoders' LayerNorm sees a block in place of the image, and the ramp
hides the seam.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache, partial
from threading import RLock
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from satxlate_jax.cli import InputError
from satxlate_jax.compilation import compiler_options
from satxlate_jax.models.band_covariance import condition
from satxlate_jax.models.network import noise_at_places
from satxlate_jax.models.spectral_flow import Distribution, SpectralFlow
from satxlate_jax.models.translator import Translator

RAMP = 32
"""Pixels over which one block fades into the next."""

PROGRAMS = 64
"""Most compiled programs that a process keeps."""

_running = RLock()
"""Of several threads one runs the network, so that memory is that of one call, and nothing is compiled twice."""


@lru_cache(maxsize=PROGRAMS)
def _program(function: Callable, translator: Hashable, shape: tuple[int, ...], *satellites: str) -> Callable:
    """Compile function(translator, params, x, *satellites, *others) for images x of a shape.

    Runs whose translators are equal share the program, which refers to no run's parameters.
    """

    def call(params: Any, x: Any, *others: Any) -> Any:
        return function(translator, params, x, *satellites, *others)

    call.__name__ = function.__name__  # in profiles
    return jax.jit(call, compiler_options=compiler_options(jax.default_backend()))


def _distribute(flow: SpectralFlow, params: Any, x: jax.Array, source: str, target: str, *draw: Any) -> jax.Array:
    """Mean, standard deviation, `extrapolated` and, where a key and places are given, a sample, along the channels."""
    if draw:
        key, places, *first = draw
        draw = (jax.vmap(partial(jax.random.fold_in, key))(places), *first)
    found = flow.distribution(params, x, source, target, *draw)
    flags = found.extrapolated.astype(found.mean.dtype)
    return jnp.concatenate([found.mean, found.std, flags, *[found.sample] * bool(draw)], -1)


def _translate(translator: Translator, params: Any, x: jax.Array, source: str, target: str) -> jax.Array:
    z = translator.encode(params, x, source)
    return translator.decode(params, z, target, translator.skip_channels(x, source))


def _encode(translator: Translator, params: Any, x: jax.Array, source: str) -> jax.Array:
    z = translator.encode(params, x, source)
    return z.astype(jnp.promote_types(z.dtype, jnp.float32))


def _decode_member(
    translator: Translator, params: Any, inputs: tuple, source: str, target: str, key: jax.Array, row: int, column: int
) -> jax.Array:
    x, z = inputs
    channels = translator.noisy_channels
    noise = noise_at_places(key, row, column, (*z.shape[1:3], channels)).astype(z.dtype)
    return translator.decode(params, z.at[..., :channels].add(noise), target, translator.skip_channels(x, source))


def on_local_devices(tree: Any, *, by_row: bool) -> Any:
    """Put arrays on all local devices: cut along their first axis, or whole on each."""
    devices = jax.local_devices()
    if len(devices) == 1:
        return jax.device_put(tree, devices[0])
    mesh = Mesh(np.array(devices), ("tile",))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec("tile") if by_row else PartitionSpec()))


def images_at_once(pixels: int, block: int | None) -> int:
    """Images that one call takes: one for each local device; of accelerators as many as have a block's pixels."""
    devices = jax.local_devices()
    fitting = block**2 // pixels if block and devices[0].platform != "cpu" else 1
    return len(devices) * max(fitting, 1)


def cut_axis(size: int, block: int, rim: int, stride: int = 1) -> tuple[list[tuple[int, np.ndarray]], int]:
    """Cut one side of an image into equal overlapping blocks.

    All are pixels: `size` (a multiple of `stride`), the largest length of a block, and `rim`, which gets no weight at a
    cut: the network's field of view to one side. First pixels and lengths are multiples of `stride`.

    Returns:
      First pixel and weights, float32 [length], of each block, weights summing to 1 at every pixel; and the length.
      InputError where a block would be all rim.
    """
    if size <= block:
        return [(0, np.ones(size, np.float32))], size

    def advance_of(length: int) -> int:
        return (length - 2 * rim - RAMP) // stride * stride

    longest = block // stride * stride
    if advance_of(longest) < stride:
        raise InputError(f"blocks of {block} pixels are too small: the network sees {rim} pixels to each side")
    further = -(-(size - longest) // advance_of(longest))
    # the shortest blocks that, of this number, reach the end: less is computed twice
    lengths = range(stride, longest + 1, stride)
    length = next(length for length in lengths if length + further * advance_of(length) >= size)
    advance = advance_of(length)
    pixels, total, blocks = np.arange(length) + 0.5, np.zeros(size), []
    for start in range(0, size - length + advance, advance):
        start = min(start, size - length)
        # from 0 at the rim's inner edge to 1 a ramp later; not at the image's own edges
        rise = np.clip((pixels - rim) / RAMP, 0, 1) if start > 0 else np.ones(length)
        fall = np.clip((length - rim - pixels) / RAMP, 0, 1) if start + length < size else np.ones(length)
        blocks.append((start, np.minimum(rise, fall)))
        total[start : start + length] += blocks[-1][1]
    return [(start, (weights / total[start : start + length]).astype(np.float32)) for start, weights in blocks], length


def apply_in_blocks(
    function: Callable[[np.ndarray, int, int], np.ndarray],
    x: np.ndarray,
    block: int,
    rim: int,
    stride: int = 1,
    coarser: int = 1,
) -> np.ndarray:
    """Apply a function of images block by block; memory is that of one block and the output.

    `function` makes of images [n, h, w, band], and of row and column of their first pixel, images [n, h / coarser,
    w / coarser, other band]; `coarser` divides `stride`. The others are as of `cut_axis`.
    """
    (rows, height), (columns, width) = (cut_axis(size, block, rim, stride) for size in x.shape[1:3])
    if len(rows) == len(columns) == 1:
        return function(x, 0, 0)
    output = None
    for row, row_weights in rows:
        for column, column_weights in columns:
            piece = function(x[:, row : row + height, column : column + width], row, column)
            if output is None:
                output = np.zeros((len(x), x.shape[1] // coarser, x.shape[2] // coarser, piece.shape[3]), np.float32)
            top, left = row // coarser, column // coarser
            weights = row_weights[::coarser, None] * column_weights[::coarser]
            output[:, top : top + piece.shape[1], left : left + piece.shape[2]] += piece * weights[..., None]
    return output


def _apply(
    compute: Callable[..., Any],
    x: np.ndarray,
    margin: int,
    block: int | None,
    radius: int,
    stride: int,
    coarser: int = 1,
    each: np.ndarray | None = None,
) -> np.ndarray:
    """Apply a function in blocks to images continued by reflection, `images_at_once` of them together.

    `each` [n] is a last argument of the function, the part that belongs to the images that it gets.
    """

    def on_devices(of_group: tuple, piece: np.ndarray, row: int, column: int) -> np.ndarray:
        with _running:
            return np.asarray(compute(on_local_devices(piece, by_row=True), row, column, *of_group))

    margin = -(-margin // stride) * stride
    sides = [(margin, margin - (size + 2 * margin) % -stride) for size in x.shape[1:3]]
    rows, columns = (slice(margin // coarser, (margin + size) // coarser) for size in x.shape[1:3])
    full, devices, outputs = images_at_once(x.shape[1] * x.shape[2], block), jax.local_device_count(), []
    for start in range(0, len(x), full):
        # each device gets as many; the last image fills up
        size = min(full, -(-(len(x) - start) // devices) * devices)
        group = np.minimum(np.arange(start, start + size), len(x) - 1)
        apply = partial(on_devices, () if each is None else (each[group],))
        padded = np.pad(x[group], ((0, 0), *sides, (0, 0)), mode="reflect" if margin else "edge")
        y = apply_in_blocks(apply, padded, block or max(padded.shape[1:3]), radius, stride, coarser)
        outputs.append(y[:, rows, columns])
    whole = outputs[0] if len(outputs) == 1 else np.concatenate(outputs)  # a copy can take as long as the network
    return whole[: len(x)]


def run_network(
    params: Any,
    translator: Translator,
    x: np.ndarray,
    source: str,
    target: str,
    *,
    margin: int = 0,
    block: int | None = None,
    members: int = 0,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Translate images x, float32 [n, h, w, band] in network units, of a source to a target.

    At most `block` pixels a side are computed at once (None: the whole image). By `margin` pixels the image is
    continued by reflection before and cut after: with the translator's `radius` no pixel sees the network's zeros
    beyond the edge. `members` are of an ensemble over latent noise by a seed; 0 is none.

    Returns:
      float32 [n, h, w, target band]: the translation, or the ensemble's mean; and its standard deviation, or None.
    """
    stride = translator.stride

    def compute(piece: jax.Array, row: int, column: int) -> Any:
        if not members:
            return _program(_translate, translator, piece.shape, source, target)(params, piece)
        inputs = piece, _program(_encode, translator, piece.shape, source)(params, piece)
        decode = _program(_decode_member, translator, piece.shape, source, target)
        mean, squares = 0.0, 0.0
        for member in range(members):  # Welford: small deviations of large values do not cancel
            key = jax.random.fold_in(jax.random.key(seed), member)
            y = np.asarray(decode(params, inputs, key, row // stride, column // stride))
            step = y - mean
            mean = mean + step / (member + 1)
            squares = squares + step * (y - mean)
        return np.concatenate([mean, np.sqrt(squares / max(members - 1, 1))], axis=-1)

    output = _apply(compute, x, margin, block, translator.radius, stride)
    return (output, None) if not members else tuple(np.split(output, 2, axis=-1))


def encode_images(
    params: Any, translator: Translator, x: np.ndarray, source: str, *, block: int | None = None
) -> np.ndarray:
    """Latent fields, without noise, float32 [n, h / stride, w / stride, latent], of images as `run_network` takes them.

    Their sides must be multiples of the stride.
    """

    def compute(piece: jax.Array, *_: int) -> jax.Array:
        return _program(_encode, translator, piece.shape, source)(params, piece)

    return _apply(compute, x, translator.radius, block, translator.radius, translator.stride, translator.stride)


class FlowProgram:
    """The spectral flow on images of any size [n, h, w, band and angle]; larger ones go through in blocks.

    Blocks begin at multiples of the coarsest wavelet's width and overlap by twice what an output depends on, nearly.
    """

    def __init__(self, params: Any, flow: SpectralFlow, block: int):
        self.params, self.flow, self._block = params, flow, block

    def distribution(
        self, x: np.ndarray, source: str, target: str, places: np.ndarray | None = None, seed: int = 0, member: int = 0
    ) -> Distribution:
        """As `SpectralFlow.distribution`, in the target's network units; with `places` [n] also a sample.

        Members of one seed are independent; images of one number in `places` share their noise.
        """
        key = jax.random.fold_in(jax.random.key(seed), member)

        def compute(piece: jax.Array, row: int, column: int, *places: np.ndarray) -> jax.Array:
            draw = (key, *places, row, column) if places else ()
            return _program(_distribute, self.flow, piece.shape, source, target)(self.params, piece, *draw)

        stride = 1 if max(x.shape[1:3]) <= self._block else self.flow.alignment
        output = _apply(compute, x, 0, self._block, self.flow.radius, stride, each=places)
        mean, std, flags, *sample = np.split(output, 3 if places is None else 4, -1)
        return Distribution(mean, std, flags > 0.5, *sample)

    def base(self, x: np.ndarray, source: str, target: str) -> np.ndarray:
        """The regression per pixel [n, h, w, band] in the target's network units."""

        def compute(piece: jax.Array, *_: int) -> jax.Array:
            return _program(SpectralFlow.regression, self.flow, piece.shape, source, target)(self.params, piece)

        return _apply(compute, x, 0, self._block, 0, 1)

    def run_unblocked(self, method: Callable, x: np.ndarray, *satellites: str, others: Sequence[Any] = ()) -> Any:
        """What a method of `SpectralFlow` makes of images [n, h, w, ...], with others of its arguments; no blocks."""
        with _running:
            program = _program(method, self.flow, x.shape, *satellites)
            return jax.tree.map(np.asarray, program(self.params, x, *others))

    def infer(self, x: np.ndarray, satellite: str, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation [h, w, band] of an image [h, w, band and angle] whose `given` bands are known."""
        known = np.ones(self.flow.axis.size, bool)
        known[list(self.flow.axis.of_satellite(satellite))] = given
        part = condition(jax.tree.map(np.asarray, self.params["usual"][satellite]), known)
        others = [jax.tree.map(np.float32, part)]
        mean, std = self.run_unblocked(SpectralFlow.infer, x[None], satellite, satellite, others=others)
        return mean[0], std[0]
