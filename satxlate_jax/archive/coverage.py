"""What an archive covers and where it has gaps: counts per satellite, tile and day."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from satxlate_jax.archive.catalog import TileFile


@dataclass
class Coverage:
    """What an archive holds of one satellite.

    Attributes:
      satellite: its name.
      tiles: tile -> files.
      days: UTC day -> files.
      times: time -> files, one per tile that has it.
      tile_days: (tile, day) pairs with at least one file.
    """

    satellite: str
    tiles: Counter[str] = field(default_factory=Counter)
    days: Counter[date] = field(default_factory=Counter)
    times: Counter[datetime] = field(default_factory=Counter)
    tile_days: set[tuple[str, date]] = field(default_factory=set)

    @property
    def files(self) -> int:
        """All files."""
        return self.tiles.total()

    @property
    def missing_files(self) -> int:
        """Files that would make every tile have every time that any tile has."""
        return len(self.tiles) * len(self.times) - self.files

    def missing_days(self) -> list[tuple[date, date]]:
        """First and last day of each run of days without a file between the first and the last day with one."""
        days = sorted(self.days)
        one = timedelta(days=1)
        return [(a + one, b - one) for a, b in zip(days, days[1:], strict=False) if b - a > one]


def measure_coverage(files: Iterable[TileFile]) -> list[Coverage]:
    """Counts files; one result per satellite, by name. Each satellite, tile and time should be there once."""
    found: dict[str, Coverage] = {}
    for file in files:
        coverage = found.setdefault(file.satellite, Coverage(file.satellite))
        day = file.time.date()
        coverage.tiles[file.tile] += 1
        coverage.days[day] += 1
        coverage.times[file.time] += 1
        coverage.tile_days.add((file.tile, day))
    return [found[name] for name in sorted(found)]


def describe(coverages: list[Coverage]) -> str:
    """A table, one line per satellite, and below it the gaps."""
    rows = [("satellite", "files", "tiles", "days", "times", "first (UTC)", "last (UTC)", "missing")]
    for coverage in coverages:
        whole = len(coverage.tiles) * len(coverage.times)
        rows.append(
            (
                coverage.satellite,
                f"{coverage.files:,}",
                f"{len(coverage.tiles)}",
                f"{len(coverage.days)}",
                f"{len(coverage.times):,}",
                f"{min(coverage.times):%Y-%m-%d %H:%M}",
                f"{max(coverage.times):%Y-%m-%d %H:%M}",
                f"{coverage.missing_files:,} ({coverage.missing_files / whole:.1%})",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += ["", "missing: files that would make every tile have every time that any of the satellite's tiles has"]
    for coverage in coverages:
        lines += _gaps(coverage)
    return "\n".join(lines)


def _gaps(coverage: Coverage, limit: int = 10) -> list[str]:
    lines = []
    runs = coverage.missing_days()
    for first, last in runs[:limit]:
        length = (last - first).days + 1
        days = f"{first}" if length == 1 else f"{first} to {last}, {length} days"
        lines.append(f"{coverage.satellite}: no file on {days}")
    if len(runs) > limit:
        lines.append(f"{coverage.satellite}: and {len(runs) - limit} more gaps of days")
    short = sorted((count, tile) for tile, count in coverage.tiles.items() if count < len(coverage.times))
    for count, tile in short[:limit]:
        absent = len(coverage.days) - sum((tile, day) in coverage.tile_days for day in coverage.days)
        lines.append(
            f"{coverage.satellite}: tile {tile} lacks {len(coverage.times) - count:,} of {len(coverage.times):,} times"
            + (f", {absent} of {len(coverage.days)} days entirely" if absent else "")
        )
    if len(short) > limit:
        lines.append(f"{coverage.satellite}: and {len(short) - limit} more tiles lack times")
    return lines
