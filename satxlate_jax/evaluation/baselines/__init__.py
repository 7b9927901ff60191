"""Baselines: methods without a shared latent space, which a translation must beat.

Unpaired, as the model is:
- `constant`: the target's mean.
- `band_copy`: the source's band of the same wavelength, as measured.
- `linear`, `quadratic`, `trees`, `cnn`: fitted on the TARGET satellite's own tiles, inputs = its bands that the
  source's input bands share by wavelength, outputs = each of its bands, and then applied to what the SOURCE measured.
- `matching`: histogram matching of a shared band.
- `green_...`: the published formulas for the green band.
Paired, and so given more than the model: `sbaf`, a line per shared band fitted on coincident files.
Every fit streams over tiles or keeps a bounded sample.
"""

from collections.abc import Sequence

from satxlate_jax.cli import InputError
from satxlate_jax.evaluation.baselines.cnn import SupervisedCnn
from satxlate_jax.evaluation.baselines.regressions import (
    BoostedTrees,
    LinearRegression,
    PairedLine,
    QuadraticRegression,
)
from satxlate_jax.evaluation.baselines.simple import GREEN_BASELINES, BandCopy, Baseline, Constant, HistogramMatching
from satxlate_jax.evaluation.cases import Task

MODEL = "model"
COARSE = "model_2km"
"""On a finer grid: the model's translation at 2 km, interpolated."""

# In the order of the report. Where two are equally good, the first is named.
_REGRESSIONS: tuple[type[Baseline], ...] = (LinearRegression, QuadraticRegression)
_SLOW: tuple[type[Baseline], ...] = (BoostedTrees, SupervisedCnn)
_ORDER: tuple[type[Baseline], ...] = (
    BandCopy,
    *_REGRESSIONS,
    HistogramMatching,
    PairedLine,
    *GREEN_BASELINES,
    *_SLOW,
    Constant,
)
BASELINES: dict[str, type[Baseline]] = {baseline.name: baseline for baseline in _ORDER}

PAIRED = tuple(name for name, baseline in BASELINES.items() if "pair" in baseline.wants)
"""Those fitted on coincident files of both satellites, which is more than the model is given."""

SLOW = tuple(baseline.name for baseline in _SLOW)
"""Those that take minutes; only fitted when asked for."""

REGRESSIONS = (*(baseline.name for baseline in _REGRESSIONS), *SLOW)


def method_name(method: str) -> str:
    """A method in words."""
    return BASELINES[method].label if method in BASELINES else method.replace("_2km", " at 2 km")


def make_baselines(task: Task, names: Sequence[str] | None = None) -> list[Baseline]:
    """Baselines, unfitted, in the order of the report: all but the slow ones, or those named ('all' is all).

    Raises:
      InputError: there is no baseline of that name.
    """
    chosen = [name for name in BASELINES if name not in SLOW] if names is None else names
    if "all" in chosen:
        chosen = list(BASELINES)
    unknown = [name for name in chosen if name not in BASELINES]
    if unknown:
        raise InputError(f"there is no baseline '{unknown[0]}'; there are {', '.join(BASELINES)}; or say all, or none")
    return [baseline(task) for name, baseline in BASELINES.items() if name in chosen]
