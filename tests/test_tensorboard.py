"""What a run shows in TensorBoard, asked of TensorBoard itself over HTTP."""

import io
import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from tests import tiny_run


@pytest.fixture(scope="module")
def server(finished, tmp_path_factory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("tensorboard") / "log"
    command = [sys.executable, "-m", "tensorboard.main", f"--logdir={finished}", "--port=0", "--load_fast=false"]
    with open(log, "w") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            while "http://localhost:" not in log.read_text():
                assert process.poll() is None, log.read_text()
                time.sleep(0.2)
            address = log.read_text().split("http://localhost:")[1].split("/")[0]
            yield f"http://localhost:{address}"
        finally:
            process.terminate()


def _get(server: str, path: str, **query: str) -> bytes:
    with urllib.request.urlopen(f"{server}/data/{path}?{urllib.parse.urlencode(query)}") as answer:
        return answer.read()


def _tags(server: str, plugin: str) -> list[str]:
    """The tags a plugin lists, once the server has read the events."""
    while True:
        runs = json.loads(_get(server, f"plugin/{plugin}/tags"))
        if runs:
            return list(runs["."])
        time.sleep(0.2)


def test_every_loss_term_is_there_step_by_step(server):
    tags = _tags(server, "scalars")
    terms = ("gan", "recon", "shared", "cycle_recon", "cycle_z_recon", "kl", "kl_cyc", "total")
    losses = [f"generator/{term}" for term in terms] + ["discriminator/total"]
    speeds = ["speed/steps_per_second", "speed/examples_per_second", "speed/input_wait_seconds_per_step"]
    speeds += ["speed/step_seconds", "speed/save_seconds", "speed/look_seconds", "speed/compile_seconds"]
    for tag in [*losses, *speeds, "learning_rate"]:
        assert tag in tags
        points = json.loads(_get(server, "plugin/scalars/scalars", run=".", tag=tag))
        assert [step for _, step, _ in points] == list(range(1, tiny_run.STEPS + 1)), tag
        assert np.isfinite([value for _, _, value in points]).all(), tag


def test_validation_scores_are_per_band_in_its_unit(server):
    tags = _tags(server, "scalars")
    for tag in (
        "validation_reconstruction/G16/BAND07/rmse_K",
        "validation_reconstruction/G16/BAND02/bias_reflectance",
        "validation_reconstruction/H8/BAND04/rmse_reflectance",
        "validation_cycle/G16-H8-G16/BAND13/rmse_K",
        "validation_shared/G16-H8/BAND13/bias_K",
    ):
        assert tag in tags
        points = json.loads(_get(server, "plugin/scalars/scalars", run=".", tag=tag))
        assert [step for _, step, _ in points] == [10, 20, 30, 40, 50]
    # ABI's 0.64 and 0.865 um are AHI's bands 3 and 4; its 1.61 and 3.9 um are not among H8's bands here
    assert not [tag for tag in tags if tag.startswith("validation_shared/G16-H8/BAND05")]
    untrained = json.loads(
        _get(server, "plugin/scalars/scalars", run=".", tag="validation_reconstruction/G16/BAND13/rmse_K")
    )
    assert 1 < untrained[0][2] < 20  # a network that knows nothing is off by about the band's deviation, 7.9 K


def test_pictures_show_input_reconstruction_and_translation(server):
    tags = _tags(server, "images")
    visible = "natural_colour/G16 | itself | as H8"
    assert sorted(tags) == ["infrared/G16 | itself | as H8", "infrared/H8 | itself | as G16", visible]
    for tag in tags:
        entries = json.loads(_get(server, "plugin/images/images", run=".", tag=tag, sample="0"))
        assert [entry["step"] for entry in entries] == [20, 40, tiny_run.STEPS]
        address = f"{server}/data/plugin/images/individualImage?{entries[0]['query']}"
        with urllib.request.urlopen(address) as answer:
            picture = Image.open(io.BytesIO(answer.read()))
        assert picture.size == (3 * tiny_run.PATCH_SIZE, tiny_run.PATCH_SIZE)
        assert picture.mode == ("RGB" if tag == visible else "L")
        observed, reconstructed, translated = np.split(np.asarray(picture, float), 3, axis=1)
        assert observed.std() > 5, "an observation has structure"
        assert reconstructed.std() < observed.std(), "an untrained network gives next to none"
        if tag == visible:  # H8 has no 1.6 um band here
            assert set(translated.ravel()) <= {127, 128}


def test_histograms_are_per_band_observed_and_reconstructed(server):
    tags = _tags(server, "histograms")
    assert "G16/BAND13_10.35um_K/observed" in tags and "G16/BAND13_10.35um_K/reconstructed" in tags
    assert "H8/BAND03_0.639um_reflectance/observed" in tags
    assert len(tags) == 2 * sum(len(bands) for bands in tiny_run.SATELLITES.values())
    entries = json.loads(_get(server, "plugin/histograms/histograms", run=".", tag="G16/BAND13_10.35um_K/observed"))
    left, right = entries[0][2][0][0], entries[0][2][-1][1]
    assert 274.869 - 3 * 7.973 < left < right < 274.869 + 3 * 7.973  # published mean and deviation; the data are sines


def test_hyperparameters_and_parameters_are_there(server):
    assert "parameters" in _tags(server, "text")
    text = _get(server, "plugin/text/text", run=".", tag="parameters").decode()
    assert "generator/encoders/G16" in text and "Total:" in text
    question = json.dumps({"allowedStatuses": ["STATUS_UNKNOWN", "STATUS_RUNNING", "STATUS_SUCCESS"], "sliceSize": 9})
    (group,) = json.loads(_get(server, "plugin/hparams/session_groups", request=question))["sessionGroups"]
    assert group["hparams"]["generator.dim"] == 4 and group["hparams"]["objective.variant"] == "paper"
