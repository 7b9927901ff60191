"""Translate one geostationary imager's observations into another's, without paired images, in JAX."""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

# name -> module; imported on first use, so that `import satxlate_jax` is instant
_LAZY = {
    "read_tile": "satxlate_jax.l1g.reader",
    "write_tile": "satxlate_jax.l1g.reader",
    "read_scene": "satxlate_jax.sources.scene",
    "grid_tile": "satxlate_jax.sources.gridding",
    "to_scene": "satxlate_jax.sources.scene",
    "load": "satxlate_jax.translation.load",
}

__all__ = ["__version__", "grid_tile", "load", "read_scene", "read_tile", "to_scene", "write_tile"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
