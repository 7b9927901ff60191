"""Fit the baselines, translate every case, and sum up the errors of all methods over the same pixels."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import ndimage
from tqdm import tqdm

from satxlate_jax.cli import InputError
from satxlate_jax.cpus import count_cpus
from satxlate_jax.evaluation import metrics
from satxlate_jax.evaluation.baselines import COARSE, MODEL, Baseline
from satxlate_jax.evaluation.case_selection import Case, Comparison, Task, stack
from satxlate_jax.evaluation.diagnostics import ALL, FLAGS, grouping_bands, pixel_groups, view_groups
from satxlate_jax.evaluation.distributions import Calibration, Flicker, JointHistogram, Modes, PowerSpectrum
from satxlate_jax.evaluation.results import LABELS, Example, Results, empty_sums
from satxlate_jax.instruments import Band, get_satellite
from satxlate_jax.l1g.isolation import overlap
from satxlate_jax.l1g.reader import Request, read_groups
from satxlate_jax.l1g.tile import solar_zenith
from satxlate_jax.run_card import data_splits
from satxlate_jax.translation.finer_pixels import FITTED_KM
from satxlate_jax.translation.flags import EXTRAPOLATED_BANDS, unpack_bits
from satxlate_jax.translation.translate import TileTranslator

EXAMINED = 32
"""Most cases, evenly over all, on which the model's consistency is measured: that costs a translation each."""
_SAMPLE = "sample"  # one of the model, among the answers of methods
_SAME = 1e-8  # of the data range: answers no further apart are scored once
NEIGHBOURS = timedelta(hours=1)
"""Files of one tile are neighbours in time up to so far apart."""


def fit_baselines(comparison: Comparison, baselines: Sequence[Baseline]) -> None:
    """Fit the baselines in place; files that cannot be read are named and passed over."""
    source, target = comparison.task.source_bands, comparison.task.target_bands
    groups: dict[str, list[list[Request]]] = {
        "target": [[(file.path, target)] for file in comparison.fit_files],
        "source": [[(file.path, source)] for file in comparison.fit_sources],
        "pair": [[(one.path, source), (other.path, target)] for one, other in comparison.fit_pairs],
    }
    read = partial(read_groups, resolution_km=comparison.resolution_km)
    for wanted, requests in groups.items():
        fits = [getattr(baseline, f"fit_{wanted}") for baseline in baselines if wanted in baseline.wants]
        files = tqdm(requests if fits else [], desc=f"fit baselines ({wanted})", unit="file", disable=None)
        for request, tiles in zip(files, read(requests if fits else []), strict=True):
            if isinstance(tiles, InputError):
                tqdm.write(f"not fitted on: {tiles}")
                continue
            for tile in tiles:
                check_viewpoint(tile)
            values = [stack(tile, bands) for tile, (_, bands) in zip(tiles, request, strict=True)]
            for fit in fits:
                fit(*values)
    for baseline in baselines:
        baseline.finish()


def check_viewpoint(tile: xr.Dataset, wanted: str = "") -> None:
    """Refuse, by InputError, a file that was not seen from the place of `wanted`; '' is its satellite's own."""
    found = tile.attrs.get("viewpoint", "")
    if found != wanted:
        place = f"{found}'s place" if found else "its own place"
        advice = "measured files are --l1g, and these are for --truth same_view, as --truth_l1g"
        if wanted:
            advice = f"as --truth_l1g give what `simulate --viewpoint {wanted}` wrote"
        raise InputError(f"{tile.attrs['source']} shows what {tile.attrs['satellite']} sees from {place}; {advice}")


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
    """Fit the baselines, translate and score every case; all methods on equal terms, see `equalize`.

    Cases evenly over all are kept for `pictures`. With `samples` ensemble members, each with latent noise of its own,
    the model's answer is their mean, and their standard deviation is scored too. InputError where a file is of another
    viewpoint than the comparison's or, unless it `may_be_empty` as a part of an archive, nothing was scored.
    """
    fit_baselines(comparison, baselines)
    methods = [MODEL, *[COARSE] * (comparison.resolution_km < FITTED_KM), *(baseline.name for baseline in baselines)]
    # times of one tile follow each other
    cases = sorted(comparison.cases, key=lambda case: (case.source.tile, case.source.time))
    splits = data_splits(translator.metadata)
    results = Results(replace(comparison, cases=cases), methods, samples, splits, coastlines=coastlines)
    total, per_file, before = empty_sums(), [empty_sums()], None

    def add(found: tuple[int, Example]) -> None:
        nonlocal total, before
        index, example = found
        sums = _sum_up(results, example, bands)
        before = _add_changes(results, before, example)
        is_total = sums.index.get_level_values("file") == ""
        total = metrics.merge_sums(pd.concat([total, sums[is_total]]))
        per_file.append(sums[~is_total])
        results.files.append((example.case.source.path.name, example.case.truth.path.name))
        if len(results.examples) < pictures and index >= len(results.examples) * len(cases) // max(pictures, 1):
            results.examples.append(example)

    # one case is summed up while the next is translated
    with ThreadPoolExecutor(1, "sum up") as summing, ThreadPoolExecutor(count_cpus(), "band") as bands:
        for _ in overlap(summing, add, _predict_all(translator, results, baselines, seed), 1):
            pass
    results.files.sort()  # by time and tile, as their names begin
    results.add(pd.concat([total, *per_file]), {})
    if not results.scored_bands and not may_be_empty:
        name, reason = results.left_out[0] if results.left_out else ("", "no pixel has both a translation and a truth")
        raise InputError(f"none of {len(cases)} files could be scored; the first, {name or 'of all'}: {reason}")
    return results


def _predict_all(
    translator: TileTranslator, results: Results, baselines: Sequence[Baseline], seed: int
) -> Iterator[tuple[int, Example]]:
    """The place and the example of every case that can be used; the others are noted in the results."""
    comparison = results.comparison
    place = get_satellite(comparison.task.source).name if comparison.truth == "same_view" else ""
    cases = tqdm(comparison.cases, desc="evaluate", unit="file", disable=None)
    for (index, case), tiles in zip(enumerate(cases), read_cases(comparison), strict=True):
        if not isinstance(tiles, InputError):
            check_viewpoint(tiles[0])
            check_viewpoint(tiles[-1], place)
        try:
            if isinstance(tiles, InputError):
                raise tiles
            is_examined = index % -(-len(comparison.cases) // EXAMINED) == 0
            yield index, _predict(translator, results, case, tiles, baselines, seed, is_examined)
        except InputError as error:
            name = case.source.path.name
            results.left_out.append((name, str(error).removeprefix(f"{name}: ").removeprefix(f"{name} ")))


def read_cases(comparison: Comparison) -> Iterator[list[xr.Dataset] | InputError]:
    """Read the cases ahead, see `read_groups`: the source's file and, where it is another, the truth's."""
    task, wanted = comparison.task, list(comparison.truth_bands.values())
    bands = [*task.source_bands, *grouping_bands(task.source)]
    groups: list[list[Request]] = [[(one.path, bands), (other.path, wanted)] for one, other in comparison.cases]
    if comparison.truth == "source":
        groups = [[(case.source.path, [*bands, *wanted])] for case in comparison.cases]
    return read_groups(groups, comparison.resolution_km)


def _predict(
    translator: TileTranslator,
    results: Results,
    case: Case,
    tiles: Sequence[xr.Dataset],
    baselines: Sequence[Baseline],
    seed: int,
    is_examined: bool,
) -> Example:
    """All methods on one case, on equal terms; InputError where the truth file holds no band to compare.

    The model's consistency is measured where the case is to be examined.
    """
    comparison, task = results.comparison, results.comparison.task
    tile, truth_tile = tiles[0], tiles[-1]
    truth = {ours: truth_tile[f"BAND{theirs:02d}"].values for ours, theirs in comparison.truth_bands.items()}
    if not any(np.isfinite(values).any() for values in truth.values()):
        raise InputError(f"{case.truth.path.name} lacks all bands to compare with")
    is_calibrated = translator.network.is_calibrated
    samples = max(results.samples, 1) if is_calibrated else results.samples
    made = translator.translate(tile, task.target, source=task.source, samples=samples, seed=seed)
    x = stack(tile, task.source_bands)
    answers = {MODEL: {number: made[f"BAND{number:02d}"].values for number in truth}}
    if COARSE in results.methods:
        answers[COARSE] = _interpolated(translator, tile, task, round(FITTED_KM / comparison.resolution_km), truth)
    for baseline in baselines:
        answers[baseline.name] = baseline.predict(x)
    if is_calibrated:
        answers[_SAMPLE] = {number: made[f"BAND{number:02d}_samples"].values[0] for number in truth}
    predictions = equalize(answers, [results.band(number) for number in truth])
    if is_examined:
        results.consistency.add_cycle(translator, x, task.source, task.target)
    if is_examined and comparison.truth != "source" and hasattr(translator.network, "noisy"):
        _add_latent(translator, results, x, stack(truth_tile, task.target_bands))
    return Example(
        case=case,
        lat=tile["lat"].values,
        lon=tile["lon"].values,
        solar_zenith=solar_zenith(tile),
        source={int(name[4:]): tile[name].values for name in tile.data_vars if str(name).startswith("BAND")},
        truth=truth,
        sample=predictions.pop(_SAMPLE, {}),
        predictions=predictions,
        std=_standard_deviation(translator, made, task, truth),
        extrapolated=_extrapolated(made, truth),
    )


def _extrapolated(made: xr.Dataset, numbers: Iterable[int]) -> dict[int, np.ndarray]:
    """By band, where its inputs are unlike those of the training, bool [h, w]; {} where a translation does not tell."""
    found = unpack_bits(made[EXTRAPOLATED_BANDS]) if EXTRAPOLATED_BANDS in made else {}
    return {number: found[f"BAND{number:02d}"] for number in numbers if found}


def _interpolated(
    translator: TileTranslator, tile: xr.Dataset, task: Task, factor: int, numbers: Iterable[int]
) -> dict[int, np.ndarray]:
    """Bands of the translation of a tile's means at 2 km, bilinearly interpolated to its grid."""
    coarse = tile.coarsen(lat=factor, lon=factor).mean(keep_attrs=True)
    made = translator.translate(coarse, task.target, source=task.source)
    scale = {"zoom": factor, "order": 1, "mode": "nearest", "grid_mode": True}
    return {number: ndimage.zoom(made[f"BAND{number:02d}"].values, **scale) for number in numbers}


def _standard_deviation(
    translator: TileTranslator, made: xr.Dataset, task: Task, numbers: Iterable[int]
) -> dict[int, np.ndarray]:
    """By band: the calibrated one where a translation holds it, else the ensemble's where there is one.

    Of bands that pass from the source unchanged there is none: only the others' errors are the model's.
    """
    origins = zip(translator.bands(task.target), translator.network.origins(task.source, task.target), strict=True)
    passed = {band.number for band, origin in origins if origin == "passed on"}
    names = {number: f"BAND{number:02d}" for number in numbers if number not in passed}
    found = {number: made.get(f"{name}_std", made.get(f"{name}_spread")) for number, name in names.items()}
    return {number: field.values for number, field in found.items() if field is not None}


def equalize(
    answers: Mapping[str, Mapping[int, np.ndarray]], bands: Sequence[Band]
) -> dict[str, dict[int, np.ndarray]]:
    """Bring all methods to equal terms: within each band's valid range, and missing where any of them is missing.

    A method without an answer anywhere that the model has one narrows no one: it is not scored, and its field is left
    out. The answers are method -> band -> [h, w] in the band's unit, NaN where missing, and so is the result.
    """
    equal: dict[str, dict[int, np.ndarray]] = {method: {} for method in answers}
    for band in bands:
        fields = {method: values[band.number] for method, values in answers.items() if band.number in values}
        modelled = np.isfinite(fields[MODEL])
        seen = {method: modelled & np.isfinite(values) for method, values in fields.items()}
        scored = [method for method, mask in seen.items() if method == MODEL or mask.any()]
        common = np.all([seen[method] for method in scored], axis=0)
        for method in scored:
            values = np.clip(fields[method], *band.valid_range, dtype=np.float64)
            if not common.all():
                values[~common] = np.nan
            equal[method][band.number] = values
    return equal


def _add_latent(translator: TileTranslator, results: Results, x: np.ndarray, truth: np.ndarray) -> None:
    task, stride = results.comparison.task, translator.network.stride
    if not np.isfinite(truth).any((0, 1)).all():
        return  # the target's file lacks a band that its encoder needs
    height, width = (size // stride * stride for size in x.shape[:2])
    fields = [
        translator.network.noisy(translator.translate(values[:height, :width], task.target, source=name, latent=True))
        for name, values in ((task.source, x), (task.target, truth))
    ]
    results.consistency.add_latent(*fields)


def _sum_up(results: Results, example: Example, threads: Executor) -> pd.DataFrame:
    """Add one case to the distributions; return its sums by group as those of all files, and in all as its own."""
    groups = pixel_groups(results.comparison.task.source, example.source, example.solar_zenith)
    if results.comparison.truth == "coincident":
        task = results.comparison.task
        groups |= view_groups({task.source: example.source, task.target: example.truth}, example.lat, example.lon)
    # of a grid in degrees, on the sphere, against the equator's
    regions = _regions_by_band(groups, example, np.cos(np.radians(example.lat))[:, None])
    found: dict[tuple[str, int], np.ndarray] = {}
    for of_band in threads.map(partial(_sum_up_band, results, example), regions, regions.values()):
        found |= of_band
    labels = [("", group, *key) for key in found for group in regions[key[1]].names]
    rows = np.reshape(list(found.values()), (-1, len(metrics.SUMS)))
    own = [(example.case.source.path.name, *label[1:]) for label in labels if label[1] == ALL]
    is_own = np.array([label[1] == ALL for label in labels], bool)
    index = pd.MultiIndex.from_tuples(labels + own, names=LABELS) if labels else empty_sums().index
    table = pd.DataFrame(np.concatenate([rows, rows[is_own]]), index, list(metrics.SUMS))
    return table[table["n"] > 0]


def _regions_by_band(
    groups: Mapping[str, np.ndarray], example: Example, area: np.ndarray
) -> dict[int, metrics.Regions]:
    """The groups of each band's pixels, with those by its flags where it has any; bands of equal flags share them."""
    made: dict[bytes, metrics.Regions] = {}
    regions = {}
    for number in example.truth:
        far = example.extrapolated.get(number)
        key = b"" if far is None else far.tobytes()
        if key not in made:
            flags = {} if far is None else dict(zip(FLAGS, (far, ~far), strict=True))
            made[key] = metrics.Regions({**groups, **flags}, area)
        regions[number] = made[key]
    return regions


def _sum_up_band(
    results: Results, example: Example, number: int, regions: metrics.Regions
) -> dict[tuple[str, int], np.ndarray]:
    """One band of a case: (method, band) -> sums [group, column], where anything is scored."""
    truth, found = example.truth[number], results.distributions
    seen = np.isfinite(truth) & np.isfinite(example.predictions[MODEL][number])
    if not seen.any():
        return {}
    band, std, sums = results.band(number), example.std.get(number), {}
    measured: list[tuple[Any, ...]] = []
    scored = metrics.BandTruth(truth, seen, regions, metrics.DATA_RANGE[band.kind])
    modes = Modes.of(truth.shape, float(np.mean(example.lat)), abs(float(example.lat[1] - example.lat[0])))
    empty = JointHistogram.of(band)
    true_modes, true_bins = modes.transform(truth, seen), empty.bins(scored.values)
    for method, fields in example.predictions.items():
        if (values := fields.get(number)) is None:
            continue
        has_std = std is not None and method == MODEL
        alike = (each for each in measured if _are_same(each[0], values, _SAME * metrics.DATA_RANGE[band.kind]))
        same = None if has_std else next(alike, None)
        if same is None:  # many a band passes unchanged, and a regression on it gives it back but for rounding
            picked, spectrum = scored.pick(values), PowerSpectrum()
            histogram = empty.count_pairs(empty.bins(picked), true_bins)
            spectrum.add(modes, modes.transform(values, seen), true_modes)
            rows = scored.sums(picked, scored.pick(scored.similarity(values)), std if has_std else None)
            same = values, rows, histogram, spectrum
            measured += [same] * (not has_std)
        _, sums[method, number], histogram, spectrum = same
        found.setdefault(("histogram", method, number), JointHistogram.of(band)).merge(histogram)
        found.setdefault(("spectrum", method, number), PowerSpectrum()).merge(spectrum)
    if number in example.sample:
        spectrum = found.setdefault(("sample_spectrum", MODEL, number), PowerSpectrum())
        spectrum.add(modes, modes.transform(example.sample[number], seen), true_modes)
    if std is not None:
        calibration = found.setdefault(("calibration", MODEL, number), Calibration())
        calibration.update(example.predictions[MODEL][number], std, truth)
    return sums


def _are_same(one: np.ndarray, other: np.ndarray, tolerance: float) -> bool:
    """Tell if two fields, missing at the same pixels, are nowhere further apart; a few rows mostly tell."""
    return not any((np.abs(one[::step] - other[::step]) > tolerance).any() for step in (30, 1))


def _add_changes(results: Results, before: Example | None, after: Example) -> Example:
    """Add what changes between two cases, where they are neighbours in time of one tile; return the latter."""
    if before is None:
        return after
    first, second = before.case.source, after.case.source
    if first.tile != second.tile or second.time - first.time > NEIGHBOURS:
        return after
    kinds = {
        "flicker": (before.predictions, after.predictions),
        "sample_flicker": ({MODEL: before.sample}, {MODEL: after.sample}),
    }
    for kind, (earlier, later) in kinds.items():
        for method, fields in later.items():
            for number, values in fields.items():
                if number not in earlier[method]:
                    continue
                changes = results.distributions.setdefault((kind, method, number), Flicker())
                truth = np.stack([before.truth[number], after.truth[number]])
                changes.update(np.stack([earlier[method][number], values]), truth)
    return after
