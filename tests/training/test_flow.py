"""Training the spectral flow: what is fitted, learned and kept, exact continuing, scores, and mistakes in one line."""

from pathlib import Path

import jax
import numpy as np
import pytest

from satxlate_jax.checkpoints import Checkpoints
from tests import tiny_flow, tiny_run


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tiny_run.shared_cache(tmp_path_factory)))
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tiny_flow.records(tmp_path_factory)


@pytest.fixture(scope="module")
def run(tmp_path_factory, data, own_cache) -> Path:
    folder = tmp_path_factory.mktemp("flow") / "run"
    assert tiny_flow.train(folder, data) == 0
    return folder


def trees(*runs: Path):
    return [Checkpoints(run / "checkpoints").restore() for run in runs]


def test_a_run_trains_the_network_and_fits_the_rest(run):
    first, last = (Checkpoints(run / "checkpoints").restore(step) for step in (3, tiny_flow.STEPS))
    for part in ("base", "adapters", "inputs"):
        jax.tree.map(np.testing.assert_array_equal, first["generator"][part], last["generator"][part])
