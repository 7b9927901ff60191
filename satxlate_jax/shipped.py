"""Find what is shipped beside the code: the configurations, and the TFDS builder as `tfds build` wants it, a folder.

    tfds build "$(satxlate path datasets/geonex_l1g)" --config=G16 --manual_dir=L1G_ROOT --data_dir=DATA

In a checkout both lie at its root; a wheel holds copies in satxlate_jax/share (setup.py).
"""

import argparse
from pathlib import Path

from satxlate_jax.cli import InputError

_PACKAGE = Path(__file__).resolve().parent
ROOT = _PACKAGE / "share" if (_PACKAGE / "share").is_dir() else _PACKAGE.parent
CONFIGS = ROOT / "configs"
BUILDER = ROOT / "datasets" / "geonex_l1g"


def typed_path(path: Path) -> str:
    """A shipped path as it is typed in the current folder: short at the root of a checkout, else in full."""
    return str(path.relative_to(ROOT) if Path.cwd() == ROOT else path)


def main(options: argparse.Namespace) -> None:
    """Run the subcommand `path`."""
    name = options.name
    found = [path for path in (CONFIGS, BUILDER, *sorted(CONFIGS.glob("*.py"))) if path == ROOT / name]
    if not found:
        raise InputError(f"'{name}' is not shipped; there are configs, configs/NAME.py and datasets/geonex_l1g")
    print(found[0])
