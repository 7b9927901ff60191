"""What all tests share: a folder for what is made once, programs that compile fast, and what lies elsewhere."""

import importlib.util
import os
import shutil
import tempfile
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from tests import tiny_run

PROJECT = Path(__file__).resolve().parent.parent
NOBODY = 65534  # the user without rights of any kind


def pytest_configure(config):
    """Let all processes of a session find what one of them has made: data, a run, compiled programs."""
    if not hasattr(config, "workerinput"):
        os.environ[tiny_run.SHARED] = tempfile.mkdtemp(prefix="satxlate_tests_")
        os.environ |= {
            "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {tiny_run.QUICK}".strip(),
            "JAX_COMPILATION_CACHE_DIR": str(tiny_run.shared_cache() / "satxlate_jax" / "programs"),
            "JAX_COMPILATION_CACHE_MAX_SIZE": "4000000000",  # a limit makes processes wait for each other
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        }


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(tiny_run.SHARED))


@pytest.fixture
def unprivileged(tmp_path):
    """A context in which even root may not read everything; `tmp_path` stays within reach."""
    closed = [folder for folder in tmp_path.parents if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o001]

    @contextmanager
    def context():
        modes = {folder: folder.stat().st_mode for folder in closed}
        for folder, mode in modes.items():
            folder.chmod(mode | 0o011)
        tmp_path.chmod(0o755)
        os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)
            for folder, mode in modes.items():
                folder.chmod(mode)

    return context if os.geteuid() == 0 else nullcontext


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


@pytest.fixture(scope="session")
def data() -> Path:
    """Prepared data sets for `tiny_run`."""
    return tiny_run.records()


@pytest.fixture(scope="session")
def finished() -> Path:
    """A run of `tiny_run` that nobody disturbed."""
    return tiny_run.finished_run()
