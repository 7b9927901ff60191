"""Seeded fractal fields on the whole globe, evaluated wherever they are looked at.

Value noise in octaves: random numbers at the nodes of ever finer lattices, joined by cubic B-splines. The numbers
come from a hash of (seed, name, octave, node), so a field is the same whatever window of it is asked for: tiles join
without seams, and every satellite sees the same clouds. A field may drift eastward and renew itself with time, small
structures faster than large ones.

Sources: Perlin, "An image synthesizer", SIGGRAPH 1985 (octaves of lattice noise); Steele, Lea & Flood, "Fast
splittable pseudorandom number generators", OOPSLA 2014 (the hash); Schertzer & Lovejoy, J. Geophys. Res. 92, 1987
(clouds as stratified fractals).
"""

import math
import zlib
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.sparse import csr_matrix

# Variance of uniform numbers in [-1, 1) after two-dimensional interpolation with cubic B-splines, averaged over a cell.
_OCTAVE_VARIANCE = (151 / 315) ** 2 / 3
# Octaves differ by this in wavelength. Not a power of a whole number: nodes of two octaves never line up.
_LACUNARITY = 1.93
_MASK = (1 << 64) - 1


def _key(*words: int) -> int:
    # splitmix64 over a few words, in Python integers, which do not overflow
    state = 0
    for word in words:
        state = (state ^ (word & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state


def _lattice(key: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Random numbers of lattice nodes, float32 [row, column] in [-1, 1)."""
    state = rows.astype(np.uint64)[:, None] * np.uint64(0x9E3779B97F4A7C15) + columns.astype(np.uint64)[None, :]
    state = (state ^ np.uint64(key)) * np.uint64(0xD1342543DE82EF95)
    state = (state ^ state >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ state >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return (state >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)


def _weights(positions: np.ndarray, spline: str) -> np.ndarray:
    """Weights of the four nodes around positions within a cell, [0, 1), float32 [position, 4]."""
    t = positions
    if spline == "smoothing":  # cubic B-spline: no overshoot, continuous curvature
        parts = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
        return (np.stack(parts, axis=1) / 6).astype(np.float32)
    parts = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2)  # Catmull-Rom
    return (np.stack(parts, axis=1) / 2).astype(np.float32)


def _matrix(cells: np.ndarray, positions: np.ndarray, nodes: int, spline: str) -> csr_matrix:
    """Interpolation along one axis as a sparse matrix [position, node]; nodes past the ends repeat the last."""
    columns = np.clip(cells[:, None] + np.arange(4), 0, nodes - 1)
    pointers = np.arange(0, 4 * cells.size + 1, 4)
    return csr_matrix((_weights(positions, spline).ravel(), columns.ravel(), pointers), shape=(cells.size, nodes))


def enlarge(field: np.ndarray, factor: int) -> np.ndarray:
    """A field on a grid `factor` times finer that covers the same area, by cubic (Catmull-Rom) interpolation.

    Args:
      field: float32 [row, column].
      factor: 1, 2 or 4.

    Returns:
      float32 [row * factor, column * factor].
    """
    if factor == 1:
        return field
    rows, columns = (_enlarging(size, factor) for size in field.shape)
    return rows @ np.ascontiguousarray((columns @ field.T).T)  # this order copies the small array, not the large one


def _enlarging(size: int, factor: int) -> csr_matrix:
    places = (np.arange(size * factor) + 0.5) / factor - 0.5
    cells = np.floor(places).astype(int)
    return _matrix(cells - 1, places - cells, size, "interpolating")


@dataclass(frozen=True)
class Window:
    """Where and when fields are looked at, and in which of the possible worlds.

    Attributes:
      seed: of everything random.
      latitude: [row], degrees north.
      longitude: [column], degrees east; any number of turns.
      hours: time since some fixed moment, hours.
    """

    seed: int
    latitude: np.ndarray
    longitude: np.ndarray
    hours: float = 0.0


@dataclass(frozen=True)
class Fractal:
    """A random field of mean 0 and (over large areas) variance 1.

    Attributes:
      name: makes it independent of other fields of the same seed.
      longest: wavelength of the largest structures, degrees.
      smoothness: Hurst exponent H: an octave's amplitude goes as wavelength ** H.
      stretch: how many times longer its structures are from west to east than from south to north.
      drift: speed eastward, degrees of longitude per hour.
      lifetime: hours in which structures of the longest wavelength renew themselves; None for a field that stays.
    """

    name: str
    longest: float
    smoothness: float
    stretch: float = 1.0
    drift: float = 0.0
    lifetime: float | None = None

    def on_grid(self, window: Window, finest: float = 0.04, coarsest: float = math.inf) -> np.ndarray:
        """The field in a window.

        Args:
          window: where and when.
          finest: wavelength of the finest octave to include, degrees.
          coarsest: octaves of this wavelength and longer are left out, degrees; what another call has already given.

        Returns:
          float32 [row, column], dimensionless.
        """
        total = np.zeros((window.latitude.size, window.longitude.size), np.float32)
        scale = math.sqrt((1 - _LACUNARITY ** (-2 * self.smoothness)) / _OCTAVE_VARIANCE)
        octave, wavelength = 0, self.longest
        while wavelength >= finest:
            if wavelength < coarsest:
                amplitude = scale * (wavelength / self.longest) ** self.smoothness
                total += np.float32(amplitude) * self._octave(window, octave, wavelength)
            octave, wavelength = octave + 1, wavelength / _LACUNARITY
        return total

    def on_map(self, window: Window, places: tuple[np.ndarray, np.ndarray], finest: float = 0.04) -> np.ndarray:
        """The field on a warped map of a window.

        Args:
          window: where and when.
          places: latitude and longitude at which each pixel of the window looks the field up, [row, column] each,
            degrees.
          finest: wavelength of the finest octave to include, degrees.

        Returns:
          float32 [row, column], dimensionless.
        """
        steps = (finest / 2, finest / 2 * self.stretch)
        axes = []
        for values, step in zip(places, steps, strict=True):
            # Nodes at whole steps, wherever the window lies: neighbouring tiles interpolate between the same ones.
            first, last = math.floor(values.min() / step), math.floor(values.max() / step)
            axes.append(np.arange(first, last + 2) * step)
        image = self.on_grid(Window(window.seed, axes[0], axes[1], window.hours), finest)
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
        across = _matrix(rows - nodes_north[0], north - rows, nodes_north.size, "smoothing")
        along = _matrix(columns - nodes_east[0], east - columns, nodes_east.size, "smoothing")
        return across @ np.ascontiguousarray((along @ values.T).T)

    def _nodes(
        self, window: Window, octave: int, wavelength: float, rows: np.ndarray, columns: np.ndarray
    ) -> np.ndarray:
        key = window.seed, zlib.crc32(self.name.encode()), octave
        if self.lifetime is None:
            return _lattice(_key(*key), rows, columns)
        # Turbulent structures live as long as the 2/3 power of their size; sine and cosine keep the variance.
        period = self.lifetime * (wavelength / self.longest) ** (2 / 3)
        epoch = math.floor(window.hours / period)
        phase = (window.hours / period - epoch) * math.pi / 2
        older = _lattice(_key(*key, epoch), rows, columns)
        newer = _lattice(_key(*key, epoch + 1), rows, columns)
        return np.float32(math.cos(phase)) * older + np.float32(math.sin(phase)) * newer
