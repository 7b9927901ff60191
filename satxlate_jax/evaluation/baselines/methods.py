"""All methods that are scored, by name, in the order of the report."""

from collections.abc import Sequence

from satxlate_jax.cli import InputError
from satxlate_jax.evaluation.baselines.band_by_band import HistogramMatching, PairedLine
from satxlate_jax.evaluation.baselines.cnn import SupervisedCnn
from satxlate_jax.evaluation.baselines.regressions import BoostedTrees, LinearRegression, QuadraticRegression
from satxlate_jax.evaluation.baselines.simple import GREEN_BASELINES, BandCopy, Baseline, Constant, Task
from satxlate_jax.evaluation.composites import GREEN_FORMULAS

MODEL = "model"

# Where two are equally good, the first is named.
_ORDER: tuple[type[Baseline], ...] = (
    BandCopy,
    LinearRegression,
    QuadraticRegression,
    HistogramMatching,
    PairedLine,
    *GREEN_BASELINES,
    BoostedTrees,
    SupervisedCnn,
    Constant,
)
BASELINES: dict[str, type[Baseline]] = {baseline.name: baseline for baseline in _ORDER}

PAIRED = tuple(name for name, baseline in BASELINES.items() if "pairs" in baseline.wants)
"""Those fitted on coincident files of both satellites, which is more than the model is given."""

SLOW = ("trees", "cnn")
"""Those that take minutes; only fitted when asked for."""

_WORDS = {
    "model": "model",
    "band_copy": "band copy",
    "linear": "linear regression",
    "quadratic": "quadratic regression",
    "matching": "histogram matching",
    "sbaf": "SBAF (paired)",
    "trees": "boosted trees",
    "cnn": "supervised CNN",
    "constant": "constant",
}


def method_name(method: str) -> str:
    """A method in words."""
    if method.startswith("green_"):
        formula = next(name for name in GREEN_FORMULAS if name.lower() == method.removeprefix("green_"))
        return f"{formula} green formula"
    return _WORDS.get(method, method)


def make_baselines(task: Task, names: Sequence[str] | None = None) -> list[Baseline]:
    """Baselines, unfitted, in the order of the report.

    Args:
      task: what they must predict.
      names: which; default all but the slow ones; 'all' among them is all.

    Raises:
      InputError: there is no baseline of that name.
    """
    chosen = [name for name in BASELINES if name not in SLOW] if names is None else list(names)
    if "all" in chosen:
        chosen = list(BASELINES)
    unknown = [name for name in chosen if name not in BASELINES]
    if unknown:
        raise InputError(f"there is no baseline '{unknown[0]}'; there are {', '.join(BASELINES)}; or say all, or none")
    return [baseline(task) for name, baseline in BASELINES.items() if name in chosen]
