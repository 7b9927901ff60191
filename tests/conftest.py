"""Where the tests find what is not part of the repository."""

import importlib.util
import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent


def _outside(variable: str, default: Path) -> Path:
    folder = Path(os.environ.get(variable, default))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}; set {variable} to where it is")
    return folder


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    """Numbers computed by the released implementation."""
    return _outside("SATXLATE_FIXTURES", PROJECT.parent / "shared" / "fixtures")


@pytest.fixture(scope="session")
def realdata_dir() -> Path:
    """Real GOES tiles and granules."""
    return _outside("SATXLATE_REALDATA", PROJECT.parent / "shared" / "realdata")


@pytest.fixture(scope="session")
def default_config():
    """`get_config` of configs/default.py."""
    spec = importlib.util.spec_from_file_location("default_config", PROJECT / "configs" / "default.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config
