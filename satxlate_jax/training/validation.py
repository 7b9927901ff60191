"""Scores on patches withheld from training, while training runs.

There is no paired truth here, so these are what can be had without: how well a satellite's own observations come
back, directly and by way of another satellite, and how far shared bands change in a translation. The subcommand
`evaluate` scores against coincident observations.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from satxlate_jax.instruments import get_satellite
from satxlate_jax.training import input as batches
from satxlate_jax.training import sharding
from satxlate_jax.training.channels import shared_units
from satxlate_jax.training.monitoring import Monitor
from satxlate_jax.training.step import compiler_options

Images = Mapping[str, jax.Array]
EXAMPLES = 8  # patches in pictures and histograms


class Validation:
    """Evaluates the generator on the validation split; every process makes the same calls.

    `satellites` is that section of the run's metadata: satellite -> bands, mean, std.
    """

    def __init__(self, config: Any, mesh: Mesh, objective: Any, satellites: Mapping[str, Mapping[str, Any]]):
        self._config, self._mesh, self._satellites = config, mesh, satellites
        self._shared, self._units = objective.shared, shared_units(objective.shared, satellites)
        self._objective = objective
        everywhere = sharding.replicated(mesh)
        compiled = {"out_shardings": everywhere, "compiler_options": compiler_options(jax.default_backend())}
        self._errors = jax.jit(self._batch_errors, **compiled)
        self._translations = jax.jit(objective.translations, **compiled)
        self._first = jax.jit(lambda batch: jax.tree.map(lambda x: x[:EXAMPLES], batch), out_shardings=everywhere)
        self._examples: Images | None = None

    def evaluate(self, step: int, generator: Any, monitor: Monitor) -> None:
        """Write scores, pictures and histograms, each when it is due.

        `generator` holds the translator's parameters after `step` steps; `monitor` takes what there is to show.
        """
        config = self._config
        pictures, histograms, scores = (
            bool(every) and step % every == 0
            for every in (config.image_every, config.histogram_every, config.validate_every)
        )
        if scores:
            monitor.write_scalars(step, self.scores(generator))
        examples = self.examples(generator) if pictures or histograms else ()
        if pictures:
            monitor.write_pictures(step, *examples)
        if histograms:
            monitor.write_histograms(step, *examples)

    def scores(self, generator: Any) -> dict[str, float]:
        """Mean and root mean square of the errors per band, in K or reflectance.

        Returns:
          'validation_reconstruction/G16/BAND07/rmse_K' and so on; 'validation_cycle/G16-H8-G16/...' is there and back,
          'validation_shared/G16-H8/...' the change of the bands both have in a translation (named as the source's),
          'validation_withheld/G16-G17/...' of a spectral flow what G17's bands say of all of G16's own.
        """
        totals, count = None, 0
        for batch in islice(self._validation_batches(), self._config.validation_batches):
            errors = self._errors(generator, batch)
            totals = errors if totals is None else jax.tree.map(jnp.add, totals, errors)
            count += 1
        scores = {}
        for name, (mean, square) in jax.device_get(totals).items():
            satellite = name.split("/")[1].split("-")[0]
            channels = self._channels_of(name)
            for position, channel in enumerate(channels):
                band = get_satellite(satellite).band(self._satellites[satellite]["bands"][channel])
                unit = "K" if band.unit == "K" else "reflectance"
                scale = self._satellites[satellite]["std"][channel]
                scores[f"{name}/{band.name}/bias_{unit}"] = float(mean[position] / count * scale)
                scores[f"{name}/{band.name}/rmse_{unit}"] = float(np.sqrt(square[position] / count) * scale)
        return scores

    def examples(self, generator: Any) -> tuple[dict[str, np.ndarray], dict[str, dict[str, np.ndarray]]]:
        """A few patches, the same every time, and their translations.

        Returns:
          satellite -> [n, h, w, band] and satellite -> satellite -> the first as the second, network units.
        """
        if self._examples is None:
            self._examples = self._first(next(self._validation_batches()))
        return jax.device_get(
            (self._objective.observations(self._examples), self._translations(generator, self._examples))
        )

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
            return list(self._shared[first][others[0]])
        return list(range(len(self._satellites[first]["bands"])))

    def _batch_errors(self, params: Any, batch: Images) -> dict[str, tuple[jax.Array, jax.Array]]:
        """Name -> mean and mean square of the errors of one batch, [band], network units of the first satellite."""
        errors, pixels = self._objective.errors(params, batch, self._units), (0, 1, 2)
        return {name: (jnp.mean(e, axis=pixels), jnp.mean(e**2, axis=pixels)) for name, e in errors.items()}
