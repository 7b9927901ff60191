"""Coastlines between 60 N and 60 S, to be drawn on maps.

The data beside this module are Natural Earth's 1:10 million land (public domain, naturalearthdata.com), as packed by
world-atlas 2.0.2 (ISC licence, M. Bostock), rounded to 0.01 degrees.
"""

from functools import cache
from importlib.resources import files

import numpy as np

_UNIT = 0.01  # degrees


@cache
def _lines() -> tuple[list[np.ndarray], np.ndarray]:
    """The lines, and of each its western, eastern, southern and northern limit, degrees."""
    with (files("satxlate_jax.evaluation") / "coastlines.npz").open("rb") as file:
        data = np.load(file, allow_pickle=False)
        steps, lengths = data["steps"].astype(np.int64), data["lengths"]
    lines = [np.cumsum(part, axis=0) * _UNIT for part in np.split(steps, np.cumsum(lengths)[:-1])]
    limits = np.array([[*line.min(0), *line.max(0)] for line in lines])
    return lines, limits[:, [0, 2, 1, 3]]


def coastlines_within(west: float, east: float, south: float, north: float) -> list[np.ndarray]:
    """The coastlines that touch a box.

    Args:
      west: degrees east, [-180, 180).
      east: degrees east, larger than west.
      south: degrees north.
      north: degrees north.

    Returns:
      Lines [n, 2] of longitude (degrees east) and latitude (degrees north); they may run on outside the box.
    """
    lines, limits = _lines()
    touching = (limits[:, 1] >= west) & (limits[:, 0] <= east) & (limits[:, 3] >= south) & (limits[:, 2] <= north)
    return [lines[index] for index in np.flatnonzero(touching)]
