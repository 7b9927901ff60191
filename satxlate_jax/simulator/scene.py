"""One scene (ground, air and clouds of one tile at one time) and a satellite's view of it: parallax and cloud shadows.

The ground is an invented geography of oceans, vegetation, soil and snow, fixed for a given seed: land lies at random,
its cover follows latitude, height and season. Fields are float32; [row, column] is the tile's grid of 300 x 300 where
nothing else is said.
"""

from dataclasses import astuple, dataclass
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
from scipy.ndimage import map_coordinates

from satxlate_jax.geometry import tile_grid
from satxlate_jax.instruments import Satellite
from satxlate_jax.simulator import atmosphere, viewing_geometry
from satxlate_jax.simulator.fractals import Fractal, Window, enlarge
from satxlate_jax.simulator.optical_properties import spectral
from satxlate_jax.simulator.viewing_geometry import PIXELS, Direction

_MARGIN = 40  # pixels of sky around the tile, so that slant views and shadows from outside have something to meet
_INNER = (..., slice(_MARGIN, -_MARGIN), slice(_MARGIN, -_MARGIN))
_EPOCH = datetime(2019, 1, 1)
_LOWEST_SUN = 80.0  # degrees from the zenith; shadows of a lower sun stay this long
_PARALLAX_STEPS = 3

_ELEVATION = Fractal("elevation", longest=14, smoothness=0.85)
_VALLEYS = Fractal("valleys", longest=1.8, smoothness=0.8)
_GREENNESS = Fractal("greenness", longest=9, smoothness=0.55)
_SANDINESS = Fractal("sandiness", longest=5, smoothness=0.5)
_SNOW = Fractal("snow", longest=3, smoothness=0.5)
_CURRENTS = Fractal("currents", longest=5, smoothness=0.9, drift=0.002, lifetime=24 * 20)
_AIR = Fractal("air temperature", longest=18, smoothness=1.2, drift=0.4, lifetime=60)

_SEA_LEVEL = -0.1  # of the elevation field: a little more than half of the globe is sea
_FRACTALS = (_ELEVATION, _GREENNESS, _SANDINESS, _SNOW)  # of the fields of a Surface


def _season_and_sine(window: Window, time: datetime) -> tuple[np.float32, np.ndarray]:
    """Season, -1 in the northern winter to 1 in summer, three weeks behind the sun; sine of latitude, [row, 1]."""
    season = np.float32(np.cos(2 * np.pi * (time.timetuple().tm_yday - 200) / 365))
    return season, np.sin(np.radians(window.latitude))[:, None].astype(np.float32)


def air_temperature(window: Window, time: datetime) -> np.ndarray:
    """Temperature of the air at sea level, K, at a time in UTC."""
    season, sine = _season_and_sine(window, time)
    weather = _AIR.on_grid(window, finest=0.5)
    return 300 - 30 * sine**2 + 9 * sine * season + weather * (1 + 5 * np.abs(sine))


@dataclass(frozen=True)
class Surface:
    """Composition of the ground."""

    elevation: np.ndarray  # km above the sea; negative is water
    greenness: np.ndarray  # 0 is half vegetation, half soil
    sandiness: np.ndarray  # high is bright soil, low is dark
    snow_line: np.ndarray  # positive is snow

    def refined(self, window: Window, finest: float) -> "Surface":
        """Adds structures down to `finest` degrees on a finer grid of the same area."""
        factor = window.latitude.size // len(self.elevation)
        details = (fractal.on_grid(window, finest, coarsest=0.04) for fractal in _FRACTALS)
        return Surface(*(enlarge(field, factor) + detail for field, detail in zip(astuple(self), details, strict=True)))

    @cached_property
    def fractions(self) -> dict[str, np.ndarray]:
        """The fraction of each pixel that is of each surface in optical_properties.py; together 1."""
        factor = len(self.elevation) // PIXELS  # finer pixels have sharper coasts
        land = np.clip(0.5 + self.elevation * np.float32(20 * factor), 0, 1)
        snow = land * np.clip(0.5 + self.snow_line * np.float32(1.5 * factor), 0, 1)
        bare = land - snow
        vegetation = bare * np.clip(0.5 + 0.9 * self.greenness, 0, 1)
        sand = (bare - vegetation) * np.clip(0.3 + 0.5 * self.sandiness, 0, 1)
        turbid = 0.8 * (1 - land) * np.clip(1 + self.elevation * 10, 0, 1) ** 2
        return {
            "ocean": 1 - land - turbid,
            "turbid": turbid,
            "vegetation": vegetation,
            "soil": bare - vegetation - sand,
            "sand": sand,
            "snow": snow,
        }

    def reflectance(self, wavelength: float) -> np.ndarray:
        """Diffuse reflectance at a wavelength in um."""
        total = sum(spectral(name, wavelength) * fraction for name, fraction in self.fractions.items())
        # Brightness differs from place to place: by day in the solar bands, hardly in the thermal ones.
        return total * np.clip(1 + 0.18 * self.sandiness, 0.4, 1.6) if wavelength < 4 else total


def build_surface(window: Window, air: np.ndarray) -> Surface:
    """The ground in a window under air of a temperature (at sea level, K)."""
    elevation = _ELEVATION.on_grid(window) + _SEA_LEVEL
    rise = np.maximum(elevation, 0)
    # Zero lines of a field branch like valleys: lower and greener than what lies between them.
    ridge = np.minimum(np.abs(_VALLEYS.on_grid(window)), 1.5) - 0.6
    mountains = (0.75 * rise**1.6 + 0.08 * rise) * (1 + 0.45 * ridge)
    elevation = np.where(elevation > 0, mountains, 0.3 * elevation).astype(np.float32)
    height = np.maximum(elevation, 0)
    # Wet tropics, dry subtropics, wet middle latitudes, with noise to blur the belts.
    climate = (0.55 * np.cos(np.radians(window.latitude * 6)) + 0.1).astype(np.float32)[:, None]
    greenness = 0.55 * _GREENNESS.on_grid(window) + climate - 0.15 * height - 0.5 * ridge
    snow = 0.25 * (271.5 - (air - 6.5 * height)) + 0.6 * _SNOW.on_grid(window)
    return Surface(elevation, greenness, _SANDINESS.on_grid(window), snow)


def compute_skin_temperature(surface: Surface, window: Window, time: datetime, air: np.ndarray) -> np.ndarray:
    """Skin temperature of sea and land, K, without clouds' shade.

    Land warms with the sun, an hour and a half behind it, dry soil most; it cools at night. Snow does not exceed
    freezing. The sea has no day and night.
    """
    season, sine = _season_and_sine(window, time)
    sea = 301.5 - 33 * sine**2 + 3 * sine * season + 1.1 * _CURRENTS.on_grid(window)
    sea = np.maximum(sea, 271.4)
    zenith, _ = viewing_geometry.solar_position(time, window.latitude[:, None], window.longitude - 22.5)
    sun = np.maximum(np.cos(np.radians(zenith)), 0)
    parts = surface.fractions
    soil = parts["soil"] + parts["sand"]
    warming = 7 * parts["vegetation"] + (18 + 3 * surface.sandiness) * soil + 2 * parts["snow"]
    cooling = 3 * parts["vegetation"] + 7 * soil + 6 * parts["snow"]
    land = air - 6.5 * np.maximum(surface.elevation, 0) + warming * sun - cooling * (1 - sun) ** 3
    land = np.where(parts["snow"] > 0.5, np.minimum(land, 273.2), land)
    water = parts["ocean"] + parts["turbid"]
    return (water * sea + (1 - water) * land).astype(np.float32)


@dataclass(frozen=True)
class Scene:
    """The world before any satellite observes it."""

    tile: str  # such as 'h09v03'
    time: datetime  # UTC
    window: Window  # the tile's grid, the time and the seed
    surface: Surface
    surface_temperature: np.ndarray  # K
    weather: atmosphere.Weather
    air: atmosphere.Atmosphere
    clouds: list[atmosphere.Cloud]  # the lowest first, with a margin of sky on every side of the tile
    sun: Direction
    sun_air_mass: np.ndarray  # slant path of sunlight


def _widen(axis: np.ndarray) -> np.ndarray:
    steps = np.arange(1, _MARGIN + 1) * (axis[1] - axis[0])
    return np.concatenate([axis[0] - steps[::-1], axis, axis[-1] + steps])


def build_scene(tile: str, time: datetime, seed: int) -> Scene:
    """The scene of a tile at a time in UTC, the same for the same seed; InputError where there is no such tile."""
    latitude, longitude = tile_grid(tile, PIXELS)
    hours = (time - _EPOCH) / timedelta(hours=1)
    window = Window(seed, latitude, longitude, hours)
    wide = Window(seed, _widen(latitude), _widen(longitude), hours)

    temperature = air_temperature(wide, time)
    surface = build_surface(wide, temperature)
    weather = atmosphere.build_weather(wide, np.clip(0.5 - 4 * surface.elevation, 0, 1), temperature)
    clouds = atmosphere.build_clouds(wide, weather)

    surface = Surface(*(field[_INNER] for field in astuple(surface)))
    weather = atmosphere.Weather(*(field[_INNER] for field in astuple(weather)))
    covered = sum(1 - np.exp(-atmosphere.optical_depth(layer.kind, layer.amount[_INNER])) for layer in clouds[1:])
    air = atmosphere.build_atmosphere(window, weather, np.minimum(covered, 1.2))
    skin = compute_skin_temperature(surface, window, time, weather.air)
    sun = viewing_geometry.solar_position(time, latitude[:, None], longitude[None, :])
    return Scene(tile, time, window, surface, skin, weather, air, clouds, sun, viewing_geometry.air_mass(sun[0]))


@dataclass(frozen=True)
class VisibleCloud(atmosphere.Cloud):
    """A layer of cloud as it appears to a satellite: displaced away from it."""

    offset: tuple[float, float]  # mean displacement, degrees north and east
    lit: np.ndarray  # optical depth along the sun's rays that reach the pixel's ground


@dataclass(frozen=True)
class View:
    """Contents of a satellite's pixels."""

    direction: Direction
    air_mass: np.ndarray  # slant path of the view
    clouds: list[VisibleCloud]
    heights: np.ndarray  # of the ground and of each layer's top where they are seen, [1 + layer, row, column], km
    level_weights: np.ndarray  # of the atmosphere's levels at those heights, [1 + layer, level, row, column]
    vapour: np.ndarray  # above those heights, [1 + layer, row, column], kg/m2


def _sample(field: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return map_coordinates(field, (rows, columns), output=np.float32, order=1, mode="nearest")


def _intersect(top: np.ndarray, rays: Direction, latitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the wide grid at which rays from the tile's pixels meet a cloud top."""
    step = latitude[0] - latitude[1]
    rows, columns = np.meshgrid(np.arange(PIXELS) + _MARGIN, np.arange(PIXELS) + _MARGIN, indexing="ij")
    height = top[_INNER]
    for _ in range(_PARALLAX_STEPS):
        north, east = viewing_geometry.slant_offset(height, rays, latitude[:, None])
        met = rows - np.clip(north / step, -_MARGIN, _MARGIN), columns + np.clip(east / step, -_MARGIN, _MARGIN)
        height = _sample(top, *met)
    return met


def build_view(scene: Scene, satellite: Satellite) -> View:
    """The scene along the lines of sight from a satellite's place and along the sun's rays."""
    latitude, longitude = scene.window.latitude, scene.window.longitude
    direction = viewing_geometry.view_position(satellite.longitude, latitude[:, None], longitude[None, :])
    shade = np.minimum(scene.sun[0], np.float32(_LOWEST_SUN)), scene.sun[1]
    centre = PIXELS // 2
    central = direction[0][centre, centre], direction[1][centre, centre]
    clouds = []
    for layer in scene.clouds:
        met = _intersect(layer.top, direction, latitude)
        amount, top, ice, radius = (
            _sample(field, *met) for field in (layer.amount, layer.top, layer.ice, layer.radius)
        )
        north, east = viewing_geometry.slant_offset(float(top.mean()), central, latitude[centre])
        lit = _sample(layer.amount, *_intersect(layer.top, shade, latitude))
        lit = atmosphere.optical_depth(layer.kind, lit)
        clouds.append(VisibleCloud(layer.kind, amount, top, ice, radius, (float(north), float(east)), lit))
    heights = np.stack([np.maximum(scene.surface.elevation, 0), *(layer.top for layer in clouds)])
    weights, layers = atmosphere.level_weights(heights), scene.air.vapour
    above = np.concatenate([np.cumsum(layers[::-1], axis=0)[::-1], np.zeros_like(layers[:1])])
    vapour = np.einsum("hlij,lij->hij", weights, above)
    return View(direction, viewing_geometry.air_mass(direction[0]), clouds, heights, weights, vapour)
