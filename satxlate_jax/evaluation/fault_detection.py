"""How likely the measurements are, and whether simulated faults are detected by that: `evaluate` with --likelihood."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib import colormaps
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from satxlate_jax.cli import InputError
from satxlate_jax.evaluation import maps
from satxlate_jax.instruments import Band
from satxlate_jax.l1g.reader import read_groups

STRIPES = {"K": 1.0, "1": 0.02}
"""The standard deviation of simulated stripes, by unit; they are rows of the tile's middle third."""
SATURATED = 0.001  # of the pixels
GAIN = 1.02
WORDS = {
    "": "as measured",
    "stripes": "rows off by 1 K or 0.02",
    "saturated": "0.1 % of pixels at the top",
    "calibration": f"a band times {GAIN:g}",
    "swapped": "two bands swapped",
}
_HEAT: dict[str, Any] = {"cmap": colormaps["inferno"].resampled(24), "vmin": 0, "vmax": 60}  # bits


def simulate_faults(
    tile: xr.Dataset, bands: Sequence[Band], random: np.random.Generator
) -> tuple[str, dict[str, tuple[xr.Dataset, np.ndarray]]]:
    """A band drawn among those that vary, and fault -> the tile with it in that band, and where, bool [row, column]."""
    varying = [b for b in bands if float(tile[b.name].std()) > 5 * b.noise] or list(bands)
    band = varying[random.integers(len(varying))]
    field, made = tile[band.name], {}
    height, everywhere = len(field), np.ones(field.shape, bool)
    rows = ~everywhere
    rows[height // 3 : 2 * height // 3] = True
    stripes = field.values + rows * random.normal(0, STRIPES[band.unit], (height, 1))
    pixels = random.random(field.shape) < SATURATED
    for fault, values, place in (
        ("stripes", stripes, rows),
        ("saturated", np.where(pixels, band.valid_range[1], field.values), pixels),
        ("calibration", GAIN * field.values, everywhere),
    ):
        made[fault] = tile.assign({band.name: field.copy(data=values.astype(np.float32))}), place
    alike = [other for other in bands if other.kind == band.kind and other is not band]
    if alike:
        near = min(alike, key=lambda other: abs(other.wavelength - band.wavelength)).name
        swapped = {band.name: field.copy(data=tile[near].values), near: tile[near].copy(data=field.values)}
        made["swapped"] = tile.assign(swapped), everywhere
    return band.name, made


def _stands_out(bits: xr.Dataset) -> tuple[str, float]:
    """The band with the most bits on average over a tile, and how many."""
    means = {str(name): float(values.mean()) for name, values in bits.items() if name != "surprise"}
    return max(means.items(), key=lambda item: item[1])


def score_likelihood(translator: Any, files: Sequence[Path], source: str, output: Path, seed: int) -> str:
    """Write likelihood.csv (by file), faults.csv (by fault) and figures/likelihood.png; return the result in lines.

    A tile's score is that of the band that stands out most, a pixel's is `surprise`; faults.csv has the area under the
    ROC curve of tiles with and without the fault, of pixels inside and outside it (mean over tiles), and the share of
    tiles where the band that stands out is the one with the fault (either one where two are swapped).
    """
    numbers, figure = [band.number for band in translator.bands(source)], None
    usual, faulty = list[dict[str, Any]](), list[dict[str, Any]]()
    reading = read_groups([[(path, numbers)] for path in files])
    progress = tqdm(files, desc="likelihood", unit="file", disable=None)
    for (index, path), tiles in zip(enumerate(progress), reading, strict=True):
        try:
            if isinstance(tiles, InputError):
                raise tiles
            own, of_faults, shown = _score_tile(translator, tiles[0], source, np.random.default_rng([seed, index]))
        except InputError as error:
            tqdm.write(f"no likelihood: {error}")
            continue
        usual.append({"file": path.name} | own)
        faulty += of_faults
        figure = figure or _draw(shown, translator.bands(source))
    if figure is None:
        return "likelihood: no file could be read"
    table, scores = pd.DataFrame(usual), {}
    table.to_csv(output / "likelihood.csv", index=False)
    for fault, rows in pd.DataFrame(faulty).groupby("fault", sort=False):
        tiles_with = [*[1] * len(rows), *[0] * len(table)]
        scores[fault] = {
            "files": len(rows),
            "auc_tile": roc_auc_score(tiles_with, [*rows["bits"], *table["bits"]]),
            "auc_pixel": rows["auc_pixel"].mean(),
            "band_found": rows["band_found"].mean(),
        }
    pd.DataFrame(scores).T.rename_axis("fault").to_csv(output / "faults.csv", float_format="%.3f")
    maps.save_figure(figure, output / "figures" / "likelihood.png")
    worst, mean = table.loc[table["bits"].idxmax()], table["surprise"].mean()
    return (
        f"surprise: {mean:.1f} bits per pixel over {len(table)} files; the most unusual is {worst['file']}, "
        f"{worst['bits']:.1f} bits in {worst['band']}\nsimulated faults, area under the ROC curve of tiles: "
        + "; ".join(f"{WORDS[fault]} {row['auc_tile']:.2f}" for fault, row in scores.items())
    )


def _score_tile(translator: Any, tile: xr.Dataset, source: str, random: np.random.Generator) -> tuple:
    """The scores of a tile as it is, those of each fault, and (fault, tile, band, bits) to draw."""
    usual, bands = translator.surprise(tile, source=source), translator.bands(source)
    name, bits = _stands_out(usual)
    band, faults = simulate_faults(tile, bands, random)
    shown, found = [("", tile, band, usual)], []
    for fault, (changed, place) in faults.items():
        scores = translator.surprise(changed, source=source)
        shown.append((fault, changed, band, scores))
        values, known = scores["surprise"].values, np.isfinite(scores["surprise"].values)
        pixel = np.nan if place.all() else roc_auc_score(place[known], values[known])
        best, most = _stands_out(scores)
        is_hit = not np.array_equal(changed[best].values, tile[best].values, equal_nan=True)
        found.append({"fault": fault, "bits": most, "auc_pixel": pixel, "band_found": is_hit})
    return {"surprise": float(usual["surprise"].mean()), "band": name, "bits": bits}, found, shown


def _draw(shown: Sequence[tuple[str, xr.Dataset, str, xr.Dataset]], bands: Sequence[Band]) -> Figure:
    """A band of one tile as measured and with each fault, above its surprise."""
    _, place, name, _ = shown[0]
    (band,) = (band for band in bands if band.name == name)
    scale = maps.grey_scale(band, maps.value_range([place[name].values]))
    figure, panels = maps.new_figure(2.2 * len(shown), 4.2, len(shown), 2)
    rows = panels[: len(shown)], panels[len(shown) :]
    for (fault, tile, _, bits), above, below in zip(shown, *rows, strict=True):
        upper = maps.show_map(above, place, tile[name].values, WORDS[fault], **scale)
        lower = maps.show_map(below, place, bits["surprise"].values, "surprise", **_HEAT)
    maps.add_colour_bar(upper, rows[0], f"{maps.band_label(band)} ({band.unit})")
    maps.add_colour_bar(lower, rows[1], "bits per pixel", extend="both")
    return figure
