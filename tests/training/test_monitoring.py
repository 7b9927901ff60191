"""TensorBoard shows pictures, and each step once however often the run was killed."""

import time
from pathlib import Path

import numpy as np
import pytest
from etils import epath

from satxlate_jax.training.monitoring import Monitor, make_pictures
from tests import tiny_run


def _write(folder: Path, last_step: int, steps: range) -> None:
    """One life of a run, which continues from `last_step`; TensorBoard reads files in the order of their seconds."""
    while any(f".{int(time.time())}." in path.name for path in folder.iterdir()):
        time.sleep(0.1)
    monitor = Monitor(epath.Path(folder), last_step, {"satellites": {}})
    for step in steps:
        monitor.write_scalars(step, {"loss": step / 7 + last_step})
    monitor.close()


def test_a_continued_run_shows_each_step_once_and_as_last_written(tmp_path):
    _write(tmp_path, -1, range(1, 11))
    _write(tmp_path, 6, range(7, 10))
    _write(tmp_path, 8, range(9, 13))
    points = tiny_run.read_scalars(tmp_path)["loss"]
    assert [step for step, _ in points] == list(range(1, 13))
    lives = [-1] * 6 + [6] * 2 + [8] * 4
    np.testing.assert_allclose([value for _, value in points], np.arange(1, 13) / 7 + lives, rtol=1e-6)


def test_a_run_that_begins_again_shows_nothing_of_before(tmp_path):
    _write(tmp_path, -1, range(1, 5))
    _write(tmp_path, -1, range(1, 3))
    assert [step for step, _ in tiny_run.read_scalars(tmp_path)["loss"]] == [1, 2]


@pytest.mark.parametrize("damage", [lambda content: content[:-13], lambda content: content + bytes(4096)])
def test_an_event_that_a_kill_or_power_failure_damaged_does_not_hide_what_follows(tmp_path, damage):
    _write(tmp_path, -1, range(1, 5))
    (events,) = tmp_path.glob("*.v2")
    events.write_bytes(damage(events.read_bytes()))
    _write(tmp_path, 3, range(4, 6))
    assert [step for step, _ in tiny_run.read_scalars(tmp_path)["loss"]] == [1, 2, 3, 4, 5]


def _images(bands: dict, value: float, height: int = 4, width: int = 6) -> tuple[dict, dict]:
    batch = {name: np.full((2, height, width, len(numbers)), value, np.float32) for name, numbers in bands.items()}
    return batch, {name: {other: batch[other] for other in bands} for name in bands}


def test_a_strip_holds_input_reconstruction_and_every_translation():
    bands = {"G16": tuple(range(1, 17)), "G17": tuple(range(1, 17)), "H8_15": tuple(range(1, 16))}
    pictures = make_pictures(*_images(bands, 0.0), bands)
    assert set(pictures) == {
        f"{kind}/{caption}"
        for kind in ("natural_colour", "infrared")
        for caption in (
            "G16 | itself | as G17 | as H8_15",
            "G17 | itself | as G16 | as H8_15",
            "H8_15 | itself | as G16 | as G17",
        )
    }
    for name, picture in pictures.items():
        assert picture.shape == (2, 4, 4 * 6, 3 if name.startswith("natural") else 1)
        assert (picture == 0.5).all()


def test_natural_colour_is_made_of_the_right_bands():
    bands = {"G16": (2, 3, 5), "H8": (3, 4, 5)}  # 0.64, 0.865 and 1.61 um of each
    batch, translations = _images(bands, 0.0)
    batch["G16"][..., 2] = 9.0  # 1.61 um is drawn red
    translations["G16"]["G16"] = np.full_like(batch["G16"], -9.0)
    translations["G16"]["H8"] = batch["G16"].copy()
    picture = make_pictures(batch, translations, bands)["natural_colour/G16 | itself | as H8"]
    assert picture[0, 0, 0].tolist() == [1.0, 0.5, 0.5]
    assert picture[0, 0, 6].tolist() == [0.0, 0.0, 0.0]
    assert picture[0, 0, 12].tolist() == [1.0, 0.5, 0.5]


def test_cold_is_bright_in_the_infrared():
    bands = {"G16": (13,), "G17": (13,)}
    warm, cold = (make_pictures(*_images(bands, value), bands)["infrared/G16 | itself | as G17"] for value in (1, -1))
    assert warm.max() < 0.5 < cold.min()


def test_a_satellite_without_the_bands_is_grey_and_one_without_any_shows_its_first():
    bands = {"G16": (2, 3, 5, 13), "G17": (8, 9)}
    pictures = make_pictures(*_images(bands, 1.0), bands)
    assert set(pictures) == {
        "natural_colour/G16 | itself | as G17",
        "infrared/G16 | itself | as G17",
        "first_band/G17 | itself | as G16",
    }
    strip = pictures["natural_colour/G16 | itself | as G17"]
    assert (strip[:, :, 12:] == 0.5).all() and (strip[:, :, :12] != 0.5).all()


@pytest.mark.parametrize("value", [-50.0, 50.0])
def test_values_are_limited_to_what_a_picture_can_show(value):
    bands = {"G16": (2, 3, 5, 13)}
    for picture in make_pictures(*_images(bands, value), bands).values():
        assert picture.dtype == np.float32 and picture.min() >= 0 and picture.max() <= 1
