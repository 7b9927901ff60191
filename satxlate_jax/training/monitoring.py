"""TensorBoard events of a run: scalars, histograms per band, and images of a few patches."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import jax
import numpy as np
from clu import metric_writers, parameter_overview
from etils import epath
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from satxlate_jax.cli import InputError
from satxlate_jax.instruments import denormalize, get_satellite, normalize, published_statistics
from satxlate_jax.run_card import describe_run

Images = Mapping[str, np.ndarray]
# kind -> wavelengths (um), and the network units, around 0, that become 0 to 1; negative: cold is bright.
# Natural colour (EUMETSAT's recipe) shows vegetation green, ice and high cloud cyan, low cloud white; both imagers have
# its bands, which is not so for true colour. 10.35 um is the clean infrared window.
PICTURES = {"natural_colour": ((1.61, 0.865, 0.64), 2.0), "infrared": ((10.35,), -3.0)}
_TOLERANCE = 0.03


def make_pictures(
    batch: Images, translations: Mapping[str, Images], bands: Mapping[str, Sequence[int]]
) -> dict[str, np.ndarray]:
    """One strip per patch: the observation, its reconstruction, and it as every other satellite sees it.

    All in published network units: `batch` satellite -> [n, h, w, band], `translations` satellite -> satellite -> the
    first as the second. A part is grey where its satellite lacks the `bands` (1-based) of a kind; a satellite without
    bands of any kind gives its first in 'first_band'.

    Returns:
      'KIND/WHAT IS ON IT' -> [n, h, w * (2 + number of other satellites), 3 or 1], 0 to 1.
    """
    pictures = {}
    for satellite, observed in batch.items():
        others = [other for other in bands if other != satellite]
        parts = [(satellite, observed), *((name, translations[satellite][name]) for name in (satellite, *others))]
        caption = " | ".join([satellite, "itself", *(f"as {other}" for other in others)])
        kinds = [kind for kind, (wavelengths, _) in PICTURES.items() if _channels(satellite, bands, wavelengths)]
        for kind in kinds:
            wavelengths, scale = PICTURES[kind]
            strip = [_draw(x, _channels(name, bands, wavelengths), len(wavelengths), scale) for name, x in parts]
            pictures[f"{kind}/{caption}"] = np.concatenate(strip, axis=2)
        if not kinds:
            pictures[f"first_band/{caption}"] = np.concatenate([_draw(x, [0], 1, 3.0) for _, x in parts], axis=2)
    return pictures


def make_maps(maps: Mapping[str, Images], bands: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    """One strip per patch and inferred band: observed, and mean, sample and standard deviation given another's bands.

    From 'G16-G17' -> 'observed', 'mean', 'sample' and 'std' [n, h, w, band] of G16, published network units, to
    'withheld/WHAT IS ON IT' -> [n, h, w * 4, 1], 0 to 1; the last part is white where the standard deviation is the
    band's own or more.
    """
    pictures = {}
    for route, parts in maps.items():
        satellite, other = route.split("-")
        for channel in np.flatnonzero(parts["std"].any((0, 1, 2))):
            band = get_satellite(satellite).band(bands[satellite][channel])
            scale = -3.0 if band.unit == "K" else 2.0
            strip = [_draw(parts[name], [channel], 1, scale) for name in ("observed", "mean", "sample")]
            strip.append(_draw(parts["std"] - 0.5, [channel], 1, 0.5))
            caption = f"withheld/{satellite} {band.name} | mean from {other} | sample | standard deviation"
            pictures[caption] = np.concatenate(strip, axis=2)
    return pictures


def _channels(satellite: str, bands: Mapping[str, Sequence[int]], wavelengths: Sequence[float]) -> list[int]:
    """The channels of those wavelengths (um) among a satellite's bands; empty when one is missing."""
    ours = [get_satellite(satellite).band(number).wavelength for number in bands[satellite]]
    nearest = [min((abs(our - w), i) for i, our in enumerate(ours))[1] for w in wavelengths]
    found = all(abs(ours[i] - w) < _TOLERANCE * w for i, w in zip(nearest, wavelengths, strict=True))
    return nearest if found else []


def _draw(x: np.ndarray, channels: Sequence[int], depth: int, scale: float) -> np.ndarray:
    """Network units from -scale to +scale as 0 to 1; a negative scale turns it round."""
    if not channels:
        return np.full((*x.shape[:3], depth), 0.5, np.float32)
    return np.clip(0.5 + x[..., list(channels)] / (2 * scale), 0, 1).astype(np.float32)


def _reporting_a_full_disk(method: Callable) -> Callable:
    """Turn errors of the writer into one line: it works in the background, so they show up in any later call."""

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

    A run that was killed has written events of steps after the checkpoint that it continues from, `last_step` (-1 at a
    fresh start), and will write them again. TensorBoard drops the former when it meets a session's START with a step.
    """

    def __init__(self, workdir: epath.Path, last_step: int, metadata: Mapping[str, Any]):
        self._workdir, self._metadata, self._satellites = workdir, metadata, metadata["satellites"]
        self._bands = {satellite: entry["bands"] for satellite, entry in self._satellites.items()}
        self._writer: Any = "opening" if jax.process_index() == 0 else None
        self._open(last_step)

    @_reporting_a_full_disk
    def _open(self, last_step: int) -> None:
        starts = EventFileWriter(str(self._workdir))
        starts.add_event(Event(step=last_step + 1, session_log=SessionLog(status=SessionLog.START)))
        starts.close()
        # clu's default writer would also log every value as text
        self._writer = metric_writers.AsyncMultiWriter([metric_writers.SummaryWriter(str(self._workdir))])

    @_reporting_a_full_disk
    def write_run(self, params: Mapping[str, Any]) -> None:
        """Hyperparameters and the table of parameters, at step 0."""
        self._writer.write_hparams(self._metadata["config"])
        table = parameter_overview.get_parameter_overview(params, include_stats=False)
        self._writer.write_texts(0, {"parameters": f"```\n{table}\n```"})

    @_reporting_a_full_disk
    def write_card(self, step: int, network: Any, params: Mapping[str, Any], scores: Mapping[str, float]) -> None:
        """The run's card, as `satxlate info` prints it; `params` are the generator's, `scores` the newest scalars."""
        name, metadata = self._workdir.resolve().name, {**self._metadata, "step": step}
        card = "\n".join(describe_run(name, metadata, network, params, scores))
        self._writer.write_texts(step, {"run": f"```\n{card}\n```"})

    @_reporting_a_full_disk
    def write_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Scalars of the state after `step` steps."""
        self._writer.write_scalars(step, values)

    @_reporting_a_full_disk
    def write_pictures(self, step: int, batch: Images, translations: Mapping[str, Images]) -> None:
        """Observations beside their reconstruction and translations, see `make_pictures`; in the run's network units.

        They are drawn in published ones, so that a grey means the same for every satellite and run.
        """
        batch = {name: self._published(x, name) for name, x in batch.items()}
        translations = {k: {q: self._published(x, q) for q, x in parts.items()} for k, parts in translations.items()}
        self._writer.write_images(step, make_pictures(batch, translations, self._bands))

    @_reporting_a_full_disk
    def write_maps(self, step: int, maps: Mapping[str, Images]) -> None:
        """Mean, sample and standard deviation of inferred bands; in the run's network units, see `make_maps`."""
        published = {}
        for route, parts in maps.items():
            satellite = route.split("-")[0]
            published[route] = {name: self._published(x, satellite, name == "std") for name, x in parts.items()}
        self._writer.write_images(step, make_maps(published, self._bands))

    def _published(self, x: np.ndarray, satellite: str, is_deviation: bool = False) -> np.ndarray:
        mean, std = published_statistics(satellite, self._bands[satellite])
        if is_deviation:
            return x * np.asarray(self._satellites[satellite]["std"]) / std
        return normalize(self._physical(x, satellite), mean, std)

    def _physical(self, x: np.ndarray, satellite: str) -> np.ndarray:
        return denormalize(x, *(np.asarray(self._satellites[satellite][key]) for key in ("mean", "std")))

    @_reporting_a_full_disk
    def write_histograms(self, step: int, batch: Images, translations: Mapping[str, Images]) -> None:
        """Histograms per band of observations and of their reconstruction, in physical units."""
        histograms: dict[str, np.ndarray] = {}
        for satellite, observed in batch.items():
            bands = [get_satellite(satellite).band(number) for number in self._bands[satellite]]
            for what, x in (("observed", observed), ("reconstructed", translations[satellite][satellite])):
                for band, values in zip(bands, np.moveaxis(self._physical(x, satellite), -1, 0), strict=True):
                    unit = "K" if band.unit == "K" else "reflectance"
                    name = f"{satellite}/{band.name}_{band.wavelength:g}um_{unit}/{what}"
                    histograms[name] = values.astype(np.float32)
        self._writer.write_histograms(step, histograms)

    @_reporting_a_full_disk
    def flush(self) -> None:
        """Return when everything written so far is in the files: a checkpoint must not be ahead of them."""
        self._writer.flush()

    @_reporting_a_full_disk
    def close(self) -> None:
        """Flush and end."""
        self._writer.close()
        self._writer = None
