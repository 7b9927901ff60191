"""The GeoNEX grid: where tiles and their pixels lie on the Earth.

Tiles hXXvYY are 6 x 6 degrees: h 00 to 59 eastward from 180 W, v 00 to 19 southward from 60 N. A tile's row 0 is
north, its column 0 west, and a pixel's centre lies half a pixel inside.

Source: Wang et al., Remote Sensing 2020, 12(8), 1267 (the GeoNEX common grid).
"""

import re

import numpy as np

from satxlate_jax.cli import parse_names
from satxlate_jax.errors import InputError

TILE_DEGREES = 6.0
COLUMNS = 60
ROWS = 20
NORTH = 60.0
WEST = -180.0
# Size of a pixel as the product states it (0.02 degrees is 2.2 km at the equator) -> pixels along a tile's side.
PIXELS = {2.0: 300, 1.0: 600, 0.5: 1200}

_TILE = re.compile(r"h(\d\d)v(\d\d)", re.ASCII)


def parse_tile(tile: str) -> tuple[int, int]:
    """Column h and row v of a tile's name.

    Args:
      tile: such as 'h09v03'.

    Returns:
      h in [0, 59] and v in [0, 19].

    Raises:
      InputError: there is no such tile.
    """
    match = _TILE.fullmatch(tile)
    if match is None:
        raise InputError(f"'{tile}' is not a tile's name; tiles are called hXXvYY, such as h09v03")
    h, v = int(match[1]), int(match[2])
    if h >= COLUMNS or v >= ROWS:
        raise InputError(f"there is no tile '{tile}'; h is 00 to {COLUMNS - 1}, v is 00 to {ROWS - 1}")
    return h, v


def parse_tiles(text: str) -> tuple[str, ...]:
    """Names of tiles such as 'h09v03,h10v03', with or without spaces, each once.

    Raises:
      InputError: there is none, or one is no tile's name.
    """
    tiles = tuple(dict.fromkeys(parse_names(text))) if text.strip(" ,") else ()
    if not tiles:
        raise InputError(f"'{text}' names no tile; write tiles such as h09v03,h10v03, or leave the option out for all")
    for tile in tiles:
        parse_tile(tile)
    return tiles


def tile_bounds(tile: str) -> tuple[float, float]:
    """The tile's north-west corner.

    Args:
      tile: such as 'h09v03'.

    Returns:
      Latitude of its northern edge (degrees north) and longitude of its western edge (degrees east, [-180, 180)).

    Raises:
      InputError: there is no such tile.
    """
    h, v = parse_tile(tile)
    return NORTH - TILE_DEGREES * v, WEST + TILE_DEGREES * h


def tile_grid(tile: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres of a tile's pixels.

    Args:
      tile: such as 'h09v03'.
      size: pixels along a side (300 at 2 km, 600 at 1 km, 1200 at 0.5 km).

    Returns:
      Latitudes, float64 [size], north to south, degrees north; longitudes, float64 [size], west to east, degrees east.

    Raises:
      InputError: there is no such tile.
    """
    latitude, longitude = tile_bounds(tile)
    centres = (np.arange(size) + 0.5) * (TILE_DEGREES / size)
    return latitude - centres, longitude + centres


def pixels_of(resolution_km: float) -> int:
    """Pixels along a tile's side at a resolution of 2, 1 or 0.5 km.

    Raises:
      InputError: the grid has no such resolution.
    """
    if resolution_km not in PIXELS:
        choices = ", ".join(f"{value:g}" for value in PIXELS)
        raise InputError(f"the grid has no resolution of {resolution_km} km; it has {choices}")
    return PIXELS[resolution_km]
