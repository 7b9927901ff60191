"""A run with random weights, saved as training saves one, for tests of what uses runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from satxlate_jax.checkpoints import Checkpoints
from satxlate_jax.instruments import published_statistics
from satxlate_jax.models.translator import Translator

GENERATOR = {"family": "vae_gan", "dim": 8, "n_downsample": 0, "n_res": 1, "activation": "lrelu", "padding": "zero"}


def save_random_run(
    run: Path,
    bands: Mapping[str, Sequence[int]],
    *,
    step: int = 7,
    skips: Mapping[str, Sequence[int]] | None = None,
    slots: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
    **generator,
) -> Path:
    """Saves a translator with random weights as `run`/checkpoints/`step`."""
    section = GENERATOR | generator
    translator = Translator(section, bands, skips=skips, wavelength_channels=slots)
    random = np.random.default_rng(seed)
    # from the shapes alone, which is faster than the networks' own initialisation
    params = jax.tree.map(
        lambda leaf: (random.standard_normal(leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]) or 1)).astype(leaf.dtype),
        jax.eval_shape(translator.init, jax.random.key(seed)),
    )
    satellites = {}
    for name, numbers in bands.items():
        mean, std = published_statistics(name, numbers)
        satellites[name] = {"bands": list(numbers), "mean": mean.tolist(), "std": std.tolist()}
        if skips:
            satellites[name]["skips"] = list(skips[name])
        if slots:
            satellites[name]["slots"] = list(slots[name])
    facts = {
        "format": 1,
        "config": {"generator": section, "precision": "float32", "seed": seed, "steps": step},
        "satellites": satellites,
        "seed": seed,
        "process_count": 1,
        "versions": {"jax": jax.__version__},
        "step": step,
    }
    checkpoints = Checkpoints(run / "checkpoints")
    checkpoints.save(step, {"generator": params}, facts)
    checkpoints.wait()
    checkpoints.close()
    return run
