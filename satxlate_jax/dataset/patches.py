"""Cut an image into patches."""

import numpy as np

from satxlate_jax.cli import InputError


def _starts(size: int, patch: int, stride: int) -> np.ndarray:
    # The last patch ends at the edge instead of being dropped or padded, so nothing is lost and nothing invented.
    starts = np.arange(0, size - patch + 1, stride)
    return starts if starts[-1] == size - patch else np.append(starts, size - patch)


def patch_offsets(height: int, width: int, patch: int, stride: int | None = None) -> np.ndarray:
    """Where patches begin that cover an image.

    Args:
      height: of the image, pixels.
      width: of the image, pixels.
      patch: side of a patch, pixels.
      stride: pixels from one patch to the next; default `patch`, so that only the last row and column overlap.

    Returns:
      int64 [n, 2]: row and column of each patch's first pixel, row by row.

    Raises:
      InputError: the patch is larger than the image, or patch or stride is not positive.
    """
    stride = patch if stride is None else stride
    if patch < 1 or stride < 1:
        raise InputError(f"patch size {patch} and stride {stride} must be at least 1 pixel")
    if stride > patch:
        raise InputError(f"stride {stride} is larger than the patch size {patch}: pixels between patches would be lost")
    if patch > min(height, width):
        raise InputError(f"a patch of {patch} x {patch} does not fit into an image of {height} x {width} pixels")
    rows, columns = np.meshgrid(_starts(height, patch, stride), _starts(width, patch, stride), indexing="ij")
    return np.stack([rows.ravel(), columns.ravel()], axis=1).astype(np.int64)


def cut_patches(x: np.ndarray, patch: int, stride: int | None = None) -> np.ndarray:
    """Cuts an image into square patches, in the order of `patch_offsets`.

    Args:
      x: [height, width, band].
      patch: side of a patch, pixels.
      stride: pixels from one patch to the next; default `patch`.

    Returns:
      [n, patch, patch, band], a copy of x's type.

    Raises:
      InputError: as `patch_offsets`.
    """
    offsets = patch_offsets(x.shape[0], x.shape[1], patch, stride)
    patches = np.empty((len(offsets), patch, patch, x.shape[2]), x.dtype)
    for index, (row, column) in enumerate(offsets):
        patches[index] = x[row : row + patch, column : column + patch]
    return patches
