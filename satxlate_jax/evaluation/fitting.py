"""Fits the baselines on files that are not scored, reading each file once."""

from collections.abc import Callable, Sequence

from tqdm import tqdm

from satxlate_jax.cli import InputError
from satxlate_jax.evaluation.baselines.simple import Baseline
from satxlate_jax.evaluation.cases import Comparison, stack
from satxlate_jax.l1g.read_ahead import Request, read_groups


def fit_baselines(comparison: Comparison, baselines: Sequence[Baseline]) -> None:
    """Fits the baselines in place; files that cannot be read are named and passed over."""
    task = comparison.task
    source, target = task.source_bands, task.target_bands
    for what, method, groups in (
        ("target", "fit_target", [[(file.path, target)] for file in comparison.fit_files]),
        ("source", "fit_source", [[(file.path, source)] for file in comparison.fit_sources]),
        ("pairs", "fit_pair", [[(one.path, source), (other.path, target)] for one, other in comparison.fit_pairs]),
    ):
        wanting = [getattr(baseline, method) for baseline in baselines if what in baseline.wants]
        if wanting:
            _stream(f"fit baselines ({what})", groups, wanting)
    for baseline in baselines:
        baseline.finish()


def _stream(title: str, groups: Sequence[Sequence[Request]], fits: Sequence[Callable]) -> None:
    reading = tqdm(read_groups(groups), total=len(groups), desc=title, unit="file", disable=None)
    for group, tiles in zip(groups, reading, strict=True):
        if isinstance(tiles, InputError):
            tqdm.write(f"not fitted on: {tiles}")
            continue
        values = [stack(tile, bands) for tile, (_, bands) in zip(tiles, group, strict=True)]
        for fit in fits:
            fit(*values)
