"""Which tiles and moments a simulated archive covers, so that its satellites see the same things."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np

from satxlate_jax.cli import InputError
from satxlate_jax.geometry import COLUMNS, TILE_DEGREES, parse_tile, tile_grid
from satxlate_jax.instruments import TILE_ROWS, Satellite
from satxlate_jax.simulator.geometry import view_position

_LARGEST_VIEW_ZENITH = 66.0  # degrees, of a tile's centre; slanter views are nearly useless
# Days to choose from: the paper's test period, which data sets keep for testing, and the rest, which they do not.
_FIRST_TEST_DAY, _TEST_DAYS = datetime(2019, 2, 1), 22
_FIRST_OTHER_DAY, _OTHER_DAYS = datetime(2019, 3, 1), 672
_A_YEAR = 337  # of the other days; what comes later is only used where these do not suffice
_TEST_SHARE = 0.08
# Local solar hours and how far around them: mostly near noon, some night, morning or evening twilight.
_HOURS = ((12, 1.6), (12, 1.6), (12, 1.6), (1, 2.5), (12, 1.6), (17.8, 0.8), (12, 1.6), (12, 1.6), (23, 2), (6.2, 0.8))


def overlapping_groups(satellites: Sequence[Satellite]) -> list[tuple[tuple[Satellite, ...], tuple[int, ...]]]:
    """The largest groups of satellites that see the same tile columns.

    For GOES-16, GOES-17 and Himawari-8 these are two pairs, for one satellite itself.

    Args:
      satellites: those wanted.

    Returns:
      For each group its satellites and the columns (h) that all of them see.
    """
    seen_by = {h: frozenset(s.name for s in satellites if h in s.tile_columns) for h in range(COLUMNS)}
    names = sorted({group for group in seen_by.values() if group}, key=lambda group: (-len(group), sorted(group)))
    largest = [group for group in names if not any(group < other for other in names)]
    groups = []
    for group in largest:
        columns = tuple(h for h, seen in seen_by.items() if seen == group)
        groups.append((tuple(s for s in satellites if s.name in group), columns))
    return groups


def _visible_tiles(group: Sequence[Satellite], columns: Sequence[int]) -> list[str]:
    """Tiles of those columns, north to south, whose centre no satellite of the group sees too aslant."""
    tiles = [f"h{h:02d}v{v:02d}" for v in TILE_ROWS for h in columns]
    latitude, longitude = np.array([[axis[0] for axis in tile_grid(tile, 1)] for tile in tiles]).T
    slant = np.max([view_position(satellite.longitude, latitude, longitude)[0] for satellite in group], axis=0)
    return [tile for tile, zenith in zip(tiles, slant, strict=True) if zenith <= _LARGEST_VIEW_ZENITH]


def choose_tiles(satellites: Sequence[Satellite], count: int, seed: int) -> list[str]:
    """Tiles in all latitudes that as many of the satellites as possible see together.

    Args:
      satellites: those wanted.
      count: how many tiles in all, dealt evenly to the groups that overlap; every group gets at least one.
      seed: another seed chooses others.

    Returns:
      Tiles' names, sorted.

    Raises:
      InputError: there are not as many.
    """
    if count < 1:
        raise InputError(f"{count} tiles cannot be simulated; ask for at least 1")
    groups = overlapping_groups(satellites)
    random = np.random.default_rng([seed, 1])
    chosen: list[str] = []
    for number, (group, columns) in enumerate(groups):
        share = max(1, count // len(groups) + (number < count % len(groups)))
        candidates = _visible_tiles(group, columns)
        if share > len(candidates):
            names = " and ".join(satellite.name for satellite in group)
            raise InputError(f"{names} see only {len(candidates)} tiles well together; {share} are too many for them")
        # One from each of equal parts from north to south, so that climates are mixed.
        edges = np.linspace(0, len(candidates), share + 1).astype(int)
        chosen += [candidates[random.integers(low, high)] for low, high in zip(edges[:-1], edges[1:], strict=True)]
    return sorted(chosen)


def _choose_days(count: int, random: np.random.Generator) -> list[datetime]:
    test = max(1, round(_TEST_SHARE * count)) if count > 1 else 0
    other = count - min(test, _TEST_DAYS)
    if other > _OTHER_DAYS:
        raise InputError(f"at most {_OTHER_DAYS + _TEST_DAYS} times can be simulated, each on its own day; not {count}")
    days = []
    for first, length, number in (
        (_FIRST_TEST_DAY, _TEST_DAYS, count - other),
        (_FIRST_OTHER_DAY, _A_YEAR if other <= _A_YEAR else _OTHER_DAYS, other),
    ):
        edges = np.linspace(0, length, number + 1).astype(int)
        steps = [random.integers(low, high) for low, high in zip(edges[:-1], edges[1:], strict=True)]
        days += [first + timedelta(days=int(step)) for step in random.permutation(steps)]
    return days


def choose_times(tiles: Sequence[str], count: int, seed: int) -> list[datetime]:
    """Moments on as many different days of all seasons, near local noon mostly, with some nights and twilights.

    Data sets are split by day. One moment in twelve, at least one of two, falls into the paper's test period (2019,
    days 32 to 53), the first of them near noon; the others fall outside it.

    Args:
      tiles: whose mean longitude says when it is noon.
      count: how many.
      seed: another seed chooses others.

    Returns:
      UTC, to ten minutes, sorted.

    Raises:
      InputError: fewer than one, or more than there are days.
    """
    if count < 1:
        raise InputError(f"{count} times cannot be simulated; ask for at least 1")
    random = np.random.default_rng([seed, 2])
    centres = np.radians([-180 + TILE_DEGREES * (parse_tile(tile)[0] + 0.5) for tile in tiles])
    longitude = np.degrees(np.arctan2(np.sin(centres).mean(), np.cos(centres).mean()))
    times = []
    for number, day in enumerate(_choose_days(count, random)):
        hour, around = _HOURS[number % len(_HOURS)]
        utc = (hour + random.uniform(-around, around) - longitude / 15) % 24
        times.append(day + timedelta(minutes=10 * int(utc * 6)))
    return sorted(times)
