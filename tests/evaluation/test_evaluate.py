"""The subcommand `evaluate`: the real benchmark's numbers, coincident files, honest words, clear errors."""

import csv
import html
import re
from datetime import datetime

import numpy as np
import pytest
import xarray as xr

from satxlate_jax import load, read_tile, write_tile
from satxlate_jax.__main__ import main
from satxlate_jax.evaluation.case_selection import find_comparison
from satxlate_jax.evaluation.results import COLUMNS
from satxlate_jax.geometry import tile_grid
from satxlate_jax.instruments import get_satellite
from tests.archives import write_archive
from tests.random_run import save_random_run

UNEQUAL = {"G16": (7, 8, 9, 10, 12, 16), "G17": (8, 9, 10, 16)}
SMALL = {"G16": (2, 13), "H8": (2, 3, 13)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {
        "unequal": save_random_run(folder / "unequal", UNEQUAL),
        "small": save_random_run(folder / "small", SMALL, dim=4),
    }


def evaluate(run, root, output, *words, source="G17", target="G16"):
    arguments = ["--checkpoint", run, "--l1g", root, "--source", source, "--target", target, "--output", output, *words]
    return main(["evaluate", "--pictures", "1", *map(str, arguments)])


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def make_archive(root, *, offset=1.0):
    """H8 sees what G16 sees, `offset` K warmer; three days, one tile at one time each."""
    lat, lon = tile_grid("h02v05", 300)
    for day in (1, 2, 3):
        random = np.random.default_rng(day)
        red = np.clip(0.3 + 0.2 * random.standard_normal((300, 300)), 0, 1.2)
        warm = 280 + 8 * random.standard_normal((300, 300))
        time = np.datetime64(f"2019-02-0{day}T22:00", "ns")
        zenith = np.full((300, 300), 30.0, np.float32)
        for satellite, fields in (
            ("G16", {2: red, 13: warm}),
            ("H8", {2: 0.9 * red + 0.01, 3: red, 13: warm + offset}),
        ):
            bands = {}
            for number, field in fields.items():
                unit = {"units": get_satellite(satellite).band(number).unit}
                bands[f"BAND{number:02d}"] = (("lat", "lon"), field.astype(np.float32), unit)
            tile = xr.Dataset(
                bands | {"solar_zenith": (("lat", "lon"), zenith, {"units": "degree"})},
                {"lat": lat, "lon": lon, "time": time},
                {"satellite": satellite, "tile": "h02v05"},
            )
            code = get_satellite(satellite).file_code
            folder = root / satellite / "GEONEX-L1G" / "h02v05" / "2019" / f"{31 + day:03d}"
            write_tile(tile, folder / f"{code}_2019020{day}_2200_GLBG_h02v05_02.hdf")
    return root


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive"))


@pytest.mark.usefixtures("undrawn")
def test_the_real_benchmark(runs, realdata_dir, tmp_path, capsys):
    """Bands 7 and 12 of GOES-17, measured in its own files and not given to the network."""
    words = ("--truth", "source", "--tiles", "h09v03")
    assert evaluate(runs["unequal"], realdata_dir / "l1g", tmp_path / "out", *words) == 0
    per_file = rows(tmp_path / "out" / "scores_per_file.csv")
    linear = {(row["time"], row["band"]): float(row["rmse"]) for row in per_file if row["method"] == "linear"}
    assert linear["2019-10-27T20:00Z", "12"] == pytest.approx(2.75, abs=0.01)
    assert linear["2019-12-01T10:27Z", "12"] == pytest.approx(4.95, abs=0.01)
    assert linear["2019-12-01T10:27Z", "7"] == pytest.approx(5.41, abs=0.01)
    total = rows(tmp_path / "out" / "scores.csv")
    assert tuple(total[0]) == COLUMNS
    assert {row["band"] for row in total} == {"7", "12"}
    assert {row["method"] for row in total} == {"model", "linear", "quadratic", "constant"}  # no band to copy
    both = [
        float(row["rmse"]) ** 2 * int(row["n"]) for row in per_file if (row["method"], row["band"]) == ("linear", "12")
    ]
    count = sum(int(row["n"]) for row in per_file if (row["method"], row["band"]) == ("linear", "12"))
    entry = next(row for row in total if (row["method"], row["band"]) == ("linear", "12"))
    assert float(entry["rmse"]) == pytest.approx(np.sqrt(sum(both) / count), rel=1e-6)
    output = capsys.readouterr().out
    assert "Linear regression is better than the model in bands 7, 12." in output
    assert "Scored on 2 files only: a lead of some percent may be chance." in output
    assert "1 of 3 files were left out" in output  # the one at 20:01 has neither band


@pytest.mark.usefixtures("undrawn")
def test_what_the_headline_says_once(runs, realdata_dir, tmp_path, capsys):
    """Where linear regression is the best baseline, that it is better than the model is said by naming it."""
    words = ("--truth", "source", "--tiles", "h09v03, h10v19", "--baselines", "linear, constant")
    assert evaluate(runs["unequal"], realdata_dir / "l1g", tmp_path / "out", *words) == 0
    output = capsys.readouterr().out
    assert "Elsewhere a baseline is closer: linear regression in bands 7, 12." in output
    assert "Linear regression is better" not in output


@pytest.mark.usefixtures("undrawn")
def test_coincident_files_of_two_satellites(runs, archive, tmp_path):
    assert evaluate(runs["small"], archive, tmp_path / "out", "--days", "33-34", source="G16", target="H8") == 0
    scores = {(row["method"], row["band"]): row for row in rows(tmp_path / "out" / "scores.csv")}
    copied = scores["band_copy", "13"]
    assert int(copied["n"]) == 2 * 300 * 300
    assert float(copied["bias"]) == pytest.approx(-1, abs=0.01) and float(copied["rmse"]) == pytest.approx(1, abs=0.01)
    assert ("band_copy", "2") not in scores  # AHI's green has no partner
    assert float(scores["linear", "2"]["rmse"]) < 2e-4  # an exact line, to the file's precision
    assert float(scores["constant", "13"]["rmse"]) == pytest.approx(8, abs=0.2)
    report = (tmp_path / "out" / "report.html").read_text()
    assert "Fitted on 1 file of H8 (SBAF: on 1 pairs of coincident files" in report
    assert "none of which is scored here" in report
    # a line fitted on pairs is the best there is, but is not what the model is measured against
    assert float(scores["sbaf", "13"]["rmse"]) < 0.02
    assert "A line fitted on coincident pairs, more than the model is given, is closer in bands 3, 13." in report
    assert "SBAF" not in (tmp_path / "out" / "scores.tex").read_text()


@pytest.mark.usefixtures("undrawn")
def test_measured_bands_do_not_count_as_agreement_in_the_latent_space(archive, tmp_path):
    slots = {"G16": (0, 1), "H8": (2, 0, 1)}
    run = save_random_run(tmp_path / "run", SMALL, dim=4, slots=slots, spectral_path="linear")
    assert evaluate(run, archive, tmp_path / "out", "--days", "33", source="G16", target="H8") == 0
    fields = []
    for name in ("G16", "H8"):
        tile = read_tile(next(archive.glob(f"{name}/**/*20190202*.hdf")), bands=SMALL[name])
        fields.append(load(run).translate(tile, "H8", source=name, latent=True)["latent"].values.reshape(-1, 4 + 3))
    first, second = (z[:, :4].astype(np.float64) for z in fields)  # the network's channels come first
    correlation = np.median([np.corrcoef(a, b)[0, 1] for a, b in zip(first.T, second.T, strict=True)])
    size = np.sqrt((np.mean(first**2) + np.mean(second**2)) / 2)
    difference = np.sqrt(np.mean((first - second) ** 2)) / size
    words = f"correlate by {correlation:.3f} (median over channels); the difference is {difference:.2f} of the fields"
    report = html.unescape((tmp_path / "out" / "report.html").read_text())
    assert words in report and f"their size is {size:.3g}, the noise" in report


@pytest.mark.usefixtures("undrawn")
def test_baselines_fitted_on_what_they_are_scored_on_are_called_so(runs, archive, tmp_path):
    assert evaluate(runs["small"], archive, tmp_path / "out", source="G16", target="H8") == 0
    assert "THE SAME FILES THAT ARE SCORED" in (tmp_path / "out" / "report.html").read_text()


def test_baselines_do_not_learn_from_the_targets_view_of_a_scored_scene(runs, tmp_path):
    for satellite, code in (("GOES16", "GO16"), ("GOES17", "GO17")):
        for day in (2, 3, 4):
            folder = tmp_path / satellite / "GEONEX-L1G" / "h09v03" / "2019" / f"{31 + day:03d}"
            folder.mkdir(parents=True)
            (folder / f"{code}_ABI05_2019020{day}_2200_GLBG_h09v03_02.hdf").touch()
    found = find_comparison(load(runs["unequal"]), tmp_path, "G17", "G16", truth="source", days=[34])
    assert [case.source.day_of_year for case in found.cases] == [34] and found.fitted_apart
    assert [file.day_of_year for file in found.fit_files] == [33, 35]


def test_the_report_stands_alone(runs, archive, tmp_path):
    output = tmp_path / "out"
    assert evaluate(runs["small"], archive, output, "--days", "33", source="G16", target="H8") == 0
    report = (output / "report.html").read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', report) and "@import" not in report and "url(" not in report
    names = {path.name for path in (output / "figures").iterdir()}
    assert {"overview.png", "quicklook_1.png", "band02_map_1.png", "band02_scatter.png"} <= names
    assert report.count("<img ") == len(names)
    command = "satxlate evaluate --pictures 1 --checkpoint"
    assert command in report and "--days 33" in report and '"n_res": 1' in html.unescape(report)
    tables = ["details.csv", "figures", "report.html", "scores.csv", "scores.tex", "scores_by_group.csv"]
    assert sorted(path.name for path in output.iterdir()) == [*tables, "scores_per_file.csv", "sums.npz"]


@pytest.mark.usefixtures("undrawn")
def test_an_unreadable_file_is_left_out_and_named(runs, tmp_path, capsys):
    root = make_archive(tmp_path / "archive")
    bad = next((root / "G16").rglob("*_20190202_*.hdf"))
    bad.write_bytes(bad.read_bytes()[:3000])
    assert evaluate(runs["small"], root, tmp_path / "out", source="G16", target="H8") == 0
    assert len({row["file"] for row in rows(tmp_path / "out" / "scores_per_file.csv")}) == 2
    line = next(line for line in capsys.readouterr().out.splitlines() if "files were left out" in line)
    assert line.startswith("1 of 3 files") and bad.name in line and "fetch it again" in line
    assert "1 file left out" in (tmp_path / "out" / "report.html").read_text()


def test_one_line_for_what_cannot_work(runs, archive, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    small, unequal = runs["small"], runs["unequal"]
    for run, root, words, pair, message in (
        (small, empty, (), ("G16", "H8"), "holds no L1G file at all"),
        (small, tmp_path / "nowhere", (), ("G16", "H8"), "is not a folder"),
        (small, archive, (), ("G16", "G17"), "translates between G16, H8, not 'G17'"),
        (small, archive, (), ("H8", "H8"), "both H8"),
        (small, archive, ("--days", "200"), ("G16", "H8"), "no coincident files of G16 and H8"),
        (small, archive, ("--truth", "source"), ("G16", "H8"), "one instrument"),
        (unequal, archive, ("--truth", "source"), ("G16", "G17"), "gives it all of them"),
        (unequal, archive, (), ("G17", "G16"), "no coincident files"),
    ):
        code = evaluate(run, root, tmp_path / "out", *words, source=pair[0], target=pair[1])
        error = capsys.readouterr().err
        assert code == 2 and message in error and error.count("\n") == 1, error
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("undrawn")
def test_the_papers_preset_chooses_its_files(runs, tmp_path, capsys):
    """2019, days 32 to 53, 00:00 UTC; given filters narrow it, none widens it."""
    smooth = (("G16", (2, 13)), ("H8", (2, 3, 13)))
    times = [datetime(2019, 2, 1), datetime(2019, 2, 1, 0, 30), datetime(2019, 2, 22), datetime(2019, 2, 23)]
    write_archive(tmp_path / "l1g", dict(smooth), ["h02v05"], times)
    output = tmp_path / "out"
    pair = {"source": "G16", "target": "H8"}
    assert evaluate(runs["small"], tmp_path / "l1g", output, "--preset", "paper", **pair) == 0
    assert {row["time"] for row in rows(output / "scores_per_file.csv")} == {"2019-02-01T00:00Z", "2019-02-22T00:00Z"}
    narrowed = ("--preset", "paper", "--days", "53-60")
    assert evaluate(runs["small"], tmp_path / "l1g", output, *narrowed, **pair) == 0
    assert {row["time"] for row in rows(output / "scores_per_file.csv")} == {"2019-02-22T00:00Z"}
    assert evaluate(runs["small"], tmp_path / "l1g", output, "--preset", "paper", "--days", "54-60", **pair) == 2
    assert "no coincident files" in capsys.readouterr().err
