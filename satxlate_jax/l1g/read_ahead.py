"""L1G files that a computation goes through in order, read ahead in processes of their own.

A file that ends the process which reads it (see `isolation`) costs only what needs it.
"""

import warnings
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import xarray as xr

from satxlate_jax.cli import InputError
from satxlate_jax.cpus import count_cpus
from satxlate_jax.l1g.faults import MissingBandWarning
from satxlate_jax.l1g.isolation import Failure, read_isolated
from satxlate_jax.l1g.reader import read_tile

Request = tuple[Path, Sequence[int]]
"""A file and the bands to read of it, 1-based."""

_WORKERS = 4  # each may be a few tiles ahead, of some 6 MB; more than four are faster than what computes


def read_groups(groups: Sequence[Sequence[Request]]) -> Iterator[list[xr.Dataset] | InputError]:
    """Reads files that are needed together, such as coincident ones, on the 2 km grid.

    Yields:
      For each group the tiles in its order, as `read_tile` gives them, a band that a file lacks missing everywhere; or
      why they cannot be had: the error of the first file that cannot be read.

    Raises:
      RuntimeError: the processes do not start.
    """
    requests = (request for group in groups for request in group)
    outcomes = read_isolated(requests, _read, workers=min(_WORKERS, count_cpus()))
    for group in groups:
        found = list(islice(outcomes, len(group)))
        errors = [outcome.as_error(path) for (path, _), outcome in found if isinstance(outcome, Failure)]
        yield errors[0] if errors else [tile for _, tile in found]


def _read(request: Request) -> xr.Dataset:
    path, bands = request
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MissingBandWarning)
        return read_tile(path, bands=sorted(set(bands)))
