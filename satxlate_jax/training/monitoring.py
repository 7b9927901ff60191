"""What a run tells TensorBoard while it trains."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import jax
import numpy as np
from clu import metric_writers, parameter_overview
from etils import epath

from satxlate_jax.cli import InputError
from satxlate_jax.instruments import denormalize, get_satellite, normalize, published_statistics
from satxlate_jax.training.event_files import trim_event_files
from satxlate_jax.training.images import make_pictures

Images = Mapping[str, np.ndarray]


def _reporting_a_full_disk(method: Callable) -> Callable:
    """The writer works in the background, so what went wrong there shows up in any later call."""

    @wraps(method)
    def wrapped(self: "Monitor", *arguments: Any) -> None:
        if self._writer is None:
            return
        try:
            method(self, *arguments)
        except Exception as error:  # whatever TensorFlow or clu raise
            self._writer = None
            reason = " ".join(str(error.__cause__ or error).split())
            reason = "no space left on device" if "No space left on device" in reason else reason[:200]
            raise InputError(
                f"{self._workdir}: TensorBoard's events could not be written ({reason}); "
                "free space or fix the folder's permissions, then start the same command again"
            ) from error

    return wrapped


class Monitor:
    """Writes the run's TensorBoard events; in every process but the first it does nothing.

    Args:
      workdir: the run's folder.
      last_step: step of the checkpoint that is continued from, -1 at a fresh start; later events are taken out.
      facts: of the run, as its checkpoints hold them: bands, normalisation, configuration.
    """

    def __init__(self, workdir: epath.Path, last_step: int, facts: Mapping[str, Any]):
        self._workdir = workdir
        self._satellites = facts["satellites"]
        self._writer: Any = None
        if jax.process_index() == 0:
            trim_event_files(workdir, last_step)
            # clu's default writer would also log every value as text
            self._writer = metric_writers.AsyncMultiWriter([metric_writers.SummaryWriter(str(workdir))])

    @_reporting_a_full_disk
    def write_run(self, facts: Mapping[str, Any], params: Mapping[str, Any]) -> None:
        """Hyperparameters and the table of parameters, at step 0."""
        self._writer.write_hparams(facts["config"])
        table = parameter_overview.get_parameter_overview(params, include_stats=False)
        self._writer.write_texts(0, {"parameters": f"```\n{table}\n```"})

    @_reporting_a_full_disk
    def write_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Scalars of the state after `step` steps."""
        self._writer.write_scalars(step, values)

    @_reporting_a_full_disk
    def write_pictures(self, step: int, batch: Images, translations: Mapping[str, Images]) -> None:
        """What was observed beside its reconstruction and translations (network units in, see pictures.py)."""
        bands = {satellite: entry["bands"] for satellite, entry in self._satellites.items()}
        batch = {name: self._as_published(x, name) for name, x in batch.items()}
        translations = {
            source: {name: self._as_published(x, name) for name, x in images.items()}
            for source, images in translations.items()
        }
        self._writer.write_images(step, make_pictures(batch, translations, bands))

    def _as_published(self, x: np.ndarray, satellite: str) -> np.ndarray:
        """Images in published network units, so that a grey means the same for every satellite and run."""
        entry = self._satellites[satellite]
        values = denormalize(x, np.asarray(entry["mean"]), np.asarray(entry["std"]))
        return normalize(values, *published_statistics(satellite, entry["bands"]))

    @_reporting_a_full_disk
    def write_histograms(self, step: int, batch: Images, translations: Mapping[str, Images]) -> None:
        """Histograms per band of what was observed and of its reconstruction, in physical units."""
        histograms: dict[str, np.ndarray] = {}
        for satellite, observed in batch.items():
            entry = self._satellites[satellite]
            for what, x in (("observed", observed), ("reconstructed", translations[satellite][satellite])):
                values = denormalize(x, np.asarray(entry["mean"]), np.asarray(entry["std"]))
                for channel, band in enumerate(_band_labels(satellite, entry["bands"])):
                    histograms[f"{band}/{what}"] = values[..., channel].astype(np.float32)
        self._writer.write_histograms(step, histograms)

    @_reporting_a_full_disk
    def flush(self) -> None:
        """Returns when everything written so far is in the files: a checkpoint must not be ahead of them."""
        self._writer.flush()

    @_reporting_a_full_disk
    def close(self) -> None:
        """Flushes and ends."""
        self._writer.close()
        self._writer = None


def _band_labels(satellite: str, numbers: Sequence[int]) -> list[str]:
    units = {"1": "reflectance", "K": "K"}
    bands = [get_satellite(satellite).band(number) for number in numbers]
    return [f"{satellite}/{band.name}_{band.wavelength:g}um_{units[band.unit]}" for band in bands]
