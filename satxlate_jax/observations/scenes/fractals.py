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

    def on_grid(
        self,
        seed: int,
        latitude: np.ndarray,
        longitude: np.ndarray,
        hours: float = 0.0,
        finest: float = 0.04,
        coarsest: float = math.inf,
    ) -> np.ndarray:
        """The field where rows and columns have their own latitude and longitude.

        Args:
          seed: of everything random.
          latitude: [row], degrees north.
          longitude: [column], degrees east; any number of turns.
          hours: time since some fixed moment, hours.
          finest: wavelength of the finest octave to include, degrees.
          coarsest: octaves of this wavelength and longer are left out, degrees; what another call has already given.

        Returns:
          float32 [row, column], dimensionless.
        """
        total = np.zeros((latitude.size, longitude.size), np.float32)
        scale = math.sqrt((1 - _LACUNARITY ** (-2 * self.smoothness)) / _OCTAVE_VARIANCE)
        octave, wavelength = 0, self.longest
        while wavelength >= finest:
            if wavelength < coarsest:
                amplitude = scale * (wavelength / self.longest) ** self.smoothness
                total += np.float32(amplitude) * self._octave(seed, octave, wavelength, latitude, longitude, hours)
            octave, wavelength = octave + 1, wavelength / _LACUNARITY
        return total

    def at(
        self, seed: int, latitude: np.ndarray, longitude: np.ndarray, hours: float = 0.0, finest: float = 0.04
    ) -> np.ndarray:
        """The field at arbitrary places, as of a warped map.

        Args:
          seed: of everything random.
          latitude: [row, column], degrees north.
          longitude: [row, column], degrees east.
          hours: time since some fixed moment, hours.
          finest: wavelength of the finest octave to include, degrees.

        Returns:
          float32 [row, column], dimensionless.
        """
        steps = (finest / 2, finest / 2 * self.stretch)
        axes = []
        for values, step in zip((latitude, longitude), steps, strict=True):
            axes.append(np.arange(float(values.min()) - step, float(values.max()) + 2 * step, step))
        image = self.on_grid(seed, *axes, hours, finest)
        places = [
            (values - axis[0]) / step for values, axis, step in zip((latitude, longitude), axes, steps, strict=True)
        ]
        return map_coordinates(image, places, output=np.float32, order=1, mode="nearest")

    def _octave(
        self, seed: int, octave: int, wavelength: float, latitude: np.ndarray, longitude: np.ndarray, hours: float
    ) -> np.ndarray:
        turn = max(4, round(360 / (wavelength * self.stretch)))  # nodes around the globe
        north = (latitude + 90) / wavelength
        east = (longitude + 180 - self.drift * hours) * (turn / 360)
        rows, columns = np.floor(north).astype(int), np.floor(east).astype(int)
        nodes_north = np.arange(rows.min(), rows.max() + 4)
        nodes_east = np.arange(columns.min(), columns.max() + 4)
        values = self._nodes(seed, octave, wavelength, hours, nodes_north, nodes_east % turn)
        across = _matrix(rows - nodes_north[0], north - rows, nodes_north.size, "smoothing")
        along = _matrix(columns - nodes_east[0], east - columns, nodes_east.size, "smoothing")
        return across @ np.ascontiguousarray((along @ values.T).T)

    def _nodes(
        self, seed: int, octave: int, wavelength: float, hours: float, rows: np.ndarray, columns: np.ndarray
    ) -> np.ndarray:
        name = zlib.crc32(self.name.encode())
        if self.lifetime is None:
            return _lattice(_key(seed, name, octave), rows, columns)
        # Turbulent structures live as long as the 2/3 power of their size; sine and cosine keep the variance.
        period = self.lifetime * (wavelength / self.longest) ** (2 / 3)
        epoch = math.floor(hours / period)
        phase = (hours / period - epoch) * math.pi / 2
        older = _lattice(_key(seed, name, octave, epoch), rows, columns)
        newer = _lattice(_key(seed, name, octave, epoch + 1), rows, columns)
        return np.float32(math.cos(phase)) * older + np.float32(math.sin(phase)) * newer
