"""The spectral flow, small enough to train in seconds, on records whose law is known; also a file for --config."""

from pathlib import Path
from typing import Any

import numpy as np

from configs.base_flow import use_flow
from tests import tiny_run

SATELLITES = {"G16": (7, 8, 10, 11, 12), "G17": (8, 10), "H8": (8, 10, 11, 12)}
STEPS = 6
NOISE = 0.2  # standard deviation of what the given bands do not tell, in each band's standard deviations

_made: dict[str, Path] = {}


def get_config() -> Any:
    """The recipe of configs/base_flow.py on 16 pixels, with everything written at every third step."""
    config = use_flow(tiny_run.get_config(), STEPS)
    config.batch_size, config.log_every, config.checkpoint_every = 4, 1, 3
    config.image_every = config.histogram_every = config.validate_every = 3
    config.data.satellites = type(config.data.satellites)(SATELLITES, sort_keys=False)
    config.flow.width, config.flow.levels, config.flow.degree = 4, 2, 2
    return config


def draw(random: np.random.Generator, size: int = tiny_run.PATCH_SIZE) -> dict[int, np.ndarray]:
    """All bands in standard deviations: 8 and 10 are waves, the others follow from these, with noise in each."""
    rows, columns = np.mgrid[:size, :size] / tiny_run.PATCH_SIZE
    u, v = (np.sin(a * rows + b * columns + c) for a, b, c in random.normal(0, 2, (2, 3)))
    laws = {7: 0.5 * u + 0.5 * v, 8: u, 10: 0.6 * u + 0.8 * v, 11: 0.9 * v, 12: 0.6 * u - 0.5 * v}
    return {band: wave + NOISE * (band not in (8, 10)) * random.normal(size=wave.shape) for band, wave in laws.items()}


def records(tmp_path_factory: Any) -> Path:
    """Prepared data sets, made once."""
    if "records" not in _made:
        _made["records"] = tmp_path_factory.mktemp("flow_records")
        tiny_run.write_records(_made["records"], satellites=SATELLITES, draw=draw)
    return _made["records"]


def train(run: Path, data: Path, *words: str) -> int:
    """Run `satxlate train` in this process."""
    from satxlate_jax.__main__ import main  # here, because the configuration must be readable without jax

    return main(["train", *tiny_run.train_command(run, data, f"--config={__file__}", *words)[4:]])
