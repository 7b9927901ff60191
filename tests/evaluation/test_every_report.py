"""Every choice of baselines and every number of pictures gives a report, and scores outlive what cannot be drawn."""

import csv
import re
from datetime import datetime

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from satxlate_jax import load, read_tile, write_tile
from satxlate_jax.__main__ import main
from satxlate_jax.archive.catalog import parse_name
from satxlate_jax.evaluation.baselines import BASELINES, SLOW, Baseline
from satxlate_jax.evaluation.case_selection import find_comparison
from satxlate_jax.evaluation.report import Plots, write_report
from satxlate_jax.evaluation.scoring import evaluate
from tests.archives import write_archive
from tests.random_run import save_random_run

DAY = {"G16": (1, 2, 3), "H8": (1, 2, 3)}  # true colour is possible on both sides
KINDS = {
    "by day": (DAY, 40.0),
    "one reflective band": ({"G16": (4,), "H8": (5,)}, 40.0),  # 1.38 and 1.61 um: none is shared
    "no infrared that both have": ({"G16": (1, 2, 3), "H8": (4, 13)}, 40.0),
    "low sun": (DAY, 85.0),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    times = [datetime(2019, 1, day, 22) for day in (1, 2, 3)]
    for kind, (bands, zenith) in KINDS.items():
        save_random_run(folder / kind / "run", bands, dim=4)
        for path in write_archive(folder / kind / "l1g", bands, ["h02v05"], times):
            if zenith != 40.0:
                _set_zenith(path, zenith)
    return folder


def _set_zenith(path, zenith):
    bands = DAY[parse_name(path.name).satellite]
    tile = read_tile(path, bands=bands)
    tile["solar_zenith"] = xr.full_like(tile["solar_zenith"], zenith)
    write_tile(tile, path)


def run(made, output, *words, kind="by day"):
    folders = ["--checkpoint", made / kind / "run", "--l1g", made / kind / "l1g", "--output", output]
    return main(["evaluate", *map(str, folders), "--source", "G16", "--target", "H8", "--days", "1-2", *words])


def check_report(output, pictures):
    report = (output / "report.html").read_text()
    assert "could not be drawn" not in report
    names = {path.name for path in (output / "figures").iterdir()}
    assert report.count("<img ") == len(names)
    assert sum(name.startswith("quicklook") for name in names) == pictures
    return report


FAST = ",".join(name for name in BASELINES if name not in SLOW)


@pytest.mark.parametrize(
    ("kind", "baselines", "pictures"),
    [
        ("by day", "constant", 0),
        ("by day", "quadratic,sbaf", 7),
        ("by day", "band_copy", 1),
        ("by day", "matching,green_cimss", 1),
        ("one reflective band", "none", 1),
        ("one reflective band", FAST, 1),
        ("no infrared that both have", FAST, 1),
        ("low sun", FAST, 1),
    ],
)
def test_every_choice_gives_a_report(kind, baselines, pictures, made, tmp_path):
    assert run(made, tmp_path / "out", "--baselines", baselines, "--pictures", str(pictures), kind=kind) == 0
    report = check_report(tmp_path / "out", min(pictures, 2))
    with (tmp_path / "out" / "scores.csv").open() as file:
        methods = {row["method"] for row in csv.DictReader(file)}
    if kind == "by day":
        assert methods == {"model", *baselines.split(",")}
    # nothing is said of methods that were not scored
    if "linear" not in baselines:
        assert "linear regression" not in report.lower().partition('id="settings"')[0]


def test_each_group_of_pixels_has_its_own_best_baseline_beside_the_model(made, tmp_path):
    assert (
        run(made, tmp_path / "out", "--baselines", "band_copy,linear,quadratic,constant,sbaf", "--pictures", "0") == 0
    )
    with (tmp_path / "out" / "scores_by_group.csv").open() as file:
        scores = {(row["group"], row["method"], row["band"]): float(row["rmse"]) for row in csv.DictReader(file)}
    groups = (tmp_path / "out" / "report.html").read_text().partition('id="groups"')[2]
    head, body = re.search(r"<thead>(.*?)</thead><tbody>(.*?)</tbody>", groups, re.DOTALL).groups()
    names = re.findall(r"<th[^>]*>(.*?)</th>", head)
    assert names[:3] == ["band", "method", "unit"] and {"all", "day"} <= {*names[3:]}
    shown = [re.findall(r'<td(?: data-value="(.*?)"| class="text ?")>([^<]*)', row) for row in body.split("</tr>")[:-1]]
    assert [row[1][1] for row in shown] == ["model", "best unpaired baseline"] * 3
    for row in shown:
        of_model, band = row[1][1] == "model", row[0][1]
        for name, (value, _) in zip(names[3:], row[3:], strict=True):
            methods = ["model"] if of_model else ["band_copy", "linear", "quadratic", "constant"]  # SBAF sees pairs
            wanted = [scores[name, method, band] for method in methods if (name, method, band) in scores]
            assert float(value) == pytest.approx(min(wanted), rel=1e-6)


def test_an_ensemble_without_a_baseline_gives_a_report(made, tmp_path):
    assert run(made, tmp_path / "out", "--baselines", "none", "--pictures", "1", "--samples", "2") == 0
    report = check_report(tmp_path / "out", 1)
    assert "no unpaired baseline has an answer" in report and "within 1 standard deviation" in report


class Silent(Baseline):
    """Without an answer in any band."""

    name, wants = "silent", ()


def test_a_baseline_without_an_answer_gives_a_report(made, tmp_path):
    translator = load(made / "by day" / "run")
    found = find_comparison(translator, made / "by day" / "l1g", "G16", "H8", days=[1])
    (tmp_path / "figures").mkdir()
    results = evaluate(translator, found, [Silent(found.task)], pictures=1)
    assert write_report(results, translator, tmp_path, "satxlate evaluate") == []
    assert "no unpaired baseline has an answer" in check_report(tmp_path, 1)


def test_a_network_without_shared_bands_is_compared_with_the_constant_alone(made):
    """Regressions and the supervised network have no input then, and no answer."""
    root = made / "one reflective band"
    translator = load(root / "run")
    found = find_comparison(translator, root / "l1g", "G16", "H8", days=[1])
    results = evaluate(translator, found, [baseline(found.task) for baseline in BASELINES.values()], pictures=0)
    assert set(results.total["method"]) == {"model", "constant"}
    assert results.ranking["best_name"][5] == "constant" and results.shown_methods == ["model", "constant"]


def test_a_misspelt_baseline_and_none_among_others_are_one_line(made, tmp_path, capsys):
    for words, message in (
        ("magic", "no baseline 'magic'"),
        ("none,linear", "no"),
    ):
        assert run(made, tmp_path / "out", "--baselines", words) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_drawn_costs_only_itself(tmp_path, capsys):
    def broken():
        raise ZeroDivisionError("an <axis> without length")

    def sound():
        figure = Figure(figsize=(1, 1))
        figure.subplots().plot([1, 2])
        return figure

    plots = Plots(tmp_path)
    assert plots.draw("good", sound)["source"].startswith("data:image/webp") and (tmp_path / "good.png").exists()
    words = "bad.png could not be drawn (ZeroDivisionError: an <axis> without length)"
    assert plots.draw("bad", broken) == {"error": words} and plots.failed == ["bad.png"]
    assert words in capsys.readouterr().err
    assert plots.draw("nothing", lambda: None) == {}


def test_scores_outlive_a_figure_that_cannot_be_drawn(made, tmp_path, monkeypatch, capsys):
    """Of all figures one kind fails, as by a fault of the drawing library."""
    from matplotlib.axes import Axes

    def fail(*_, **__):
        raise RuntimeError("no such projection")

    monkeypatch.setattr(Axes, "step", fail)  # of the scatter plots alone
    assert run(made, tmp_path / "out", "--baselines", "constant", "--pictures", "1") == 0
    printed = capsys.readouterr()
    assert "3 figures could not be drawn" in printed.out and "band01_scatter.png could not be drawn" in printed.err
    report = (tmp_path / "out" / "report.html").read_text()
    assert len(re.findall(r"band\d+_scatter.png could not be drawn", report)) == 3
    assert {"overview.png", "quicklook_1.png"} <= {path.name for path in (tmp_path / "out" / "figures").iterdir()}


def test_scores_outlive_a_disk_that_takes_no_figure(made, tmp_path, capsys):
    (tmp_path / "out" / "figures" / "overview.png" / "in the way").mkdir(parents=True)
    assert run(made, tmp_path / "out", "--baselines", "constant", "--pictures", "0") == 2
    assert "cannot write" in (error := capsys.readouterr()).err and "overview.png" in error.err
    assert "the model is" in error.out  # the outcome is said before anything is drawn
    for name in ("scores.csv", "scores_per_file.csv", "scores_by_group.csv", "details.csv", "scores.tex", "sums.npz"):
        assert (tmp_path / "out" / name).stat().st_size > 100
    with (tmp_path / "out" / "scores.csv").open() as file:
        assert np.isfinite([float(row["rmse"]) for row in csv.DictReader(file)]).all()
