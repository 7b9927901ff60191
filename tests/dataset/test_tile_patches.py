from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from satxlate_jax.archive.catalog import find_tiles, parse_name
from satxlate_jax.cli import InputError
from satxlate_jax.dataset.records import quantize
from satxlate_jax.dataset.selection import Selection
from satxlate_jax.dataset.tile_patches import (
    MISSING_BANDS,
    NIGHT,
    NO_ANGLES,
    NOT_FINITE,
    UNREADABLE,
    VIEWPOINT,
    read_packed,
    tile_outcome,
)
from satxlate_jax.instruments import SATELLITES
from satxlate_jax.l1g.reader import read_tile, write_tile
from tests.archives import compressed_streams, dequantize, smooth_tile

NAME = "GO16_ABI05_20200104_1816_GLBG_h12v04_02.hdf"
BANDS = (1, 8, 13)


@pytest.fixture
def tile():
    return smooth_tile("G16", "h12v04", datetime(2020, 1, 4, 18, 16), BANDS)


def outcome_of(tile, folder, **options):
    write_tile(tile, folder / NAME)
    return tile_outcome(parse_name(folder / NAME), Selection.of({"satellite": "G16", "bands": list(BANDS)} | options))


def test_examples_hold_the_files_values_and_where_they_are_from(tile, tmp_path):
    outcome = outcome_of(tile, tmp_path, bands=[13, 1])
    assert outcome.reason == "" and not outcome.dropped_patches and outcome.patches == 25
    written = read_tile(tmp_path / NAME, bands=[1, 13])
    channels = Selection.of({"satellite": "G16", "bands": [13, 1]}).channels
    covered = np.zeros((300, 300), int)
    for key, example in outcome.examples:
        row, column = example["row"], example["column"]
        assert key == f"{NAME}/{row}/{column}" and example["file_name"] == NAME
        values = dequantize(example["patch"], channels)
        for channel, band in enumerate(("BAND13", "BAND01")):
            expected = written[band].values[row : row + 64, column : column + 64]
            np.testing.assert_allclose(
                values[..., channel], expected, rtol=0, atol=(0.005 if channel == 0 else 5e-5) + 4e-5
            )
        covered[row : row + 64, column : column + 64] += 1
    assert covered.min() == 1 and (covered[:236, :236] == 1).all()  # overlap only at the last row and column
    place = {"year": 2020, "dayofyear": 4, "hour": 18, "minute": 16, "tile": "h12v04", "h": 12, "v": 4}
    assert place.items() <= example.items()


def test_zero_is_a_value_and_missing_is_not(tile, tmp_path):
    tile["BAND01"].values[:] = 0.0
    tile["BAND08"].values[10, 10] = np.nan  # in the first patch
    tile["BAND13"].values[299, 299] = np.nan  # in the last
    outcome = outcome_of(tile, tmp_path)
    assert outcome.patches == 23 and outcome.dropped_patches == {NOT_FINITE: 2}
    kept = [(example["row"], example["column"]) for _, example in outcome.examples]
    assert (0, 0) not in kept and (236, 236) not in kept
    # a band that is not selected may be missing
    assert outcome_of(tile, tmp_path, bands=[1]).patches == 25


def test_as_the_release_keeps_patches_but_for_exact_zeros(tile, tmp_path, fixtures_dir):
    with np.load(fixtures_dir / "patches.npz", allow_pickle=False) as fixture:
        offsets = fixture["offsets/300_64"]
    outcome = outcome_of(tile, tmp_path)
    np.testing.assert_array_equal([(example["row"], example["column"]) for _, example in outcome.examples], offsets)


def test_stride_and_patch_size(tile, tmp_path):
    outcome = outcome_of(tile, tmp_path, patch_size=150, stride=75)
    assert outcome.patches == 9
    assert {example["patch"].shape for _, example in outcome.examples} == {(150, 150, 3)}


def test_daylight_only_keeps_patches_where_the_sun_is_up_everywhere(tile, tmp_path):
    tile["solar_zenith"].values[:, 100:] = 95.0
    outcome = outcome_of(tile, tmp_path, daylight_only=True)
    assert {example["column"] for _, example in outcome.examples} == {0}
    assert outcome.dropped_patches == {NIGHT: 20}
    tile["solar_zenith"].values[:] = 95.0
    assert outcome_of(tile, tmp_path, daylight_only=True).reason == NIGHT
    assert outcome_of(tile, tmp_path).patches == 25
    assert outcome_of(tile.drop_vars("solar_zenith"), tmp_path, daylight_only=True).reason == NO_ANGLES


def test_every_file_without_examples_has_a_reason(tile, tmp_path):
    assert outcome_of(tile.drop_vars("BAND08"), tmp_path).reason == MISSING_BANDS
    tile["BAND08"].values[:] = np.nan
    outcome = outcome_of(tile, tmp_path)
    assert outcome.reason == NOT_FINITE and "BAND08" in outcome.detail and not outcome.patches
    for content in (b"", b"not HDF4", (tmp_path / NAME).read_bytes()[:3000]):
        (tmp_path / NAME).write_bytes(content)
        outcome = tile_outcome(parse_name(tmp_path / NAME), Selection.of({"satellite": "G16"}))
        assert outcome.reason == UNREADABLE and NAME in outcome.detail and "\n" not in outcome.detail
    (tmp_path / NAME).unlink()
    assert tile_outcome(parse_name(tmp_path / NAME), Selection.of({"satellite": "G16"})).reason == UNREADABLE


def test_a_file_of_another_viewpoint_is_refused_unless_asked_for(tile, tmp_path):
    for viewpoint, wanted, reason in (("G17", None, VIEWPOINT), ("G17", "G17", ""), ("G17", "H8", VIEWPOINT)):
        tile.attrs["viewpoint"] = viewpoint
        outcome = outcome_of(tile, tmp_path, viewpoint=wanted)
        assert (outcome.reason, outcome.patches) == (reason, 0 if reason else 25)
        assert not reason or "seen from G17's place" in outcome.detail and NAME in outcome.detail
    del tile.attrs["viewpoint"]
    outcome = outcome_of(tile, tmp_path, viewpoint="G17")
    assert outcome.reason == VIEWPOINT and "its satellite's own place" in outcome.detail
    assert "viewpoint" not in Selection.of({"satellite": "G16"}).as_json()  # data sets of before are the same
    with pytest.raises(InputError, match="'viewpoint' is 'G99'; it must be one of G16, "):
        Selection.of({"satellite": "G16", "viewpoint": "G99"})


def test_damaged_solar_angles_cost_nothing_that_does_not_need_them_and_are_told(tile, tmp_path):
    assert outcome_of(tile, tmp_path).fault == ""
    content = bytearray((tmp_path / NAME).read_bytes())
    streams = compressed_streams(bytes(content))
    assert len(streams) == len(BANDS) + 1
    begin, end = streams[-1]  # Solar_Zenith, which is written after the bands
    content[(begin + end) // 2] ^= 255
    (tmp_path / NAME).write_bytes(content)
    options = {"satellite": "G16", "bands": list(BANDS)}
    outcome = tile_outcome(parse_name(tmp_path / NAME), Selection.of(options))
    assert outcome.patches == 25 and outcome.fault.startswith("Solar_Zenith is damaged")
    outcome = tile_outcome(parse_name(tmp_path / NAME), Selection.of(options | {"daylight_only": True}))
    assert outcome.reason == UNREADABLE and "Solar_Zenith" in outcome.detail


def test_another_product_is_unreadable(realdata_dir, tmp_path):
    other = next(path for path in (realdata_dir / "other_hdf4").iterdir() if path.suffix == ".hdf")
    Path(tmp_path / NAME).symlink_to(other)
    outcome = tile_outcome(parse_name(tmp_path / NAME), Selection.of({"satellite": "G16"}))
    assert outcome.reason == UNREADABLE and "L1G" in outcome.detail


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
@pytest.mark.parametrize("resampling", ["area", "bilinear"])
def test_packed_from_the_integers_are_those_of_the_values(tile, tmp_path, resampling, dtype):
    tile["BAND01"].values[:40] = np.linspace(-0.7, 7, 300)  # beyond what integers and packed hold
    tile["BAND08"].values[50, 60:70] = np.nan
    write_tile(tile, tmp_path / NAME, dtype=dtype)
    assert_same_packed(tmp_path / NAME, BANDS, resampling)


@pytest.mark.parametrize("resampling", ["area", "bilinear"])
def test_packed_of_real_tiles_are_those_of_the_values(realdata_dir, resampling):
    for file in find_tiles(realdata_dir / "l1g", satellites=["G16"])[::8]:
        assert_same_packed(file.path, range(1, 17), resampling)


def assert_same_packed(path, bands, resampling):
    packed, zenith, faults, _ = read_packed(path, bands, resampling=resampling, with_zenith=True)
    assert not faults
    slow = read_tile(path, bands=bands, resampling=resampling)
    for number, found in zip(bands, packed, strict=True):
        band = SATELLITES["G16"].band(number)
        np.testing.assert_array_equal(found, quantize(slow[band.name].values[..., None], [band])[..., 0])
    np.testing.assert_array_equal(zenith, slow["solar_zenith"].values)


def test_real_tiles(realdata_dir):
    (file,) = find_tiles(realdata_dir / "l1g", satellites=["G16"], tiles=["h14v04"])
    selection = Selection.of({"satellite": "G16", "bands": "7-10,12,16"})
    assert tile_outcome(file, selection).patches == 25
    assert tile_outcome(file, Selection.of({"satellite": "G16"})).detail.startswith("entirely fill: BAND02, BAND05")
    night = Selection.of({"satellite": "G16", "bands": "7", "daylight_only": True})
    assert tile_outcome(file, night).reason == NIGHT
