"""Training the spectral flow: what is fitted, learned and kept, exact continuing, scores, and mistakes in one line."""

import os
import signal
from pathlib import Path

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from satxlate_jax.checkpoints import Checkpoints
from satxlate_jax.cli import InputError
from satxlate_jax.instruments import published_statistics
from satxlate_jax.training import loop
from satxlate_jax.training.config import validate
from tests import tiny_flow, tiny_run

UNSEEN = [f"--config.{what}_every=0" for what in ("image", "histogram", "validate")]


@pytest.fixture(scope="module")
def data() -> Path:
    return tiny_flow.records()


@pytest.fixture(scope="module")
def run() -> Path:
    return tiny_flow.finished_run()


def tree(run: Path, step: int | None = None):
    return Checkpoints(run / "checkpoints").restore(step)


def leaves(run: Path, step: int | None = None):
    """Path -> array of the generator that translates."""
    return flatten_dict(tree(run, step)["generator_average"], sep="/")


def test_the_base_is_fitted_first_then_the_network_learns_then_the_calibration_is_fitted(run):
    first, last = leaves(run, 3), leaves(run)
    changed = {path for path, value in first.items() if not np.array_equal(value, last[path])}
    assert {path.split("/")[0] for path in changed} == {"network", "calibration"}
    assert all((value == 1).all() for path, value in first.items() if path.startswith("calibration/"))


def test_a_run_of_three_lives_is_one(run, data, tmp_path, monkeypatch):
    """Ended early and lengthened, told to stop, and started again: bit by bit the run that nobody disturbed."""
    lives = tmp_path / "run"
    assert tiny_flow.train(lives, data, *UNSEEN, "--config.steps=2") == 0
    add = loop.Progress.add

    def stop(progress, step, metrics):
        add(progress, step, metrics)
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Progress, "add", stop)
        patch.setattr(loop, "AHEAD", 0)
        assert tiny_flow.train(lives, data, *UNSEEN) == 0
    assert 3 < Checkpoints(lives / "checkpoints").latest_step() < tiny_flow.STEPS
    assert tiny_flow.train(lives, data, *UNSEEN) == 0
    jax.tree.map(np.testing.assert_array_equal, tree(lives), tree(run))
    ours, theirs = tiny_run.learned_scalars(lives), tiny_run.learned_scalars(run)
    for tag in ("generator/total", "generator/z_rms", "learning_rate"):
        assert ours[tag] == theirs[tag]


def test_scores_of_what_is_withheld_are_written(run):
    """Of G16's band 7 from bands 8 and 10, only the noise remains; what is given has no error."""
    scalars = tiny_run.read_scalars(run)
    _, std = published_statistics("G16", [7])
    for step, rmse in scalars["validation_withheld/G16-G17/BAND07/rmse_K"]:
        assert step in (3, 6) and rmse == pytest.approx(tiny_flow.NOISE * std[0], rel=0.25)
    assert max(rmse for _, rmse in scalars["validation_withheld/G16-G17/BAND08/rmse_K"]) < 1e-3
    assert len(scalars["generator/total"]) == tiny_flow.STEPS and "validation_withheld/H8-G17/BAND12/bias_K" in scalars


@pytest.mark.parametrize(
    ("new", "bands", "brings"),
    [
        ("H8_as_it_is", tiny_flow.SATELLITES["H8"], {"adapters/H8_as_it_is"}),
        ("G18", (8, 12), {f"{part}/given_{given}" for part in ("base", "calibration") for given in ("3", "3_6")}),
    ],
)
def test_a_satellite_is_added_by_its_mask_and_adapter(new, bands, brings, run, data, tmp_path, capsys):
    """What was known stays bit by bit; bands that no satellite had before as a set are regressed on anew."""
    words = f"--config={tiny_flow.__file__}:{new}={','.join(map(str, bands))}", f"--config.init_from={run}"
    assert tiny_flow.train(tmp_path / "run", data, *words, *UNSEEN, "--config.steps=0") == 0
    assert "starting from the weights of" in capsys.readouterr().out
    known, now = leaves(run), leaves(tmp_path / "run")
    for path, value in known.items():
        np.testing.assert_array_equal(now[path], value, err_msg=path)
    assert {"/".join(path.split("/")[:2]) for path in now.keys() - known.keys()} == brings | {f"usual/{new}"}
    if "adapters/H8/kernel" in known and new.startswith("H8"):
        np.testing.assert_array_equal(now[f"adapters/{new}/kernel"], known["adapters/H8/kernel"])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("data.streams=('G17',)", "no satellite of config.data.streams has band 3 of G16 beside what G17 gives"),
        ("flow.levels=5", "config.data.patch_size is 16; config.flow.levels needs at least 32"),
        ("objective.variant=released", "'spectral_flow' has an objective of its own"),
        ("flow.depth=3", "the configuration has no field"),
        ("flow.coarse=some", "it must be 'auto' or 'base' or 'free'"),
        ("flow.members=0", "config.flow.members is 0"),
        ("optimizer.name=sgd", "it must be 'adam' or 'adamw'"),
    ],
)
def test_mistakes_are_one_line(word, message, tmp_path, capsys):
    assert tiny_flow.train(tmp_path / "run", tmp_path, f"--config.{word}") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("satellites", "message"),
    [
        ({"G16": (8, 10), "G17": (8, 10)}, "all satellites have the same bands"),
        ({"G16": (7, 12), "G17": (8, 10)}, "G16 and G17 share no band"),
    ],
)
def test_satellites_without_anything_to_infer_or_to_infer_from_are_refused(satellites, message):
    config = tiny_flow.get_config()
    config.data.satellites = type(config.data.satellites)(satellites)
    with pytest.raises(InputError, match=message):
        validate(config)
