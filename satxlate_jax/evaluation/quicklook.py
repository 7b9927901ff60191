"""The verb `quicklook`: tiles as pictures, observed or synthesised, and the difference of two."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from satxlate_jax.archive.catalog import parse_numbers
from satxlate_jax.cli import CommandParser, InputError, user_path
from satxlate_jax.evaluation import maps
from satxlate_jax.evaluation.composites import GREEN_FORMULAS, green_band, infrared_band, true_colour, water_vapour_band
from satxlate_jax.evaluation.figures import save_figure
from satxlate_jax.evaluation.views import View, read_view
from satxlate_jax.instruments import Band, get_satellite, shared_bands
from satxlate_jax.l1g.isolation import IsolatedCalls

Ranges = Mapping[int, tuple[float, float]]


def draw_views(
    view: View,
    green: View | None,
    against: View | None,
    coast: str,
    bands: Sequence[int] = (),
    ranges: Ranges | None = None,
) -> dict[str, Figure]:
    """All pictures a tile allows, or those of some bands.

    Args:
      view: the tile.
      green: a translation of it to a satellite that has a green band.
      against: another view of the same tile, to take the difference to.
      coast: colour of the coastlines; '' draws none.
      bands: 1-based bands to draw instead of true colour, infrared and water vapour.
      ranges: band -> the values at the ends of its grey scale; default those of the tile itself.

    Returns:
      Kind -> figure: 'true_colour', 'infrared', 'water_vapour' or 'band07' and so on, 'difference'.

    Raises:
      InputError: the tile does not hold a band asked for.
    """
    figures = _draw_chosen(view, bands, coast, ranges) if bands else _draw_usual(view, green, coast)
    if against is not None:
        figures["difference"] = draw_difference(view, against, coast)
    return figures


def _draw_chosen(view: View, bands: Sequence[int], coast: str, ranges: Ranges | None) -> dict[str, Figure]:
    held = [number for number, values in sorted(view.fields.items()) if np.isfinite(values).any()]
    for number in bands:
        if number not in held:
            raise InputError(f"{view.name} holds no band {number}; it holds {', '.join(map(str, held)) or 'none'}")
    satellite = get_satellite(view.satellite)
    return {f"band{number:02d}": _draw_band(view, satellite.band(number), coast, ranges) for number in bands}


def _draw_usual(view: View, green: View | None, coast: str) -> dict[str, Figure]:
    figures = {}
    colour = _draw_true_colour(view, green, coast)
    if colour is not None:
        figures["true_colour"] = colour
    for kind, number in (
        ("infrared", infrared_band(view.satellite, view.fields)),
        ("water_vapour", water_vapour_band(view.satellite, view.fields)),
    ):
        if number is not None:
            figures[kind] = _draw_band(view, get_satellite(view.satellite).band(number), coast)
    return figures


def _draw_true_colour(view: View, green: View | None, coast: str) -> Figure | None:
    pictures = {}
    own = green_band(view.satellite)
    if green is not None:
        number = green_band(green.satellite)
        if number is None or number not in green.fields:
            raise InputError(
                f"{green.name} has no green band (0.51 um); translate to a satellite that has one, such as H8"
            )
        name = f"green synthesised\n({green.satellite} band {number})"
        pictures[name] = true_colour(view.satellite, view.fields, green.fields[number])
    if own is not None:
        pictures[f"green of band {own}"] = true_colour(view.satellite, view.fields)
    else:
        for formula, (blue, red, vegetation) in GREEN_FORMULAS.items():
            name = f"green by {formula}'s formula\n{blue:.3g} blue + {red:.3g} red + {vegetation:.2g} vegetation"
            pictures[name] = true_colour(view.satellite, view.fields, formula=formula)
    pictures = {name: picture for name, picture in pictures.items() if picture is not None and _is_lit(picture)}
    if not pictures:
        return None
    figure = maps.new_figure(max(3.7 * len(pictures), 5.6), 4.4)
    for axes, (name, picture) in zip(maps.panels_of(figure, len(pictures)), pictures.items(), strict=True):
        maps.show_map(axes, view.lat, view.lon, picture, name, coast=coast)
    figure.suptitle(f"{view.title}: true colour", fontsize=10)
    return figure


def _is_lit(picture: np.ndarray) -> bool:
    """Whether a hundredth of it is brighter than a reflectance of 0.02; a night is not worth a black picture."""
    seen = picture[np.isfinite(picture)]
    return bool(seen.size) and float(np.percentile(seen, 99)) > 0.02 ** (1 / 2.2)


def _draw_band(view: View, band: Band, coast: str, ranges: Ranges | None = None) -> Figure:
    figure = maps.new_figure(5.6, 5.0)
    axes = maps.panels_of(figure, 1)[0]
    values = view.fields[band.number]
    low, high = (ranges or {}).get(band.number) or maps.value_range([values])
    title = f"{view.title}\n{maps.band_label(band)}"
    look = {"cmap": maps.grey_map(band), "vmin": low, "vmax": high}
    image = maps.show_map(axes, view.lat, view.lon, values, title, coast=coast, **look)
    maps.add_colour_bar(figure, image, [axes], maps.unit_label(band))
    return figure


def draw_difference(view: View, against: View, coast: str) -> Figure:
    """The first view's shared bands minus the other's, one row of maps per band.

    Raises:
      InputError: the views lie on different grids, or share no band.
    """
    if (
        view.lat.shape != against.lat.shape
        or not np.allclose(view.lat, against.lat)
        or not np.allclose(view.lon, against.lon)
    ):
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
    figure = maps.new_figure(11.5, 3.4 * len(pairs) + 0.4)
    grid = figure.subplots(len(pairs), 3, squeeze=False)
    for panels, (ours, theirs) in zip(grid, pairs, strict=True):
        band, other = get_satellite(view.satellite).band(ours), get_satellite(against.satellite).band(theirs)
        fields = [view.fields[ours], against.fields[theirs]]
        low, high = maps.value_range(fields)
        names = [f"{side.satellite} {maps.band_label(b)}" for side, b in ((view, band), (against, other))]
        for axes, values, name in zip(panels, fields, names, strict=False):
            look = {"cmap": maps.grey_map(band), "vmin": low, "vmax": high}
            image = maps.show_map(axes, view.lat, view.lon, values, name, coast=coast, **look)
        maps.add_colour_bar(figure, image, panels[:2], maps.unit_label(band))
        difference = fields[0] - fields[1]
        seen = difference[np.isfinite(difference)]
        limit = float(np.percentile(np.abs(seen), 99)) or 1.0
        rmse = float(np.sqrt(np.mean(seen.astype(np.float64) ** 2)))
        title = f"first minus second: RMSE {rmse:.3g}, mean {seen.mean():+.3g}"
        look = {"cmap": maps.DIFFERENCES, "vmin": -limit, "vmax": limit}
        image = maps.show_map(
            panels[2], view.lat, view.lon, difference, title, coast=coast and maps.COAST_ON_DIFFERENCES, **look
        )
        maps.add_colour_bar(figure, image, [panels[2]], f"difference, {maps.unit_label(band)}", extend="both")
    figure.suptitle(f"{view.title}\nminus {against.title}", fontsize=10)
    return figure


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="satxlate quicklook",
        description="Draw tiles, L1G files or translated netCDF: true colour, infrared and water vapour as the bands "
        "allow, and the difference to another view of the same tile. One PNG per kind: OUT/NAME_KIND.png. Files that "
        "cannot be read are named, the rest is drawn.",
    )
    parser.add_argument(
        "inputs", type=user_path, nargs="+", metavar="INPUT", help="L1G files or translated netCDF files"
    )
    parser.add_argument(
        "--output", type=user_path, required=True, metavar="OUT", help="folder for the pictures; made if absent"
    )
    parser.add_argument(
        "--against", type=user_path, metavar="FILE", help="also draw the difference to this file, band by band"
    )
    parser.add_argument(
        "--green",
        type=user_path,
        metavar="NC",
        help="a translation of INPUT that holds a green band (0.51 um), such as to H8",
    )
    parser.add_argument("--bands", help="draw these instead, such as 7,12: every INPUT on one scale")
    parser.add_argument("--no_coastlines", action="store_true", help="draw none (simulated scenes have their own land)")
    return parser


def _common_ranges(
    calls: IsolatedCalls, inputs: Sequence[Path], bands: Sequence[int]
) -> dict[int, tuple[float, float]]:
    """Of each band over all inputs, read one at a time, so that their pictures can be compared."""
    ends: dict[int, list[float]] = {number: [] for number in bands}
    for _, view in calls.map(inputs if bands else ()):
        for number in bands:
            if isinstance(view, View) and number in view.fields and np.isfinite(view.fields[number]).any():
                ends[number] += maps.value_range([view.fields[number]])
    return {number: (min(found), max(found)) for number, found in ends.items() if found}


def _draw_inputs(calls: IsolatedCalls, options: argparse.Namespace) -> tuple[list[str], list[InputError]]:
    """Names of the pictures written, and why inputs gave none."""
    inputs, output = [Path(text) for text in options.inputs], Path(options.output)
    green = calls.read(Path(options.green)) if options.green else None
    against = calls.read(Path(options.against)) if options.against else None
    bands = parse_numbers(options.bands) if options.bands else ()
    ranges = _common_ranges(calls, inputs, bands)
    coast = "" if options.no_coastlines else maps.COAST
    written, failures = [], []
    for path in tqdm(inputs, desc="quicklook", unit="file", disable=None):
        try:
            view = calls.read(path)
            figures = draw_views(view, green, against, coast, bands, ranges)
            if not figures:
                raise InputError(f"{view.name} holds no band that makes a picture: all are missing")
        except InputError as error:
            failures.append(error)
            continue
        output.mkdir(parents=True, exist_ok=True)
        for kind, figure in figures.items():
            picture = output / f"{view.name}_{kind}.png"
            save_figure(figure, picture)
            written.append(picture.name)
    return written, failures


def main(argv: list[str]) -> None:
    """The verb `quicklook`.

    Raises:
      InputError: a mistake in what was handed in, or no input could be drawn.
    """
    options = _parser().parse_args(argv)
    if (options.against or options.green) and len(options.inputs) > 1:
        raise InputError("--against and --green belong to one INPUT; draw several one at a time")
    with IsolatedCalls(read_view, workers=1) as calls:
        written, failures = _draw_inputs(calls, options)
    if not written:
        raise failures[0]
    for error in failures:
        print(f"skipped: {error}")
    print(f"{len(written)} pictures in {options.output}: {', '.join(written[:8])}{' ...' if len(written) > 8 else ''}")
    if failures:
        print(f"{len(failures)} of {len(options.inputs)} files could not be drawn")
