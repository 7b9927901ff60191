"""`satxlate animate`: a time series of one tile, observed next to synthetic, as GIF or MP4."""

import argparse
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import ConciseDateFormatter
from PIL import Image
from tqdm import tqdm

from satxlate_jax import atomic
from satxlate_jax.archive.catalog import TileFile, find_tiles, parse_name
from satxlate_jax.cli import InputError
from satxlate_jax.evaluation import maps
from satxlate_jax.evaluation.composites import find_band, green_band, infrared_band, true_colour
from satxlate_jax.evaluation.quicklook import View, read_view
from satxlate_jax.l1g.isolation import IsolatedCalls

Frame = tuple[Path, list[TileFile]]
"""A translated file and the files observed at that time, first the one it was made from."""

_SCALED_BY = 12  # frames, spread evenly


def find_frames(inputs: Sequence[str], root: Path, target: str | None = None) -> list[Frame]:
    """The translated files (or those in folders) in order of time, each with the files observed at that time.

    The observations lie under `root`; those of the satellite `target`, where there are any, are shown too.
    """
    given = [sorted(Path(text).glob("*.nc")) if Path(text).is_dir() else [Path(text)] for text in inputs]
    sources, advice = {}, "give what translate wrote, or the folder it wrote to"
    for file in chain(*given):
        source = parse_name("_".join(file.stem.split("_")[:7]) + ".hdf")
        if source is None:
            raise InputError(f"'{file}' is not named as `satxlate translate` names its files; {advice}")
        sources[file] = source
    if not sources:
        raise InputError(f"no netCDF file in {', '.join(inputs)}; {advice}")
    tiles = {source.tile for source in sources.values()}
    if len(tiles) > 1:
        raise InputError(f"an animation is of one tile, these are of {', '.join(sorted(tiles))}; give files of one")
    observed: dict[datetime, dict[str, TileFile]] = {}
    for seen in find_tiles(root, tiles=tiles):
        observed.setdefault(seen.time, {})[seen.satellite] = seen
    frames = []
    for file, source in sorted(sources.items(), key=lambda item: item[1].time):
        present = observed.get(source.time, {})
        if source.satellite not in present:
            raise InputError(
                f"the source of {file.name} is not under '{root}'; give the tree it was translated from as --l1g"
            )
        others = [present[target]] if target in present and target != source.satellite else []
        frames.append((file, [present[source.satellite], *others]))
    return frames


def draw_frames(
    frames: Sequence[Frame], read: Callable[[Path], View], kind: str, coast: str, failures: list[InputError]
) -> Iterator[np.ndarray]:
    """Pictures [height, width, 3], uint8, all of one size and one scale, 'infrared' or 'true_colour'.

    Below them are curves of how much a band changes from frame to frame. Frames that cannot be read or drawn are left
    out; `failures` gets their reasons. InputError where none can be drawn.
    """
    limits = {} if kind == "true_colour" else _find_scales(frames, read)
    changes = find_changes(frames, read, kind)
    curves = int(len(changes.columns) > 0)
    columns, heights = 1 + max(len(files) for _, files in frames), (4, 1)[: 1 + curves]
    for frame in frames:
        try:
            views = _read_views(frame, read, kind)
            size = 4.3 * columns, 4.9 + 1.3 * curves
            figure, panels = maps.new_figure(*size, columns, len(heights), height_ratios=heights)
            for axes in panels[len(views) : columns]:  # nothing was observed for it at that time
                axes.set_visible(False)
            for axes, (view, number) in zip(panels, views, strict=False):
                title = view.title.replace(" synthesised", "\nsynthesised").replace(" observed", "\nobserved")
                if kind == "true_colour":
                    picture = true_colour(view.satellite, view.fields)
                    if picture is None:
                        raise InputError(f"{view.name} lacks bands for true colour; use --kind infrared")
                    maps.show_map(axes, view, picture, title, coast=coast)
                elif number is not None:  # as always in infrared
                    band, values = view.band(number), view.fields[number]
                    scale = limits.get(round(band.wavelength))
                    maps.show_band(axes, view, band, values, title, scale, coast=coast, below=True)
            if curves:
                _draw_changes(panels[columns:], changes, frame[1][0].time)
        except InputError as error:
            failures.append(error)
            continue
        yield maps.pixels_of(figure).copy()
    if len(failures) == len(frames):
        raise failures[0]


def find_changes(frames: Sequence[Frame], read: Callable[[Path], View], kind: str) -> pd.DataFrame:
    """The root mean square of a band's change since the frame before [time, view], in its unit; NaN where unknown."""
    rows, before = {}, dict[str, np.ndarray]()
    for frame in frames:
        try:
            views = _read_views(frame, read, kind)
        except InputError:
            continue
        fields = {
            f"{view.title.split(',')[0]}, {view.band(number).wavelength:g} µm": view.fields[number]
            for view, number in views
            if number is not None
        }
        change = {name: field - before.get(name, np.nan) for name, field in fields.items()}
        seen = {name: values[np.isfinite(values)] for name, values in change.items()}
        rows[frame[1][0].time] = {name: np.sqrt(np.mean(values**2)) for name, values in seen.items() if values.size}
        before = fields
    return pd.DataFrame.from_dict(rows, orient="index")


def _draw_changes(panels: Sequence[Axes], changes: pd.DataFrame, now: datetime) -> None:
    """Curves of the changes in the place of some panels, and where in them a frame is."""
    grid = panels[0].get_gridspec()
    for panel in panels:
        panel.remove()
    axes = grid.figure.add_subplot(grid[1, :])
    for name, colour in zip(changes, ("#8d96a3", "#1b6ca8", "#222222"), strict=False):
        axes.plot(changes.index, changes[name], ".-", color=colour, label=name)
    axes.axvline(now, color="#d1495b", linewidth=1)
    axes.set(ylabel="RMS change", ylim=(0, None))
    axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))
    axes.legend(frameon=False, fontsize=8, ncols=len(changes.columns))


def _read_views(frame: Frame, read: Callable[[Path], View], kind: str) -> list[tuple[View, int | None]]:
    """The views, and the band of each that is shown or, in true colour, whose changes are drawn: green or else red."""
    file, (source, *others) = frame
    views = [read(path) for path in (source.path, file, *(other.path for other in others))]
    if kind != "true_colour":
        return [(view, _shown_band(view, views[1])) for view in views]
    wavelength = 0.51 if green_band(views[1].satellite) in views[1].fields else 0.64  # um
    return [(view, find_band(view.satellite, wavelength, view.fields)) for view in views]


def _find_scales(frames: Sequence[Frame], read: Callable[[Path], View]) -> dict[int, tuple[float, float]]:
    """The infrared scale that suits day and night: wavelength (um, rounded) -> lowest and highest value in K."""
    ends: dict[int, list[float]] = {}
    for index in np.unique(np.linspace(0, len(frames) - 1, min(_SCALED_BY, len(frames))).astype(int)):
        try:
            views = _read_views(frames[index], read, "infrared")
        except InputError:
            continue
        for view, number in views:
            if number is not None and np.isfinite(view.fields[number]).any():
                ends.setdefault(round(view.band(number).wavelength), []).extend(maps.value_range([view.fields[number]]))
    return {key: (min(found), max(found)) for key, found in ends.items()}


def _shown_band(view: View, synthetic: View) -> int:
    """The band to show in infrared: that of the synthetic view's best window, or else the view's own best."""
    reference, number = infrared_band(synthetic.satellite, synthetic.fields), None
    if reference is not None:
        number = find_band(view.satellite, synthetic.band(reference).wavelength, view.fields)
    number = infrared_band(view.satellite, view.fields) if number is None else number
    if number is None:
        raise InputError(f"{view.name} holds no infrared band; use --kind true_colour")
    return number


def write_animation(pictures: Iterator[np.ndarray], path: Path, frames_per_second: float) -> None:
    """Write a .gif or, where there is an ffmpeg, an .mp4; InputError for another."""
    if path.suffix not in (".gif", ".mp4"):
        raise InputError(f"--output is '{path}'; name a .gif or an .mp4 file")
    path.parent.mkdir(parents=True, exist_ok=True)
    write = _write_gif if path.suffix == ".gif" else _write_mp4
    with atomic.replacing(path) as temporary:
        write(pictures, temporary, frames_per_second)


def _write_gif(pictures: Iterator[np.ndarray], path: Path, frames_per_second: float) -> None:
    images = [Image.fromarray(picture).quantize(256, dither=Image.Dither.NONE) for picture in pictures]
    duration = round(1000 / frames_per_second)
    images[0].save(path, format="GIF", save_all=True, append_images=images[1:], duration=duration, loop=0)


def find_ffmpeg() -> str:
    """Path of the ffmpeg of the package imageio-ffmpeg, or else of the one on PATH; InputError without either."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe  # of the extra 'video'

        return get_ffmpeg_exe()
    except (ImportError, RuntimeError):  # RuntimeError: a package without a program for this machine
        program = shutil.which("ffmpeg")
    if program is None:
        raise InputError("an .mp4 needs ffmpeg; pip install imageio-ffmpeg (or 'satxlate-jax[video]'), or name a .gif")
    return program


def _write_mp4(pictures: Iterator[np.ndarray], path: Path, frames_per_second: float) -> None:
    program = find_ffmpeg()
    first = next(pictures)
    height, width = (side // 2 * 2 for side in first.shape[:2])  # H.264 takes even sides only
    form = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(frames_per_second), "-i", "-"]
    command = [program, "-y", "-loglevel", "error", *form, "-pix_fmt", "yuv420p", "-f", "mp4", str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None  # a pipe
    try:
        with suppress(BrokenPipeError):  # it ended early; its words and its exit code follow
            for picture in chain([first], pictures):
                process.stdin.write(picture[:height, :width].tobytes())
    except BaseException:
        process.kill()  # or it would go on to make its file
        process.communicate()
        raise
    _, words = process.communicate()
    if process.returncode:
        raise InputError(f"ffmpeg could not write the animation: {' '.join(words.decode().split())}")


def main(options: argparse.Namespace) -> None:
    """Run the subcommand `animate`."""
    frames = find_frames(options.inputs, Path(options.l1g), options.truth)
    coast = "" if options.no_coastlines else maps.COAST
    failures: list[InputError] = []
    with IsolatedCalls(read_view, workers=1) as calls:
        pictures = draw_frames(frames, calls.read, options.kind, coast, failures)
        shown = iter(tqdm(pictures, total=len(frames), desc="animate", unit="frame", disable=None))
        write_animation(shown, Path(options.output), options.fps)
    for error in failures:
        print(f"skipped: {error}")
    left_out = f"; {len(failures)} of {len(frames)} could not be drawn" if failures else ""
    print(f"{len(frames) - len(failures)} frames in {options.output}{left_out}")
