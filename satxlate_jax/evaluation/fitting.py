"""Fits the baselines on files that are not scored, reading each file once."""

from collections.abc import Callable, Sequence

import numpy as np
from tqdm import tqdm

from satxlate_jax.errors import InputError
from satxlate_jax.evaluation.baselines import Baseline
from satxlate_jax.evaluation.comparison import Comparison, read_bands, stack
from satxlate_jax.observations.catalog import TileFile


def fit_baselines(comparison: Comparison, baselines: Sequence[Baseline]) -> None:
    """Fits the baselines in place; files that cannot be read are named and passed over."""
    task = comparison.task

    def read_target(file: TileFile) -> tuple[np.ndarray]:
        return (stack(read_bands(file, task.target_bands), task.target_bands),)

    def read_source(file: TileFile) -> tuple[np.ndarray]:
        return (stack(read_bands(file, task.source_bands), task.source_bands),)

    def read_pair(pair: tuple[TileFile, TileFile]) -> tuple[np.ndarray, np.ndarray]:
        return *read_source(pair[0]), *read_target(pair[1])

    for what, method, files, read in (
        ("target", "fit_target", comparison.fit_files, read_target),
        ("source", "fit_source", comparison.fit_sources, read_source),
        ("pairs", "fit_pair", comparison.fit_pairs, read_pair),
    ):
        wanting = [getattr(baseline, method) for baseline in baselines if what in baseline.wants]
        if wanting:
            _stream(f"fit baselines ({what})", files, read, wanting)
    for baseline in baselines:
        baseline.finish()


def _stream(title: str, files: Sequence, read: Callable, fits: Sequence[Callable]) -> None:
    for file in tqdm(files, desc=title, unit="file", disable=None):
        try:
            values = read(file)
        except InputError as error:
            tqdm.write(f"not fitted on: {error}")
            continue
        for fit in fits:
            fit(*values)
