"""Fill missing and impossible values before the network sees them and mark them after, or repair them.

A convolution spreads one NaN over its whole field of view (45 x 45 pixels in the released model, in all bands). With
the nearest observed value in its place a missing pixel costs only itself.

Repair fills what a satellite's own image lacks: bands, and pixels that are missing in some bands but not in others. The
bands that are present predict the others at each scale (models/band_covariance.py). Where a band is measured around a
hole, the error of its estimate there is continued into the hole and subtracted. Measured values stay as they are.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import scipy  # its parts are imported on first use

from satxlate_jax.instruments import Band

SETS = 24  # sets of missing bands of one image that are each inferred from exactly what is there, the most frequent
WIDTHS = (20, 8, 3)  # pixels, of the Gaussians by which gaps are smoothed

Infer = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def fill_missing(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fill each band's missing pixels (NaN in [h, w, band]) with its nearest observed value; every band has one.

    Returns the filled copy, and where any band was missing, bool [h, w].
    """
    missing = ~np.isfinite(values)
    if not missing.any():
        return values, np.zeros(values.shape[:2], bool)
    filled = values.copy()
    nearest: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}  # bands of one sensor are mostly missing together
    for channel in np.flatnonzero(missing.any((0, 1))):
        holes = missing[..., channel]
        key = holes.tobytes()
        if key not in nearest:
            rows, columns = scipy.ndimage.distance_transform_edt(holes, return_distances=False, return_indices=True)
            nearest[key] = rows[holes], columns[holes]
        filled[..., channel][holes] = values[..., channel][nearest[key]]
    return filled, missing.any(-1)


def clip_to_valid_range(values: np.ndarray, bands: Sequence[Band]) -> tuple[np.ndarray, np.ndarray]:
    """Each band of [..., band] clipped to its valid range, NaN kept; and where that changed a value, bool."""
    low, high = np.array([band.valid_range for band in bands], np.float64).reshape(-1, 2).T
    limited = np.clip(values, low, high)
    return limited, np.isfinite(values) & (limited != values)


def fill_image(x: np.ndarray, infer: Infer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fill an image [h, w, band], NaN where missing, where at least one band is measured.

    `infer` makes of an image without gaps and its given bands, bool [band], mean and standard deviation [h, w, band].
    Returns the image, NaN where every band is missing; standard deviations, 0 where measured; and what was filled,
    bool.
    """
    holes = ~np.isfinite(x)
    absent, lost = holes.all((0, 1)), holes.all(-1)
    whole, _ = fill_missing(np.where(absent, 0, x))
    values, std, filled = x.copy(), np.zeros_like(x), holes & ~lost[..., None]
    for bands, pixels in _sets(holes, absent, lost):
        mean, deviation = infer(whole, ~bands)
        for band in np.flatnonzero(bands):
            places = pixels & filled[..., band]
            estimate = mean[..., band]
            if not absent[band]:
                estimate = estimate + interpolate(x[..., band] - estimate)
            values[places, band], std[places, band] = estimate[places], deviation[places, band]
    return values, std, filled


def interpolate(field: np.ndarray) -> np.ndarray:
    """Fill the gaps, NaN, of a field [h, w] with a smooth continuation of what is around them."""
    gaps = ~np.isfinite(field)
    filled = fill_missing(field[..., None])[0][..., 0]
    for width in WIDTHS:
        filled = np.where(gaps, scipy.ndimage.gaussian_filter(filled, width), filled)
    return filled


def _sets(holes: np.ndarray, absent: np.ndarray, lost: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Sets of missing bands, bool [band], and the pixels that each serves.

    Beyond the most frequent ones, which are specks, each band is inferred from all others as filled by neighbours.
    """
    kinds, where, counts = np.unique(holes[~lost], axis=0, return_inverse=True, return_counts=True)
    place = np.full(lost.shape, -1)
    place[~lost] = where.reshape(-1)
    order = np.argsort(-counts)
    for index in order[:SETS]:
        if kinds[index].any():
            yield kinds[index], place == index
    rest = np.isin(place, order[SETS:])
    for band in np.flatnonzero(kinds[order[SETS:]].any(0) & ~absent):
        yield absent | (np.arange(len(absent)) == band), rest & holes[..., band]
