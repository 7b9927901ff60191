"""Scores on patches withheld from training, while training runs.

There is no paired truth here: these tell how well a satellite's own observations come back, directly and by way of
another satellite, how far shared bands change in a translation, and of a spectral flow how well a satellite's own bands
follow from those that another has too. The subcommand `evaluate` scores against coincident observations.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from satxlate_jax.compilation import compiler_options
from satxlate_jax.instruments import get_satellite
from satxlate_jax.training import input as batches
from satxlate_jax.training import sharding
from satxlate_jax.training.monitoring import Monitor

Images = Mapping[str, jax.Array]
EXAMPLES = 8  # patches in pictures and histograms


class Validation:
    """Evaluates the generator on the validation split; every process makes the same calls.

    `satellites` is that section of the run's metadata: satellite -> bands, mean, std.
    """

    def __init__(self, config: Any, mesh: Mesh, objective: Any, satellites: Mapping[str, Mapping[str, Any]]):
        self._config, self._mesh, self._satellites, self._objective = config, mesh, satellites, objective
        options = compiler_options(jax.default_backend(), seldom=True)
        compiled: dict[str, Any] = {"out_shardings": sharding.replicated(mesh), "compiler_options": options}
        self._errors = jax.jit(self._batch_errors, **compiled)
        self._withheld = jax.jit(self._batch_withheld, **compiled)
        self._translations = jax.jit(objective.translations, **compiled)

    def evaluate(self, step: int, generator: Any, monitor: Monitor) -> None:
        """Write scores, pictures and histograms, each when it is due and at the end, and the card with the scores."""
        config, last = self._config, step == self._config.steps
        pictures, histograms, scores = (
            bool(every) and (last or step % every == 0)
            for every in (config.image_every, config.histogram_every, config.validate_every)
        )
        found = self.scores(generator) if scores else {}
        if scores:
            monitor.write_scalars(step, found)
        if scores or last:
            monitor.write_card(step, self._objective.translator, generator, found)
        examples = self.examples(generator) if pictures or histograms else ()
        if pictures:
            monitor.write_pictures(step, *examples)
            monitor.write_maps(step, self.maps(generator))
        if histograms:
            monitor.write_histograms(step, *examples)

    def scores(self, generator: Any) -> dict[str, float]:
        """Scores per band, in K or reflectance; named as the columns of `evaluate`'s table.

        Returns:
          'validation_reconstruction/G16/BAND07/rmse_K' and so on; 'validation_cycle/G16-H8-G16/...' is there and back,
          'validation_shared/G16-H8/...' the change of the bands both have in a translation (named as the source's),
          'validation_withheld/G16-G17/...' of a spectral flow what G17's bands say of all of G16's own: of those that
          are inferred also 'crps_K', 'coverage_1sd', 'coverage_2sd', and 'validation_withheld/G16-G17/level_0/
          log_likelihood', nats per coefficient of a level of the wavelet, the finest first.
        """
        batches = islice(self._validation_batches(), self._config.validation_batches)
        found = [self._errors(generator, batch) | self._withheld(generator, batch)[0] for batch in batches]
        scores = {}
        for name, metrics in jax.tree.map(lambda *parts: np.mean(parts, 0), *jax.device_get(found)).items():
            satellite = name.split("/")[1].split("-")[0]
            for level, value in enumerate(metrics.pop("log_likelihood", ())):
                scores[f"{name}/level_{level}/log_likelihood"] = float(value)
            for position, channel in enumerate(self._channels_of(name)):
                band = get_satellite(satellite).band(self._satellites[satellite]["bands"][channel])
                unit, scale = "K" if band.unit == "K" else "reflectance", self._satellites[satellite]["std"][channel]
                for metric, values in metrics.items():
                    if metric in ("crps", "coverage_1sd", "coverage_2sd") and np.isnan(values[position]):
                        continue  # a band that passes unchanged
                    if metric.startswith("coverage"):
                        scores[f"{name}/{band.name}/{metric}"] = float(values[position])
                    else:
                        value = np.sqrt(values[position]) if metric == "rmse" else values[position]
                        scores[f"{name}/{band.name}/{metric}_{unit}"] = float(value * scale)
        return scores

    def maps(self, generator: Any) -> dict[str, dict[str, np.ndarray]]:
        """'G16-G17' -> 'observed', 'mean', 'sample', 'std' [n, h, w, band] of a few patches, network units of G16."""
        return jax.device_get(self._withheld(generator, self._first_batch)[1])

    def examples(self, generator: Any) -> tuple[dict[str, np.ndarray], dict[str, dict[str, np.ndarray]]]:
        """A few patches {k: [n, h, w, band]}, the same every time, and {k: {q: those of k as q}}, network units."""
        images, translations = jax.device_get((self._examples, self._translations(generator, self._examples)))
        # without angles
        return {name: x[..., : len(self._satellites[name]["bands"])] for name, x in images.items()}, translations

    @cached_property
    def _first_batch(self) -> Images:
        return next(self._validation_batches())

    @cached_property
    def _examples(self) -> Images:
        return sharding.create(self._mesh, partial(jax.tree.map, lambda x: x[:EXAMPLES]), self._first_batch)

    def _validation_batches(self) -> Iterator[Images]:
        process = sharding.this_process()
        if self._config.validate_every:
            rows = batches.validation_batches(self._config, **process)
        else:  # there may be no validation split; pictures then show training patches
            rows = batches.training_batches(self._config, 0, **process)
        return (sharding.to_devices(self._mesh, batch) for batch in rows)

    def _channels_of(self, name: str) -> list[int]:
        kind, route = name.split("/")
        first, *others = route.split("-")
        if kind == "validation_shared":
            return list(self._objective.shared[first][others[0]])
        return list(range(len(self._satellites[first]["bands"])))

    def _batch_errors(self, params: Any, batch: Images) -> dict[str, dict[str, jax.Array]]:
        """Name -> metric -> [band] of one batch, network units of the first satellite."""
        return {name: _metrics(error) for name, error in self._objective.errors(params, batch).items()}

    def _batch_withheld(self, params: Any, batch: Images) -> tuple[dict[str, dict[str, jax.Array]], Any]:
        """The same of what is withheld, with the log-likelihoods [level]; and the maps of the first images."""
        scores, maps = {}, {}
        for route, found in self._objective.withheld(params, batch).items():
            parts = found._asdict()
            scores[f"validation_withheld/{route}"] = {"log_likelihood": parts.pop("log_likelihood")}
            scores[f"validation_withheld/{route}"] |= _metrics(found.mean - found.observed, found.std)
            maps[route] = {name: part[:EXAMPLES] for name, part in parts.items()}
        return scores, maps


def _metrics(error: jax.Array, std: jax.Array | None = None) -> dict[str, jax.Array]:
    """Means over pixels, [band]; of standard deviations of 0 none. CRPS of a Gaussian: Gneiting & Raftery, 2007."""
    values = {"bias": error, "rmse": error**2}
    if std is not None:
        std = jnp.where(std > 0, std, jnp.nan)
        z = jnp.abs(error) / std
        density = jnp.exp(-(z**2) / 2) * np.sqrt(2 / np.pi)
        values["crps"] = std * (z * jax.scipy.special.erf(z / np.sqrt(2)) + density - 1 / np.sqrt(np.pi))
        values |= {f"coverage_{k}sd": jnp.where(std > 0, z <= k, jnp.nan) for k in (1, 2)}
    return {name: jnp.mean(value, axis=(0, 1, 2)) for name, value in values.items()}
