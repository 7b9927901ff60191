"""What can be wrong with an L1G file, and how it is said."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from satxlate_jax.cli import InputError
from satxlate_jax.instruments import Band
from satxlate_jax.l1g.process_trust import distrust_process


class L1GError(InputError):
    """A file that cannot be read as L1G, or data that cannot be written as such; the message names the file."""


class MissingBandError(L1GError):
    """A file lacks bands that cannot be done without."""


class MissingBandWarning(UserWarning):
    """A file lacks bands that were asked for; they are read as missing everywhere."""


class UnusableError(Exception):
    """What is wrong with a data set, to follow its name."""


def in_a_line(error: BaseException) -> str:
    """An error's kind and message."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def find_absent(path: Path, wanted: Iterable[Band], arrays: Mapping[str, np.ndarray]) -> str:
    """Which of the bands the file lacks, in words; '' where it has all."""
    absent = [band.name for band in wanted if band.name not in arrays]
    if absent:
        distrust_process()  # a library that is no longer sound overlooks data sets
    return f"{str(path)!r} lacks {', '.join(absent)}" if absent else ""
