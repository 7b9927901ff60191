"""Seeded fractal fields on the whole globe, evaluated in any window.

Value noise in octaves: random numbers at the nodes of ever finer lattices, joined by cubic B-splines. The numbers are
hashes of (seed, name, octave, node), so a field is the same in every window: tiles join without seams, and every
satellite sees the same clouds. A field may drift eastward and renew itself with time, small structures faster.

Sources: Perlin, "An image synthesizer", SIGGRAPH 1985 (octaves of lattice noise); Steele, Lea & Flood, "Fast
splittable pseudorandom number generators", OOPSLA 2014 (the hash); Schertzer & Lovejoy, J. Geophys. Res. 92, 1987
(clouds as stratified fractals).
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.sparse import csr_matrix

# Variance of uniform numbers in [-1, 1) after two-dimensional interpolation with cubic B-splines, averaged over a cell.
_OCTAVE_VARIANCE = (151 / 315) ** 2 / 3
# Ratio of the wavelengths of two octaves. Not a power of a whole number: nodes of two octaves never line up.
_LACUNARITY = 1.93


def _mix(state: np.ndarray) -> np.ndarray:
    """Spreads every bit of uint64 numbers over all of them (splitmix64)."""
    state = (state ^ state >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ state >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return state ^ state >> np.uint64(31)


def _lattice(words: tuple[int, ...], rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Random numbers, by some words, of lattice nodes, float32 [row, column] in [-1, 1)."""
    key = np.zeros(1, np.uint64)
    for word in words:
        key = _mix((key ^ np.uint64(word % 2**64)) + np.uint64(0x9E3779B97F4A7C15))
    state = rows.astype(np.uint64)[:, None] * np.uint64(0x9E3779B97F4A7C15) + columns.astype(np.uint64)[None, :]
    state = _mix((state ^ key) * np.uint64(0xD1342543DE82EF95))
    return (state >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)


def _cubic(cells: np.ndarray, t: np.ndarray, nodes: int, *, smooths: bool) -> csr_matrix:
    """Interpolation along one axis, [position, node], at `t` in [0, 1) between the second and third node of a cell."""
    if smooths:  # B-spline: no overshoot, continuous curvature
        weights = np.stack(((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3), axis=1) / 6
    else:  # Catmull-Rom: through the values
        parts = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2)
        weights = np.stack(parts, axis=1) / 2
    columns = np.clip(cells[:, None] + np.arange(4), 0, nodes - 1)  # past the ends the last node repeats
    pointers = np.arange(0, 4 * cells.size + 1, 4)
    return csr_matrix((weights.astype(np.float32).ravel(), columns.ravel(), pointers), shape=(cells.size, nodes))


def _interpolate(rows: csr_matrix, columns: csr_matrix, values: np.ndarray) -> np.ndarray:
    return rows @ np.ascontiguousarray((columns @ values.T).T)  # this order copies the small array, not the large one


def enlarge(field: np.ndarray, factor: int) -> np.ndarray:
    """Interpolates a float32 [row, column] field to a grid `factor` times finer that covers the same area."""
    if factor == 1:
        return field
    places = [(np.arange(size * factor) + 0.5) / factor - 0.5 for size in field.shape]
    cells = [np.floor(axis).astype(int) for axis in places]
    rows, columns = (_cubic(cells[i] - 1, places[i] - cells[i], field.shape[i], smooths=False) for i in (0, 1))
    return _interpolate(rows, columns, field)


@dataclass(frozen=True)
class Window:
    """Place, time and seed at which fields are evaluated."""

    seed: int
    latitude: np.ndarray  # [row], degrees north
    longitude: np.ndarray  # [column], degrees east, any number of turns
    hours: float = 0.0  # since a fixed epoch


@dataclass(frozen=True)
class Fractal:
    """A random field of mean 0 and (over large areas) variance 1."""

    name: str  # makes it independent of other fields of the same seed
    longest: float  # wavelength of the largest structures, degrees
    smoothness: float  # Hurst exponent H: an octave's amplitude goes as wavelength ** H
    stretch: float = 1.0  # ratio of its structures' west-east to their north-south length
    drift: float = 0.0  # speed eastward, degrees of longitude per hour
    lifetime: float | None = None  # hours in which the largest structures renew themselves; None for a lasting field

    def on_grid(self, window: Window, finest: float = 0.04, coarsest: float = math.inf) -> np.ndarray:
        """Evaluates the octaves with wavelengths in [finest, coarsest) degrees, float32 [row, column]."""
        total = np.zeros((window.latitude.size, window.longitude.size), np.float32)
        scale = math.sqrt((1 - _LACUNARITY ** (-2 * self.smoothness)) / _OCTAVE_VARIANCE)
        octave, wavelength = 0, self.longest
        while wavelength >= finest:
            if wavelength < coarsest:
                amplitude = scale * (wavelength / self.longest) ** self.smoothness
                total += np.float32(amplitude) * self._octave(window, octave, wavelength)
            octave, wavelength = octave + 1, wavelength / _LACUNARITY
        return total

    def on_map(self, window: Window, places: Sequence[np.ndarray], finest: float = 0.04) -> np.ndarray:
        """Evaluates the field at a latitude and longitude of each pixel, `places`, down to `finest` degrees."""
        steps = (finest / 2, finest / 2 * self.stretch)
        axes = []
        for values, step in zip(places, steps, strict=True):
            # Nodes at whole steps, wherever the window lies: neighbouring tiles interpolate between the same ones.
            first, last = math.floor(values.min() / step), math.floor(values.max() / step)
            axes.append(np.arange(first, last + 2) * step)
        image = self.on_grid(replace(window, latitude=axes[0], longitude=axes[1]), finest)
        pixels = [(values - axis[0]) / step for values, axis, step in zip(places, axes, steps, strict=True)]
        return map_coordinates(image, pixels, output=np.float32, order=1, mode="nearest")

    def _octave(self, window: Window, octave: int, wavelength: float) -> np.ndarray:
        turn = max(4, round(360 / (wavelength * self.stretch)))  # nodes around the globe
        north = (window.latitude + 90) / wavelength
        east = (window.longitude + 180 - self.drift * window.hours) * (turn / 360)
        rows, columns = np.floor(north).astype(int), np.floor(east).astype(int)
        nodes_north = np.arange(rows.min(), rows.max() + 4)
        nodes_east = np.arange(columns.min(), columns.max() + 4)
        values = self._nodes(window, octave, wavelength, nodes_north, nodes_east % turn)
        across = _cubic(rows - nodes_north[0], north - rows, nodes_north.size, smooths=True)
        along = _cubic(columns - nodes_east[0], east - columns, nodes_east.size, smooths=True)
        return _interpolate(across, along, values)

    def _nodes(self, window: Window, octave: int, wavelength: float, *nodes: np.ndarray) -> np.ndarray:
        key = window.seed, zlib.crc32(self.name.encode()), octave
        if self.lifetime is None:
            return _lattice(key, *nodes)
        # Turbulent structures live as long as the 2/3 power of their size; sine and cosine keep the variance.
        period = self.lifetime * (wavelength / self.longest) ** (2 / 3)
        epoch = math.floor(window.hours / period)
        phase = (window.hours / period - epoch) * math.pi / 2
        older, newer = (_lattice((*key, number), *nodes) for number in (epoch, epoch + 1))
        return np.float32(math.cos(phase)) * older + np.float32(math.sin(phase)) * newer
