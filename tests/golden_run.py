"""The configuration of the golden run, also a file for --config: tiny_run's with bands that the dummy tiles hold."""

import importlib.util
from pathlib import Path

SATELLITES = {"G16": (2, 8), "G17": (2, 13)}
FOLDER = Path(__file__).resolve().parent


def get_config():
    spec = importlib.util.spec_from_file_location("tiny_run", FOLDER / "tiny_run.py")
    tiny_run = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny_run)
    config = tiny_run.get_config()
    config.steps = 8
    config.data.satellites = type(config.data.satellites)(SATELLITES)
    config.generator.spectral_path = "linear"
    return config
