"""A configuration file of the PyTorch release, used unchanged; its argument is the YAML file's path.

    python -m satxlate_jax import-torch CHECKPOINT.pth.tar --config CONFIG.yaml --output RUN
    python -m satxlate_jax train --config=configs/released.py:CONFIG.yaml --workdir=RUN --config.data.dir=DATA

Continuing an imported run needs the same file, because a run may only be continued with its own configuration.
"""

from ml_collections import ConfigDict

from satxlate_jax.training.torch_reference import config_from_released_yaml


def get_config(path: str) -> ConfigDict:
    """The configuration in that file, with `objective.variant = 'released'`."""
    return config_from_released_yaml(path)
