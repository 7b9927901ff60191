"""The one rule by which methods are ranked: the best baseline, and how the model stands against a method.

The report and `compare` both judge by it, and on the numbers as scores.csv holds them, so that they agree.
"""

import math
from collections.abc import Mapping

from satxlate_jax.evaluation.baselines.methods import BASELINES, MODEL, PAIRED

TIE = 0.005
"""Relative difference in RMSE up to which the model and a method are called equal."""

DIGITS = 7
"""Significant digits of a number in scores.csv."""

_ROUNDING = 1e-4, 1e-6
"""Relative and absolute difference of two baselines that are the same but for rounding."""


def as_written(value: float) -> float:
    """A number as scores.csv holds it."""
    return float(f"{value:.{DIGITS}g}")


def best_baseline(rmse: Mapping[str, float], *, paired: bool = False) -> tuple[str, float]:
    """The baseline of the smallest RMSE in a band, and its RMSE; ('', NaN) where none has an answer.

    Where several are the smallest but for rounding (a regression on the band itself is the band copy), the first in
    the order of `BASELINES` is named, the simplest.

    Args:
      rmse: method -> RMSE in the band's unit; NaN is no answer. The model is passed over.
      paired: among those fitted on coincident files, which is more than the model is given; default among the others,
        with which the model is compared.
    """
    order = [*BASELINES, *(method for method in rmse if method not in BASELINES)]
    answers = {
        method: as_written(rmse[method])
        for method in order
        if method != MODEL and (method in PAIRED) == paired and not math.isnan(rmse.get(method, math.nan))
    }
    if not answers:
        return "", math.nan
    relative, absolute = _ROUNDING
    limit = min(answers.values()) * (1 + relative) + absolute
    return next((method, rmse[method]) for method, value in answers.items() if value <= limit)


def rank(model: float, rival: float) -> tuple[str, float]:
    """How the model stands against a method.

    Args:
      model: its RMSE in the band's unit.
      rival: the method's.

    Returns:
      'ahead', 'equal' (within `TIE`), 'behind', or '' where either has no answer; and the model's RMSE relative to the
      rival's, minus 1.
    """
    model, rival = as_written(model), as_written(rival)
    if math.isnan(model) or math.isnan(rival):
        return "", math.nan
    if rival == 0:
        return ("equal", 0.0) if model == 0 else ("behind", math.inf)
    ratio = model / rival
    return ("ahead" if ratio < 1 - TIE else "behind" if ratio > 1 + TIE else "equal"), ratio - 1
