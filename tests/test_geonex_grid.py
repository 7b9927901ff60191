import numpy as np
import pytest

from satxlate_jax.cli import InputError
from satxlate_jax.geometry import parse_tile, pixels_of, tile_bounds, tile_grid


@pytest.mark.parametrize(
    ("tile", "north", "west"), [("h00v00", 60, -180), ("h09v03", 42, -126), ("h59v19", -54, 174), ("h30v10", 0, 0)]
)
def test_corner_of_a_tile(tile, north, west):
    assert tile_bounds(tile) == (north, west)


@pytest.mark.parametrize("size", [300, 600, 1200])
def test_pixel_centres_lie_half_a_pixel_inside(size):
    latitude, longitude = tile_grid("h09v03", size)
    assert latitude.shape == longitude.shape == (size,)
    pixel = 6 / size
    np.testing.assert_allclose(latitude, 42 - pixel / 2 - pixel * np.arange(size), rtol=0, atol=1e-11)
    np.testing.assert_allclose(longitude, -126 + pixel / 2 + pixel * np.arange(size), rtol=0, atol=1e-11)


def test_neighbouring_tiles_meet():
    here, _ = tile_grid("h09v03", 300)
    below, _ = tile_grid("h09v04", 300)
    np.testing.assert_allclose(here[-1] - below[0], 0.02, atol=1e-11)


@pytest.mark.parametrize("tile", ["", "h60v00", "h00v20", "h9v3", "H09V03", "h09v03x", "h٠٩v03"])
def test_no_such_tile(tile):
    with pytest.raises(InputError):
        parse_tile(tile)


def test_resolutions():
    assert [pixels_of(resolution) for resolution in (2.0, 1, 0.5)] == [300, 600, 1200]
    with pytest.raises(InputError, match="3"):
        pixels_of(3.0)
