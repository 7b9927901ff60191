"""`satxlate bench repair`: errors of repaired bands, beside regressions and interpolation in space.

In each file one band at a time is withheld whole, and then in blocks of 40 x 40 pixels. The regressions learn from
files that the filters leave out and, like the repair, are given all other bands; their penalty is that of the flow.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from tqdm import tqdm

from satxlate_jax import cli
from satxlate_jax.archive.catalog import find_tiles
from satxlate_jax.benchmarks import bench_parser
from satxlate_jax.cli import InputError
from satxlate_jax.l1g.reader import read_tile
from satxlate_jax.models.flow_layers import monomials
from satxlate_jax.regression import ridge
from satxlate_jax.translation.filling import interpolate
from satxlate_jax.translation.load import load

BLOCK, BLOCKS = 40, 8  # pixels of a side, and how many in a file
PIXELS, FILES = 500, 200  # of a file, and files, that regressions learn from
PENALTY = 1e-6


def fit_regression(pixels: np.ndarray, channel: int, degree: int) -> Callable[[np.ndarray], np.ndarray]:
    """The regression of one channel of [pixel, channel] on the others, as a function of such a table."""
    mean, scale = pixels.mean(0), np.maximum(pixels.std(0), 1e-6)
    others = [index for index in range(pixels.shape[1]) if index != channel]

    def features(x: np.ndarray) -> np.ndarray:
        return monomials(((x - mean) / scale)[:, others], degree)

    weights, offset = ridge(features(pixels), pixels[:, [channel]], PENALTY)
    return lambda x: (features(x) @ weights + offset)[:, 0]


def _stack(tile: xr.Dataset, names: Sequence[str]) -> np.ndarray:
    return np.stack([tile[name].values for name in names], -1).astype(np.float64)


def score_file(translator: Any, tile: xr.Dataset, fits: dict, random: np.random.Generator) -> pd.DataFrame:
    """Sums of squared errors by band, 'whole' or 'blocks', and method; and how many are within 1 and 2 deviations."""
    names = [band.name for band in translator.bands(tile.attrs["satellite"])]
    truth, rows = _stack(tile, names), []
    blocks = np.zeros(truth.shape[:2], bool)
    for row, column in random.integers(0, np.array(blocks.shape) - BLOCK, (BLOCKS, 2)):
        blocks[row : row + BLOCK, column : column + BLOCK] = True
    for index, name in enumerate(names):
        for kind, hole in (("whole", np.ones_like(blocks)), ("blocks", blocks)):
            holed = tile.assign({name: tile[name].where(~xr.DataArray(hole, dims=tile[name].dims))})
            made = translator.repair(holed)
            known = np.isfinite(truth).all(-1) & hole & np.isfinite(made[name].values)  # none of reflectance at night
            estimates = {f"{fit} regression": fits[index, fit](truth[known]) for fit in ("linear", "quadratic")}
            estimates["repair"] = made[name].values[known]
            if kind == "blocks":
                estimates["interpolation"] = interpolate(holed[name].values)[known]
            errors = {method: made_of - truth[known, index] for method, made_of in estimates.items()}
            ratio = np.abs(errors["repair"]) / made[f"{name}_std"].values[known]
            shares = {"within 1": (ratio < 1).sum(), "within 2": (ratio < 2).sum(), "pixels": known.sum()}
            row = {"band": name, "withheld": kind} | shares
            rows += [row | {"method": method, "sum": (error**2).sum()} for method, error in errors.items()]
    return pd.DataFrame(rows)


def main(argv: Sequence[str]) -> None:
    """Run the benchmark."""
    parser = bench_parser("repair", __doc__)
    add = parser.add_argument
    add("--checkpoint", type=cli.user_path, required=True, metavar="RUN", help="a spectral flow's run")
    add("--l1g", type=cli.user_path, required=True, metavar="DIR", help="folder of L1G tiles")
    add("--satellite", required=True, help="whose files to mend, such as G17")
    add("--max_files", type=cli.at_least(1), default=8, metavar="N", help="score N files (8)")
    cli.add_archive_filters(parser)
    options = parser.parse_args(argv)
    translator = load(options.checkpoint)
    translator.check_surprise(options.satellite)
    bands = translator.bands(options.satellite)
    names, numbers = [band.name for band in bands], [band.number for band in bands]
    every, chosen = (
        [file.path for file in find_tiles(options.l1g, satellites=[options.satellite], **filters)]
        for filters in ({}, cli.archive_filters(options))
    )
    scored = chosen[:: -(-len(chosen) // options.max_files)] if chosen else []
    learned = sorted({*every} - {*chosen})
    if not scored or not learned:
        raise InputError(f"the filters leave {len(scored)} files to score and {len(learned)} to learn from; need both")
    random, table = np.random.default_rng(0), []
    for path in learned[:: -(-len(learned) // FILES)]:
        pixels = _stack(read_tile(path, bands=numbers), names).reshape(-1, len(names))
        table.append(random.permutation(pixels[np.isfinite(pixels).all(1)])[:PIXELS])
    pixels = np.concatenate(table)
    fits = {
        (index, name): fit_regression(pixels, index, degree)
        for index in range(len(names))
        for name, degree in (("linear", 1), ("quadratic", 2))
    }
    files = tqdm(scored, "bench repair", unit="file", disable=None)
    sums = pd.concat([score_file(translator, read_tile(path, bands=numbers), fits, random) for path in files])
    total = sums.groupby(["band", "withheld", "method"], sort=False).sum()
    scores = np.sqrt(total["sum"] / total["pixels"]).unstack("method")
    shares = total.xs("repair", level="method")
    scores = scores.assign(**{name: shares[name] / shares["pixels"] for name in ("within 1", "within 2")})
    print(scores.to_string(float_format="{:.3g}".format))
