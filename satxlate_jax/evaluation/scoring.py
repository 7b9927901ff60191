"""Scores a translator and the baselines case by case; everything is summed, so that any number of files goes."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from tqdm import tqdm

from satxlate_jax.cli import InputError
from satxlate_jax.evaluation.baselines.methods import MODEL
from satxlate_jax.evaluation.baselines.simple import Baseline
from satxlate_jax.evaluation.cases import Case, Comparison, stack
from satxlate_jax.evaluation.ensemble_calibration import Calibration
from satxlate_jax.evaluation.fitting import fit_baselines
from satxlate_jax.evaluation.groups import ALL, grouping_bands, pixel_groups
from satxlate_jax.evaluation.joint_histogram import JointHistogram
from satxlate_jax.evaluation.metrics import BandScore, data_range, score_groups
from satxlate_jax.evaluation.power_spectra import PowerSpectrum
from satxlate_jax.evaluation.results import Example, Results, Scores
from satxlate_jax.instruments import Band
from satxlate_jax.l1g.read_ahead import Request, read_groups
from satxlate_jax.l1g.tile import solar_zenith
from satxlate_jax.translation.missing import limit
from satxlate_jax.translation.translate import TileTranslator


def evaluate(
    translator: TileTranslator,
    comparison: Comparison,
    baselines: Sequence[Baseline],
    *,
    pictures: int = 3,
    coastlines: bool = False,
    samples: int = 0,
    seed: int = 0,
    may_be_empty: bool = False,
) -> Results:
    """Translates and scores every case; all methods on equal terms, see `equalize`.

    Args:
      translator: the model.
      comparison: what to compare.
      baselines: unfitted; they are fitted here.
      pictures: how many cases to keep for pictures, spread evenly.
      coastlines: whether the pictures show them.
      samples: draws of the latent noise; the model's answer is then their mean, and its spread is scored too.
      seed: of the draws.
      may_be_empty: return also where no case had a pixel to score, as in a part of an archive.

    Raises:
      InputError: no case had a pixel to score.
    """
    fit_baselines(comparison, baselines)
    results = Results(comparison, [MODEL, *(baseline.name for baseline in baselines)], samples)
    n_cases = len(comparison.cases)
    reading = read_groups([files_of(comparison, case) for case in comparison.cases])
    for index, case in enumerate(tqdm(comparison.cases, desc="evaluate", unit="file", disable=None)):
        tiles = next(reading)
        try:
            if isinstance(tiles, InputError):
                raise tiles
            example = predict_case(translator, comparison, case, tiles, baselines, results, seed)
        except InputError as error:
            results.left_out.append((case.source.path.name, str(error)))
            continue
        if example is None:
            reason = f"{case.truth.path.name} lacks all bands to compare with"
            results.left_out.append((case.source.path.name, reason))
            continue
        results.per_file.append((case, count_in(results, example)))
        if len(results.examples) < pictures and index >= len(results.examples) * n_cases // max(pictures, 1):
            example.coastlines = coastlines
            results.examples.append(example)
    if not results.scored_bands and not may_be_empty:
        name, reason = results.left_out[0] if results.left_out else ("", "no pixel has both a translation and a truth")
        raise InputError(f"none of {n_cases} files could be scored; the first, {name or 'of all'}: {reason}")
    return results


def files_of(comparison: Comparison, case: Case) -> list[Request]:
    """What to read for a case: the source's file and, where it is another, the truth's."""
    task, wanted = comparison.task, list(comparison.truth_bands.values())
    to_read = [*task.source_bands, *grouping_bands(task.source)]
    if comparison.truth == "source":
        return [(case.source.path, [*to_read, *wanted])]
    return [(case.source.path, to_read), (case.truth.path, wanted)]


def predict_case(
    translator: TileTranslator,
    comparison: Comparison,
    case: Case,
    tiles: Sequence[xr.Dataset],
    baselines: Sequence[Baseline],
    results: Results,
    seed: int,
) -> Example | None:
    """All methods on one case, on equal terms; None where the truth file holds none of the bands to compare with."""
    task, wanted = comparison.task, comparison.truth_bands
    tile, truth = tiles[0], tiles[-1]
    truths = {ours: truth[f"BAND{theirs:02d}"].values for ours, theirs in wanted.items()}
    if not any(np.isfinite(values).any() for values in truths.values()):
        return None
    translated = translator.translate(tile, task.target, source=task.source, samples=results.samples, seed=seed)
    answers = {MODEL: {number: translated[f"BAND{number:02d}"].values for number in wanted}}
    x = stack(tile, task.source_bands)
    for baseline in baselines:
        values = baseline.predict(x)
        answers[baseline.name] = {number: values[..., task.target_bands.index(number)] for number in wanted}
    predictions = equalize(answers, [results.band(number) for number in wanted])
    results.consistency.add_cycle(translator, x, task.source, task.target)
    if comparison.truth == "coincident":
        _add_latent(translator, results, x, stack(truth, task.target_bands))
    spread = {number: translated[f"BAND{number:02d}_spread"].values for number in wanted} if results.samples else None
    return Example(
        case=case,
        lat=tile["lat"].values,
        lon=tile["lon"].values,
        solar_zenith=solar_zenith(tile),
        source={int(name[4:]): tile[name].values for name in tile.data_vars if str(name).startswith("BAND")},
        truth=truths,
        predictions=predictions,
        spread=spread,
    )


def equalize(
    answers: Mapping[str, Mapping[int, np.ndarray]], bands: Sequence[Band]
) -> dict[str, dict[int, np.ndarray]]:
    """Brings all methods to equal terms: within each band's valid range, and missing where any of them is missing.

    A method without an answer anywhere that the model has one narrows no one: it is not scored.

    Args:
      answers: method -> band -> [h, w] in the band's unit, NaN where missing; one of them is the model.
      bands: those bands.

    Returns:
      The same, equalised.
    """
    equal: dict[str, dict[int, np.ndarray]] = {method: {} for method in answers}
    for band in bands:
        fields = {
            method: limit(values[band.number][..., None], [band])[0][..., 0] for method, values in answers.items()
        }
        common = known = np.isfinite(fields[MODEL])
        for values in fields.values():
            seen = known & np.isfinite(values)
            if seen.any():
                common = common & seen
        for method, values in fields.items():
            equal[method][band.number] = np.where(common, values, np.nan)
    return equal


def _add_latent(translator: TileTranslator, results: Results, x: np.ndarray, truth: np.ndarray) -> None:
    task = results.comparison.task
    if not np.isfinite(truth).any((0, 1)).all():
        return  # the target's file lacks a band that its encoder needs
    stride = translator.network.stride
    height, width = (size // stride * stride for size in x.shape[:2])
    fields = [
        translator.network.noisy(translator.translate(values[:height, :width], task.target, source=name, latent=True))
        for name, values in ((task.source, x), (task.target, truth))
    ]
    results.consistency.add_latent(*fields)


def count_in(results: Results, example: Example) -> Scores:
    """Adds one case to all sums; returns its own scores."""
    groups = pixel_groups(results.comparison.task.source, example.source, example.solar_zenith)
    pixel = abs(float(example.lat[1] - example.lat[0]))
    area = np.cos(np.radians(example.lat))[:, None]  # of a grid in degrees, on the sphere, against the equator's
    scores = {}
    for method, fields in example.predictions.items():
        for number, prediction in fields.items():
            key, truth, band = (method, number), example.truth[number], results.band(number)
            found = score_groups(prediction, truth, data_range(band), groups, area)
            scores[key] = found[ALL]
            for group, score in found.items():
                if score.n:
                    results.by_group.setdefault((group, *key), BandScore(data_range(band))).merge(score)
            if found[ALL].n:
                results.histograms.setdefault(key, JointHistogram.of(band)).update(prediction, truth)
                results.spectra.setdefault(key, PowerSpectrum()).update(prediction, truth, example.lat, pixel)
    for number, spread in (example.spread or {}).items():
        calibration = results.calibration.setdefault(number, Calibration())
        calibration.update(example.predictions[MODEL][number], spread, example.truth[number])
    return scores
