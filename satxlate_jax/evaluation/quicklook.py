"""`satxlate quicklook`: draw tiles, observed or synthesised, and the difference of two."""

import argparse
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from tqdm import tqdm

from satxlate_jax.cli import InputError
from satxlate_jax.evaluation import composites, maps
from satxlate_jax.evaluation.composites import Fields, green_band, true_colour
from satxlate_jax.instruments import Band, get_satellite, shared_bands
from satxlate_jax.l1g.file_check import HEAD, identify_kind
from satxlate_jax.l1g.isolation import IsolatedCalls
from satxlate_jax.l1g.reader import MissingBandWarning, read_tile

Ranges = Mapping[int, tuple[float, float]]


@dataclass(frozen=True)
class View:
    """A tile to draw: its file's name and its title in words, bands [h, w], lat [h] and lon [w] in degrees."""

    name: str
    title: str
    satellite: str
    fields: Fields
    lat: np.ndarray
    lon: np.ndarray

    def band(self, number: int) -> Band:
        """The satellite's band of that number."""
        return get_satellite(self.satellite).band(number)


def read_view(path: Path) -> View:
    """Read an L1G file, or a netCDF that `translate` wrote; InputError where it is neither."""
    if path.suffix == ".nc":
        try:
            with xr.open_dataset(path, engine="netcdf4") as opened:
                tile = opened.load()
        except (OSError, ValueError) as error:
            raise InputError(f"'{path}' cannot be read as netCDF ({_kind_of(path) or error})") from error
        if "satellite" not in tile.attrs:
            raise InputError(f"'{path}' is not a file that `satxlate translate` wrote: it names no satellite")
        if not {"lat", "lon"} <= {*tile.coords}:
            raise InputError(f"'{path}' is on the sensor's own grid, and tiles are drawn: translate with --tiles")
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MissingBandWarning)  # what is absent makes no picture
            tile = read_tile(path)
    made_from = tile.attrs.get("source_satellite")
    origin = f" synthesised from {made_from}" if made_from else " observed"
    time = tile["time"].values.astype("datetime64[s]").astype(datetime) if "time" in tile.coords else None
    when = f", {time:%Y-%m-%d %H:%M} UTC" if time else ""
    satellite = tile.attrs["satellite"]
    fields = {band.number: tile[band.name].values for band in get_satellite(satellite).bands if band.name in tile}
    title = f"{satellite}{origin}, {tile.attrs.get('tile', '')}{when}"
    return View(path.stem, title, satellite, fields, tile["lat"].values, tile["lon"].values)


def _kind_of(path: Path) -> str:
    """The kind of a file that is no netCDF; '' where that is not known."""
    try:
        with path.open("rb") as file:
            kind, _ = identify_kind(file.read(HEAD))
    except OSError:
        return ""
    return f"it is {kind}" if kind and "netCDF" not in kind else ""


def draw_views(view: View, green: View | None, coast: str, bands: Sequence[int], ranges: Ranges) -> dict[str, Figure]:
    """True colour (`green` may be a translation with a green band), infrared and water vapour, or else some bands.

    The keys are such as 'true_colour' or 'band07'. A band's grey scale ends at its `ranges`, by default its own.
    InputError where the tile does not hold a band asked for.
    """
    held = [number for number, values in sorted(view.fields.items()) if np.isfinite(values).any()]
    if absent := [number for number in bands if number not in held]:
        raise InputError(f"{view.name} holds no band {absent[0]}; it holds {', '.join(map(str, held)) or 'none'}")
    chosen: dict[str, int | None] = {f"band{number:02d}": number for number in bands} or {
        "infrared": composites.infrared_band(view.satellite, view.fields),
        "water_vapour": composites.infrared_band(view.satellite, view.fields, composites.WATER_VAPOUR),
    }
    colour = None if bands else _draw_true_colour(view, green, coast)
    figures = {} if colour is None else {"true_colour": colour}
    for kind, number in chosen.items():
        if number is not None:
            figures[kind], (axes,) = maps.new_figure(5.6, 5.0)
            band, values = view.band(number), view.fields[number]
            maps.show_band(axes, view, band, values, view.title, ranges.get(number), coast=coast)
    return figures


def _draw_true_colour(view: View, green: View | None, coast: str) -> Figure | None:
    pictures = {}
    if green is not None:
        number = green_band(green.satellite)
        if number is None or number not in green.fields:
            raise InputError(
                f"{green.name} has no green band (0.51 um); translate to a satellite that has one, such as H8"
            )
        name = f"green synthesised\n({green.satellite} band {number})"
        pictures[name] = true_colour(view.satellite, view.fields, green.fields[number])
    own = green_band(view.satellite)
    if own is not None:
        pictures[f"green of band {own}"] = true_colour(view.satellite, view.fields)
    else:
        for formula, (blue, red, vegetation) in composites.GREEN_FORMULAS.items():
            name = f"green by {formula}'s formula\n{blue:.3g} blue + {red:.3g} red + {vegetation:.2g} vegetation"
            pictures[name] = true_colour(view.satellite, view.fields, formula=formula)
    lit = {name: picture for name, picture in pictures.items() if picture is not None and _is_lit(picture)}
    if not lit:
        return None
    figure, panels = maps.new_figure(max(3.7 * len(lit), 5.6), 4.4, len(lit))
    for axes, (name, picture) in zip(panels, lit.items(), strict=True):
        maps.show_map(axes, view, picture, name, coast=coast)
    figure.suptitle(f"{view.title}: true colour", fontsize=10)
    return figure


def _is_lit(picture: np.ndarray) -> bool:
    """Tell if a hundredth of it is brighter than a reflectance of 0.02; a night is not worth a black picture."""
    seen = picture[np.isfinite(picture)]
    return bool(seen.size) and float(np.percentile(seen, 99)) > 0.02 ** (1 / composites.GAMMA)


def draw_difference(view: View, against: View, coast: str) -> Figure:
    """The first view's shared bands minus the other's on the same grid, one row of maps per band."""
    grids = [(view.lat, against.lat), (view.lon, against.lon)]
    if not all(one.shape == other.shape and np.allclose(one, other) for one, other in grids):
        raise InputError(
            f"{view.name} and {against.name} lie on different grids; compare the same tile at one resolution"
        )
    pairs = [
        (ours, theirs)
        for ours, theirs in shared_bands(view.satellite, against.satellite, sorted(view.fields), sorted(against.fields))
        if (np.isfinite(view.fields[ours]) & np.isfinite(against.fields[theirs])).any()
    ]
    if not pairs:
        raise InputError(f"{view.name} and {against.name} share no band by wavelength that both hold")
    figure, grid = maps.new_figure(11.5, 3.4 * len(pairs) + 0.4, 3, len(pairs))
    for row, (ours, theirs) in enumerate(pairs):
        panels = grid[3 * row : 3 * row + 3]
        band, fields = view.band(ours), [view.fields[ours], against.fields[theirs]]
        scale = maps.grey_scale(band, maps.value_range(fields))
        for axes, side, number in ((panels[0], view, ours), (panels[1], against, theirs)):
            name = f"{side.satellite} {maps.band_label(side.band(number))}"
            image = maps.show_map(axes, view, side.fields[number], name, coast=coast, **scale)
        maps.add_colour_bar(image, panels[:2], maps.unit_label(band))
        difference = fields[0] - fields[1]
        rmse = np.sqrt(np.nanmean(difference.astype(np.float64) ** 2))
        title = f"first minus second: RMSE {rmse:.3g}, mean {np.nanmean(difference):+.3g}"
        scale = maps.difference_scale([difference], least=band.noise)  # what is less is rounding
        dark = coast and maps.COAST_ON_DIFFERENCES
        image = maps.show_map(panels[2], view, difference, title, coast=dark, **scale)
        maps.add_colour_bar(image, [panels[2]], f"difference, {maps.unit_label(band)}", extend="both")
    figure.suptitle(f"{view.title}\nminus {against.title}", fontsize=10)
    return figure


def _common_ranges(calls: IsolatedCalls, inputs: Sequence[Path], bands: Sequence[int]) -> Ranges:
    """Of each band over all inputs, read one at a time, so that their pictures can be compared."""
    ends: dict[int, list[float]] = {number: [] for number in bands}
    for _, view in calls.map(inputs if bands else ()):
        for number in bands:
            if isinstance(view, View) and number in view.fields and np.isfinite(view.fields[number]).any():
                ends[number] += maps.value_range([view.fields[number]])
    return {number: (min(found), max(found)) for number, found in ends.items() if found}


def main(options: argparse.Namespace) -> None:
    """Run the subcommand `quicklook`."""
    inputs, output = [Path(text) for text in options.inputs], Path(options.output)
    if (options.against or options.green) and len(inputs) > 1:
        raise InputError("--against and --green belong to one INPUT; draw several one at a time")
    coast = "" if options.no_coastlines else maps.COAST
    written, failures = [], []
    with IsolatedCalls(read_view, workers=1) as calls:
        green, against = (calls.read(Path(name)) if name else None for name in (options.green, options.against))
        ranges = _common_ranges(calls, inputs, options.bands)
        for path in tqdm(inputs, desc="quicklook", unit="file", disable=None):
            try:
                view = calls.read(path)
                figures = draw_views(view, green, coast, options.bands, ranges)
                if against is not None:
                    figures["difference"] = draw_difference(view, against, coast)
                if not figures:
                    raise InputError(f"{view.name} holds no band that makes a picture: all are missing")
            except InputError as error:
                failures.append(error)
                continue
            output.mkdir(parents=True, exist_ok=True)
            for kind, figure in figures.items():
                written.append(f"{view.name}_{kind}.png")
                maps.save_figure(figure, output / written[-1])
    if not written:
        raise failures[0]
    for failure in failures:
        print(f"skipped: {failure}")
    print(f"{len(written)} pictures in {options.output}: {', '.join(written[:8])}{' ...' if len(written) > 8 else ''}")
    if failures:
        print(f"{len(failures)} of {len(inputs)} files could not be drawn")
