"""The sums behind an evaluation's tables, written and read again, so that parts of an archive can be pooled."""

import hashlib
import json
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from satxlate_jax import atomic
from satxlate_jax.archive.catalog import TileFile, parse_name
from satxlate_jax.cli import InputError
from satxlate_jax.evaluation.baselines.simple import Task
from satxlate_jax.evaluation.cases import Case, Comparison
from satxlate_jax.evaluation.ensemble_calibration import Calibration
from satxlate_jax.evaluation.joint_histogram import JointHistogram
from satxlate_jax.evaluation.metrics import BandScore
from satxlate_jax.evaluation.power_spectra import PowerSpectrum
from satxlate_jax.evaluation.results import Results

NAME = "sums.npz"
FORMAT = 2
"""1: without sums by area, and with baselines that were not limited to the bands' valid ranges."""
_KINDS = {"histogram": JointHistogram, "spectrum": PowerSpectrum, "calibration": Calibration}


@dataclass
class Part:
    """One evaluation as its sums tell it.

    Attributes:
      results: all that tables need; no pictures, no latent agreement.
      made_of: what must be the same in all parts: the run, the step, the task and what the baselines were fitted on.
      number: which part it is, from 1.
      count: of how many.
      format: in which it was written.
    """

    results: Results
    made_of: dict[str, Any]
    number: int = 1
    count: int = 1
    format: int = FORMAT

    @property
    def files(self) -> set[str]:
        """Names of the files that were scored."""
        return {case.source.path.name for case, _ in self.results.per_file}


def write_sums(results: Results, run: str, step: int, folder: Path, part: tuple[int, int] = (1, 1)) -> None:
    """Writes FOLDER/sums.npz, under a temporary name first.

    Args:
      results: of `evaluate`.
      run: the training run's folder.
      step: its checkpoint's.
      folder: the evaluation's output.
      part: which it is, from 1, of how many.

    Raises:
      InputError: the disk does not take it.
    """
    comparison, task = results.comparison, results.comparison.task
    pairs = [file for pair in comparison.fit_pairs for file in pair]
    fitted = sorted(file.path.name for file in [*comparison.fit_files, *comparison.fit_sources, *pairs])
    made_of = {
        "run": run,
        "step": step,
        "source": task.source,
        "source_bands": task.source_bands,
        "target": task.target,
        "target_bands": task.target_bands,
        "truth": comparison.truth,
        "methods": list(results.methods),
        "samples": results.samples,
        "fitted_on": hashlib.sha256("\n".join(fitted).encode()).hexdigest(),
    }
    files = [[case.source.path.name, case.truth.path.name] for case, _ in results.per_file]
    arrays = {"about": np.array(json.dumps({"format": FORMAT, "made_of": made_of, "files": files, "part": part}))}
    for (group, method, band), score in results.by_group.items():
        arrays[f"group/{group}/{method}/{band}"] = _pack(score)
    for index, (_, scores) in enumerate(results.per_file):
        for (method, band), score in scores.items():
            arrays[f"file/{index}/{method}/{band}"] = _pack(score)
    for kind, sums in (("histogram", results.histograms), ("spectrum", results.spectra)):
        for (method, band), one in sums.items():
            arrays |= {
                f"{kind}/{field.name}/{method}/{band}": np.asarray(getattr(one, field.name)) for field in fields(one)
            }
    for band, calibration in results.calibration.items():
        arrays |= {f"calibration/{name}/model/{band}": getattr(calibration, name) for name in ("sums", "inside")}
    with atomic.replacing(folder / NAME) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_sums(folder: str | Path) -> Part:
    """Reads what `write_sums` wrote.

    Raises:
      InputError: there is no such file, or it is damaged or of another version.
    """
    path = Path(folder) / NAME
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = dict(stored)
        about = json.loads(str(arrays.pop("about")))
        if about["format"] not in (1, FORMAT):
            raise InputError(f"'{path}' was written by another version of satxlate; evaluate again")
        return _assemble(about, arrays)
    except OSError as error:
        raise InputError(f"'{folder}' holds no {NAME}; give the --output of `satxlate evaluate`") from error
    except (ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"'{path}' is damaged; evaluate that part again") from error


def _assemble(about: dict[str, Any], arrays: dict[str, np.ndarray]) -> Part:
    made_of = about["made_of"]
    task = Task(made_of["source"], tuple(made_of["source_bands"]), made_of["target"], tuple(made_of["target_bands"]))
    cases = [Case(_file(source), _file(truth)) for source, truth in about["files"]]
    comparison = Comparison(task, made_of["truth"], {}, cases, (), True)
    results = Results(comparison, made_of["methods"], made_of["samples"])
    results.per_file = [(case, {}) for case in cases]
    parts: dict[tuple[str, str, int], dict[str, Any]] = {}
    for name, array in arrays.items():
        kind, which, method, number = name.split("/")
        band = int(number)
        if kind == "group":
            results.by_group[which, method, band] = _unpack(array)
        elif kind == "file":
            results.per_file[int(which)][1][method, band] = _unpack(array)
        else:
            parts.setdefault((kind, method, band), {})[which] = array if array.ndim else array.item()
    for (kind, method, band), values in parts.items():
        one = _KINDS[kind](**values)
        if isinstance(one, Calibration):
            results.calibration[band] = one
        else:
            (results.histograms if isinstance(one, JointHistogram) else results.spectra)[method, band] = one
    number, count = about["part"]
    return Part(results, made_of, number, count, about["format"])


def _file(name: str) -> TileFile:
    file = parse_name(name)
    if file is None:
        raise ValueError(f"'{name}' is no name of an L1G file")
    return file


def _pack(score: BandScore) -> np.ndarray:
    """[11]: range, n, mean (2), moments (4), absolute, and of SSIM sum and n; [22] with those by area, where known."""
    numbers = [score.data_range, score.n, *score.mean, *score.moments.ravel()]
    packed = np.array([*numbers, score.absolute, score.ssim_sum, score.ssim_n], np.float64)
    return packed if score.area is None else np.concatenate([packed, _pack(score.area)])


def _unpack(packed: np.ndarray) -> BandScore:
    score = _unpack_sums(packed[:11])
    score.n, score.ssim_n = int(score.n), int(score.ssim_n)
    score.area = _unpack_sums(packed[11:]) if len(packed) > 11 else None
    return score


def _unpack_sums(packed: np.ndarray) -> BandScore:
    range_, n, *means_and_moments = packed[:8].tolist()
    absolute, ssim_sum, ssim_n = packed[8:].tolist()
    mean, moments = np.array(means_and_moments[:2]), np.array(means_and_moments[2:]).reshape(2, 2)
    return BandScore(range_, n, mean, moments, absolute, ssim_sum, ssim_n)
