import csv
from datetime import datetime

import numpy as np
import pytest

from satxlate_jax.__main__ import main
from satxlate_jax.cli import InputError
from satxlate_jax.dataset.records import quantize
from satxlate_jax.dataset.statistics import PERCENTILES, BandCounts, count_tile, read_statistics
from satxlate_jax.instruments import SATELLITES
from satxlate_jax.l1g.reader import read_tile
from tests.archives import build_data_set, dequantize, write_archive

BANDS = (SATELLITES["G16"].band(2), SATELLITES["G16"].band(7), SATELLITES["G16"].band(13))


def codes_of_tile(seed):
    random = np.random.default_rng(seed)
    values = random.normal((0.3, 300, 280), (0.2, 8, 15), (40, 40, 3))
    return np.moveaxis(quantize(values, BANDS), -1, 0)


def test_statistics_are_those_of_the_values():
    tiles = [codes_of_tile(seed) for seed in range(4)]
    counts, half = BandCounts(3), BandCounts(3)
    for index, codes in enumerate(tiles):
        (counts if index % 2 else half).add(count_tile(codes, np.ones((40, 40), int), np.full(3, 1600)))
    counts.merge(half)
    values = dequantize(np.stack(tiles, axis=-1).transpose(1, 2, 3, 0), BANDS).reshape(-1, 3)
    for index, (name, found) in enumerate(counts.as_json(BANDS).items()):
        assert name == BANDS[index].name and found["values"] == 6400
        tolerance = 1e-9
        assert found["mean"] == pytest.approx(values[:, index].mean(), abs=tolerance)
        assert found["std"] == pytest.approx(values[:, index].std(), abs=tolerance)
        assert found["min"] == pytest.approx(values[:, index].min(), abs=tolerance)
        assert found["max"] == pytest.approx(values[:, index].max(), abs=tolerance)
        expected = np.percentile(values[:, index], PERCENTILES, method="inverted_cdf")
        np.testing.assert_allclose(list(found["percentiles"].values()), expected, atol=tolerance)
        assert found["finite_fraction"] == 1.0
        histogram = found["histogram"]
        edges = histogram["start"] + histogram["step"] * np.arange(len(histogram["counts"]) + 1)
        edges -= 1e-6 + histogram["step"] / 1000  # values lie on the edges
        np.testing.assert_array_equal(histogram["counts"], np.histogram(values[:, index], edges)[0])


def test_finite_fraction_is_of_all_pixels_read_and_the_rest_of_the_patches_kept():
    codes = codes_of_tile(0)
    finite = np.array([1600, 1200, 1600])
    counts = BandCounts(3)
    cover = np.zeros((40, 40), int)
    counts.add(count_tile(codes, cover, finite))
    cover[20:, :20] = 1
    counts.add(count_tile(codes, cover, finite))
    found = counts.as_json(BANDS)
    assert [band["finite_fraction"] for band in found.values()] == [1.0, 0.75, 1.0]
    assert [band["values"] for band in found.values()] == [400] * 3


def test_a_pixel_in_several_patches_counts_as_often():
    codes = codes_of_tile(1)
    cover = np.random.default_rng(0).integers(0, 4, (40, 40))
    counts = BandCounts(3)
    counts.add(count_tile(codes, cover, np.full(3, 1600)))
    for band, found in zip(codes, counts.counts, strict=True):
        np.testing.assert_array_equal(found, np.bincount(np.repeat(band.ravel(), cover.ravel()), minlength=65536))


def test_no_values_no_statistics(tmp_path):
    found = BandCounts(1).as_json(BANDS[:1])["BAND02"]
    assert found["values"] == 0 and found["mean"] is None and found["finite_fraction"] is None
    with pytest.raises(InputError, match="no statistics.json in"):
        read_statistics(tmp_path)


TIMES = [datetime(2020, 5, day, 18) for day in (1, 2, 3)]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    root, data = tmp_path_factory.mktemp("l1g"), tmp_path_factory.mktemp("data")
    for path in write_archive(root, {"G16": (2, 13)}, ["h10v05"], TIMES[:1]):
        tile = read_tile(path, bands=[2, 13])  # patches of 300: the one tile is the one example
    build_data_set(root, data, "G16_two", satellite="G16", bands=[2, 13], patch_size=300)
    write_archive(root, {"H8": (3,)}, ["h50v08"], TIMES)
    build_data_set(root, data, "H8_one", satellite="H8", bands=[3], patch_size=300)
    return data, tile


def test_table_and_figure(data_dir, tmp_path, capsys):
    data, tile = data_dir
    assert main(["statistics", str(data), "--output", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "G16_two/1.0.0 (G16)" in printed and "H8_one/1.0.0 (H8)" in printed
    with (tmp_path / "out/statistics.csv").open() as file:
        rows = {(row["data_set"], row["band"]): row for row in csv.DictReader(file)}
    assert set(rows) == {("G16_two/1.0.0", "BAND02"), ("G16_two/1.0.0", "BAND13"), ("H8_one/1.0.0", "BAND03")}
    row = rows["G16_two/1.0.0", "BAND13"]
    values = tile["BAND13"].values.astype(np.float64)
    assert float(row["mean"]) == pytest.approx(values.mean(), abs=0.005)
    assert float(row["std"]) == pytest.approx(values.std(), abs=0.005)
    assert f"{values.mean():.1f}" in printed
    assert (float(row["published_mean"]), float(row["finite_percent"])) == (274.869, 100)
    assert (tmp_path / "out/statistics.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["statistics.csv", "statistics.png"]


@pytest.mark.parametrize(
    "words, complaint",
    [
        (["nowhere"], "'nowhere' is not a folder"),
        (["{empty}"], "no statistics.json in or below"),
        (["{data}/geonex_l1g/G16_two", "--split", "test"], "has a split 'test'"),
        (["{data}", "--output", "{data}/geonex_l1g/G16_two/1.0.0/statistics.json"], "cannot use"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(data_dir, tmp_path, capsys, words, complaint):
    words = [word.format(empty=tmp_path, data=data_dir[0]) for word in words]
    assert main(["statistics", *words]) == 2
    assert complaint in capsys.readouterr().err
