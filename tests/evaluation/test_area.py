"""Scores by area beside scores by pixel: against sums written out here, in parts, and from sums without areas."""

import csv
import json
from datetime import datetime

import numpy as np
import pytest

from satxlate_jax import read_tile
from satxlate_jax.__main__ import main
from satxlate_jax.evaluation.metrics import AREA_METRICS, METRICS
from satxlate_jax.evaluation.results import COLUMNS
from tests.archives import write_archive
from tests.random_run import save_random_run

BANDS = {"G16": (2, 3, 13), "H8": (3, 13)}
TILES = ("h02v01", "h02v05", "h02v09")  # 54 to 48, 30 to 24 and 6 to 0 degrees north
NEW_COLUMNS = "crps,coverage_1sd,coverage_2sd,power_ratio,power_ratio_sample,truth".split(",")
OLD_COLUMNS = ("method,source,target,band,wavelength_um,unit,n,bias,mae,rmse,psnr,ssim,correlation").split(",")


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("area")
    save_random_run(folder / "run", BANDS, dim=4)
    write_archive(folder / "l1g", BANDS, TILES, [datetime(2019, 1, 1, 22)])
    for output, words in (("whole", ()), ("part1", ("--part", "1/2")), ("part2", ("--part", "2/2"))):
        folders = ["--checkpoint", folder / "run", "--l1g", folder / "l1g", "--output", folder / output]
        how = ["--source", "G16", "--target", "H8", "--pictures", "0", "--baselines", "band_copy,constant", *words]
        assert main(["evaluate", *map(str, [*folders, *how])]) == 0
    return folder


def test_the_columns_by_area_come_last_and_are_right(made):
    table = rows(made / "whole" / "scores.csv")
    assert (
        list(table[0]) == [*OLD_COLUMNS, *(f"{name}_area" for name in OLD_COLUMNS[7:]), *NEW_COLUMNS] == list(COLUMNS)
    )
    copied = next(row for row in table if (row["method"], row["band"]) == ("band_copy", "13"))
    squares, errors, weights, counts = [], [], [], []
    for tile in TILES:
        seen, truth = (
            read_tile(next((made / "l1g").rglob(f"{code}*{tile}*.hdf")), bands=[13])
            for code in ("GO16_ABI05", "HM08_AHI05")
        )
        error = seen["BAND13"].values.astype(np.float64) - truth["BAND13"].values
        weight = np.broadcast_to(np.cos(np.radians(seen["lat"].values))[:, None], error.shape)
        for total, values in ((squares, error**2 * weight), (errors, error * weight), (weights, weight)):
            total.append(values.sum())
        counts.append((error**2).sum())
    assert float(copied["rmse_area"]) == pytest.approx(np.sqrt(sum(squares) / sum(weights)), rel=1e-5)
    assert float(copied["bias_area"]) == pytest.approx(sum(errors) / sum(weights), rel=1e-4, abs=1e-5)
    assert float(copied["rmse"]) == pytest.approx(np.sqrt(sum(counts) / (3 * 300 * 300)), rel=1e-5)
    assert float(copied["rmse"]) != pytest.approx(float(copied["rmse_area"]), rel=1e-3)
    for name, first in (("scores_per_file.csv", 3), ("scores_by_group.csv", 1)):
        assert list(rows(made / "whole" / name)[0])[first:] == list(COLUMNS)


def test_the_report_says_which_scores_count_pixels_and_which_area(made):
    report = (made / "whole" / "report.html").read_text()
    summary, _, rest = report.partition("<h2 id=")
    assert "By area the verdict would be" in summary and "count every pixel alike" in summary
    scores = rest[rest.index('<h2 id="scores">') : rest.index('<h2 id="files">')]
    table = rows(made / "whole" / "scores.csv")
    model = next(row for row in table if (row["method"], row["band"]) == ("model", "13"))
    assert scores.count("by area</th>") == 6
    shown = [float(value) for value in _values(scores)]
    for name in ("rmse", "rmse_area", "bias_area", "ssim_area"):
        assert np.isclose(shown, float(model[name]), rtol=1e-6).any()


def _values(page):
    return [part.split('"')[0].replace("Infinity", "inf") for part in page.split('data-value="')[1:]]


def as_before(folder, target, number):
    """A part as it was written before there were sums by area (format 1), or for CRPS and coverage (2)."""
    with np.load(folder / "sums.npz") as stored:
        arrays = dict(stored)
    about = json.loads(str(arrays["about"])) | {"format": number}
    cut = {name: array[: 11 * number] for name, array in arrays.items() if name.startswith(("group/", "file/"))}
    target.mkdir()
    np.savez_compressed(target / "sums.npz", **arrays | cut | {"about": np.array(json.dumps(about))})
    return target


@pytest.mark.parametrize("formats", [(3, 3), (1, 3), (1, 1), (2, 3)], ids=["new", "mixed", "old", "without CRPS"])
def test_parts_with_and_without_areas_pool(formats, made, tmp_path, capsys):
    old = 1 in formats
    parts = [
        made / f"part{n}" if number == 3 else as_before(made / f"part{n}", tmp_path / f"old{n}", number)
        for n, number in enumerate(formats, 1)
    ]
    assert main(["pool", *map(str, parts), "--output", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert ("without scores by area" in printed) == old
    assert ("without CRPS and coverage: " in printed) == (2 in formats)
    for table in ("scores.csv", "scores_by_group.csv"):
        whole, pooled = rows(made / "whole" / table), rows(tmp_path / "out" / table)
        assert len(whole) == len(pooled) > 0
        for expected, found in zip(whole, pooled, strict=True):
            for name in METRICS:
                np.testing.assert_allclose(float(found[name]), float(expected[name]), rtol=1e-5, atol=1e-6)
            for name in AREA_METRICS:
                value = float("nan") if old else float(expected[name])
                np.testing.assert_allclose(float(found[name]), value, rtol=1e-5, atol=1e-6)
            crps = float("nan") if min(formats) < 3 else float(expected["mae"])  # there is no standard deviation
            np.testing.assert_allclose(float(found["crps"]), crps, rtol=1e-5, atol=1e-6)
            assert found["coverage_1sd"] == found["power_ratio_sample"] == "nan" and found["truth"] == "target"


def test_compare_takes_scores_without_columns_by_area(made, tmp_path):
    """As evaluations of before wrote them."""
    table = rows(made / "whole" / "scores.csv")
    (tmp_path / "old").mkdir()
    with (tmp_path / "old" / "scores.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, OLD_COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(table)
    for folder, output in ((tmp_path / "old", "a"), (made / "whole", "b")):
        assert main(["compare", str(folder), "--all_bands", "--output", str(tmp_path / output)]) == 0
    old, new = (rows(tmp_path / name / "comparison.csv") for name in ("a", "b"))
    assert [{**row, "run": ""} for row in old] == [{**row, "run": ""} for row in new] and len(old) == 2
