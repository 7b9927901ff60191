"""Large images in pieces of bounded size: overlapping blocks, blended smoothly where they meet.

What a convolution computes near the edge of a block is not what it would compute inside the image. Blocks therefore
overlap by twice the network's field of view and a ramp; the rim gets no weight, and within the ramp one block fades
into the next. Without downsampling the result equals that of the whole image; with it, the decoders' LayerNorm sees a
block instead of the image, and blocks may differ slightly: the ramp then hides the seam.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

RAMP = 32
"""Pixels over which one block fades into the next."""


@dataclass(frozen=True)
class Axis:
    """How one side of an image is cut.

    Attributes:
      starts: first pixel of each block.
      length: of every block, pixels.
      weights: float32 [block, length], which sum to 1 over the blocks at every pixel.
    """

    starts: tuple[int, ...]
    length: int
    weights: np.ndarray


def cut_axis(size: int, block: int, rim: int, stride: int = 1) -> Axis:
    """Cuts one side into equal overlapping blocks.

    Args:
      size: of the side, pixels, a multiple of stride.
      block: largest length of a block, pixels.
      rim: pixels at a cut that must get no weight (the network's field of view to one side).
      stride: starts and lengths are multiples of it.

    Raises:
      ValueError: a block would be all rim.
    """
    if size <= block:
        return Axis((0,), size, np.ones((1, size), np.float32))
    length = block // stride * stride
    rim = -(-rim // stride) * stride
    advance = (length - 2 * rim - RAMP) // stride * stride
    if advance < stride:
        raise ValueError(f"blocks of {block} pixels are too small: the network sees {rim} pixels to each side")
    count = -(-(size - length) // advance) + 1
    starts = tuple(min(index * advance, size - length) for index in range(count))
    pixels = np.arange(size, dtype=np.float64) + 0.5
    raw = np.zeros((count, size))
    for index, start in enumerate(starts):
        # rises from 0 at the rim's inner edge to 1 a ramp later, and falls likewise; not at the image's own edges
        rise = np.ones(size) if index == 0 else np.clip((pixels - start - rim) / RAMP, 0, 1)
        fall = np.ones(size) if index == count - 1 else np.clip((start + length - rim - pixels) / RAMP, 0, 1)
        inside = (pixels > start) & (pixels < start + length)
        raw[index] = np.where(inside, np.minimum(rise, fall), 0)
    raw /= raw.sum(0)
    weights = np.stack([raw[index, start : start + length] for index, start in enumerate(starts)])
    return Axis(starts, length, weights.astype(np.float32))


def apply_in_blocks(
    function: Callable[[np.ndarray, int, int], np.ndarray],
    x: np.ndarray,
    block: int,
    rim: int,
    stride: int = 1,
    coarser: int = 1,
) -> np.ndarray:
    """Applies a function of images block by block.

    Args:
      function: from ([n, h, w, band], row and column of its first pixel) to [n, h / coarser, w / coarser, other band].
      x: [n, h, w, band]; h and w multiples of stride.
      block: largest side of a block, pixels; memory is that of one block (and the output).
      rim: the function's field of view to one side, pixels.
      stride: blocks begin and end at multiples of it.
      coarser: pixels of the input to a side of one of the output; divides stride.

    Returns:
      float32 [n, h / coarser, w / coarser, other band].
    """
    rows, columns = cut_axis(x.shape[1], block, rim, stride), cut_axis(x.shape[2], block, rim, stride)
    if len(rows.starts) == len(columns.starts) == 1:
        return function(x, 0, 0)
    output = None
    for row, row_weights in zip(rows.starts, rows.weights, strict=True):
        for column, column_weights in zip(columns.starts, columns.weights, strict=True):
            piece = function(x[:, row : row + rows.length, column : column + columns.length], row, column)
            if output is None:
                sides = (x.shape[1] // coarser, x.shape[2] // coarser)
                output = np.zeros((len(x), *sides, piece.shape[3]), np.float32)
            top, left = row // coarser, column // coarser
            weights = row_weights[::coarser, None] * column_weights[::coarser]
            output[:, top : top + piece.shape[1], left : left + piece.shape[2]] += piece * weights[None, :, :, None]
    return output
