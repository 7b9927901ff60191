"""Standard deviations, flags, samples and same-view truth in `evaluate`, with a translator whose errors are known."""

import copy
import csv
import html
from datetime import datetime
from html.parser import HTMLParser

import numpy as np
import pytest

from satxlate_jax import load, read_tile, write_tile
from satxlate_jax.__main__ import main
from satxlate_jax.archive.catalog import parse_name
from satxlate_jax.evaluation.baselines import make_baselines
from satxlate_jax.evaluation.case_selection import find_comparison
from satxlate_jax.evaluation.report import headline, write_report
from satxlate_jax.evaluation.results import read_sums, write_sums, write_tables
from satxlate_jax.evaluation.scoring import evaluate
from satxlate_jax.instruments import get_satellite
from satxlate_jax.translation.flags import flag_extrapolated
from satxlate_jax.translation.translate import TileTranslator
from tests.archives import write_archive
from tests.random_run import save_random_run

BANDS = {"G17": (2, 13), "H8": (2, 3, 13)}
TIMES = [datetime(2019, 2, day, 22) for day in (1, 2, 3)]


class Sure(TileTranslator):
    """Right but for Gaussian errors of 1.5 K in the southern half; in the north of twice what it says, and flagged."""

    def translate(self, tile, to, samples=0, **options):
        made = super().translate(tile, to, **options)
        if hasattr(tile, "dims"):
            mean = float(tile["BAND13"].mean())
            drawn = {**made[["BAND02", "BAND03"]], "BAND13": mean + 1.1 * (tile["BAND13"] - mean)} if samples else {}
            made = made.assign({f"{name}_samples": field.expand_dims("sample") for name, field in drawn.items()})
            random = np.random.default_rng([1, int(tile["time"].dt.day)])
            north = np.arange(300)[:, None] < 150
            error = np.where(north, 3.0, 1.5) * random.standard_normal((300, 300))
            made["BAND13"] = tile["BAND13"] + error.astype(np.float32)
            made["BAND13_std"] = (tile["BAND13"] * 0 + 1.5).astype(np.float32)
            made["BAND13_spread"] = made["BAND13_std"] * 100
            far = np.zeros((300, 300, 3), bool)
            far[..., 1], far[:150, :, 2] = True, True  # of band 3 everywhere, which is not of band 13
            flagged = flag_extrapolated(far, [get_satellite("H8").band(number) for number in BANDS["H8"]])
            made = made.assign({name: (("lat", "lon"), *field) for name, field in flagged.items()})
        return made


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What H8 would see from G17's place is what G17 sees, a rough field; its own files show something else."""
    folder = tmp_path_factory.mktemp("sure")
    save_random_run(folder / "run", BANDS, dim=4)
    for path in write_archive(folder / "l1g", BANDS, ["h02v05"], TIMES):
        file = parse_name(path)
        if file.satellite == "G17":
            tile = read_tile(path, bands=BANDS["G17"])
            tile["BAND13"] += 5 * np.random.default_rng(file.time.day).standard_normal((300, 300)).astype(np.float32)
            write_tile(tile, path)
            seen = tile.rename(BAND02="BAND03").assign(BAND02=0.5 * tile["BAND02"])
            seen.attrs = {"satellite": "H8", "tile": file.tile, "viewpoint": "G17"}
            write_tile(seen, folder / "seen" / path.name.replace("GO17_ABI05", "HM08_AHI05"))
    return folder


def words(made, output, *more, l1g="l1g", truth_l1g="seen", target="H8", source="G17"):
    folders = ["--checkpoint", made / "run", "--l1g", made / l1g, "--output", output]
    pair = ["--source", source, "--target", target, "--truth", "same_view", "--truth_l1g", made / truth_l1g]
    return ["evaluate", *map(str, [*folders, *pair]), "--pictures", "0", "--days", "32-33", *more]


def rows(path):
    with path.open() as file:
        return {(row.get("group"), row["method"], int(row["band"])): row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def results(made, tmp_path_factory):
    """Of two files, written as the command writes them."""
    plain = load(made / "run")
    translator = Sure(plain.params, plain.metadata, plain.run)
    translator.network.is_calibrated = True
    translator.metadata["splits"] = {"G17": {"train": ["2019-031", "2019-032"], "validation": [], "test": ["2019-033"]}}
    how = {"truth": "same_view", "truth_root": made / "seen"}
    found = find_comparison(translator, made / "l1g", "G17", "H8", days=[32, 33], **how)
    output = tmp_path_factory.mktemp("out")
    (output / "figures").mkdir()
    results = evaluate(translator, found, make_baselines(found.task, ["band_copy", "constant"]), pictures=1)
    write_tables(results, output)
    write_sums(results, "run", 7, output)
    assert write_report(results, translator, output, "satxlate evaluate") == []
    return results, output


def test_a_standard_deviation_is_judged_with_its_flags_apart(results):
    groups = rows(results[1] / "scores_by_group.csv")
    inside, flagged, total = (groups[name, "model", 13] for name in ("not extrapolated", "extrapolated", "all"))
    # of a Gaussian, and of one twice as wide
    for row, one, two in ((inside, 0.6827, 0.9545), (flagged, 0.3829, 0.6827)):
        assert float(row["coverage_1sd"]) == pytest.approx(one, abs=0.01)
        assert float(row["coverage_2sd"]) == pytest.approx(two, abs=0.01)
    assert float(inside["crps"]) == pytest.approx(1.5 / np.sqrt(np.pi), rel=0.02)  # what a Gaussian expects of itself
    assert float(inside["mae"]) == pytest.approx(1.5 * np.sqrt(2 / np.pi), rel=0.02)
    mean = (float(inside["crps"]) + float(flagged["crps"])) / 2
    assert float(total["crps"]) == pytest.approx(mean, rel=1e-5) and total["n"] == str(2 * 90_000)
    assert "The model flags 50.0% of the pixels in band 13 as extrapolated." in headline(results[0])
    seen = "1 of 2 scored files is of days or tiles of the run's training data (2019-032)."
    assert seen in headline(results[0]) and seen in headline(read_sums(results[1]))
    copied = groups["all", "band_copy", 13]
    assert float(copied["mae"]) == float(copied["crps"]) == pytest.approx(0, abs=1e-4)
    assert copied["coverage_1sd"] == "nan"


def test_a_lead_over_all_names_the_groups_in_which_there_is_none(results):
    of_all, scores = copy.copy(results[0]), results[0].scores.copy()
    here = (scores["file"] == "") & (scores["band"] == 13)
    is_model, is_far = scores["method"] == "model", scores["group"] == "extrapolated"
    for chosen, rmse in ((~is_model, 2.0), (is_model, 1.0), (is_model & is_far, 3.0)):
        scores.loc[here & chosen, "rmse"] = rmse
    of_all.__dict__ = {name: part for name, part in of_all.__dict__.items() if name not in ("total", "ranking")}
    of_all.__dict__["scores"] = scores
    said = "Among some pixels (Where) a baseline is closer all the same: band 13 (extrapolated)."
    assert said in headline(of_all) and "Among some" not in headline(results[0])


def test_power_of_the_output_and_of_one_sample(results):
    scores, details = rows(results[1] / "scores.csv"), rows(results[1] / "details.csv")
    model, copied = scores[None, "model", 13], scores[None, "band_copy", 13]
    assert float(model["power_ratio_sample"]) == pytest.approx(1.21, rel=0.01)  # of amplitudes 1.1 times the truth's
    noise = (1.5**2 + 3**2) / 2 / 5**2  # white as the truth is, and the window's mean square is even
    assert float(model["power_ratio"]) == pytest.approx(1 + noise, rel=0.03)
    assert model["power_ratio"] == details[None, "model", 13]["sharpness"]
    assert float(details[None, "model", 13]["coherence"]) == pytest.approx((1 + noise) ** -0.5, rel=0.02)
    assert float(copied["power_ratio"]) == pytest.approx(1, rel=1e-3) and copied["power_ratio_sample"] == "nan"


class FirstTable(HTMLParser):
    """Its rows, by head; a number is what scripts sort by. `before` is all text above it."""

    def __init__(self, page):
        super().__init__()
        self.heads, self.rows, self.before, self.cell = [], [], "", None
        self.feed(page.partition("</table>")[0])

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append({})
        if tag in ("th", "td"):
            self.cell = tag, dict(attributes)

    def handle_endtag(self, tag):
        if tag in ("th", "td"):
            self.cell = None

    def handle_data(self, text):
        if self.cell and self.cell[0] == "th":
            self.heads.append(text)
        elif self.cell:
            self.rows[-1][self.heads[len(self.rows[-1])]] = self.cell[1].get("data-value", text)
        elif not self.rows:
            self.before += text


def test_the_first_screen_says_of_each_band_what_the_tables_say(results):
    page = (results[1] / "report.html").read_text()
    table, scores = FirstTable(page), rows(results[1] / "scores.csv")
    assert headline(results[0]) in table.before
    head, *shown = table.rows
    assert not head and [row["band"] for row in shown] == ["2", "3", "13"]
    with (results[1] / "scores_per_file.csv").open() as file:
        files = [row for row in csv.DictReader(file) if row["method"] == "model"]
    columns = {"RMSE": "rmse", "spectral power": "power_ratio", "of one sample": "power_ratio_sample"}
    columns |= {"within 1 SD": "coverage_1sd", "within 2 SD": "coverage_2sd"}
    for row in shown:
        model = scores[None, "model", int(row["band"])]
        for name, column in columns.items():
            assert float(row[name]) == pytest.approx(float(model[column]), rel=1e-6, nan_ok=True)
        each = [float(file["rmse"]) for file in files if file["band"] == row["band"]]
        assert len(each) == 2 and float(row["± over files"]) == pytest.approx(np.std(each, ddof=1), rel=1e-3)
        rivals = {name: scores.get((None, name, int(row["band"]))) for name in ("band_copy", "constant")}
        errors = {name: float(rival["rmse"]) for name, rival in rivals.items() if rival}
        best = min(errors, key=errors.get)
        assert row["best unpaired baseline"] == best.replace("_", " ")
        assert float(row["its RMSE"]) == pytest.approx(errors[best], rel=1e-6)
        given = "given, adjusted" if np.isfinite(float(model["coverage_1sd"] or "nan")) else "given"
        assert row["given or inferred"] == ("inferred" if row["band"] == "2" else given)
        assert row["verdict"].startswith("model worse" if float(row["RMSE"]) > errors[best] else "model better")
    assert float(shown[2]["within 1 SD"]) == pytest.approx((0.6827 + 0.3829) / 2, abs=0.01)
    # inferred bands have their maps first
    found = [page.index(f"band {band}, ") for band in (2, 13, 3)]
    assert found == sorted(found)


def test_the_report_tells_of_it(results):
    report = html.unescape((results[1] / "report.html").read_text())
    for said in (
        "It was calibrated on data left out",
        "would see from G17's place",
        "in band 13 as extrapolated",
        "CRPS",
    ):
        assert said in report
    assert "ensemble members" not in report
    figures = {path.name: path.stat().st_size for path in (results[1] / "figures").iterdir()}
    assert {"reliability.png", "calibration.png"} <= figures.keys()
    assert len(report) < 0.6 * sum(figures.values())  # it was 1.4 times as much, with all of them in it


def test_sums_hold_all_of_it(results):
    found = read_sums(results[1])
    assert found.total.equals(results[0].total) and found.by_group.equals(results[0].by_group)
    gaussian, within = found.distributions["calibration", "model", 13].reliability()
    np.testing.assert_array_less(within[1:-1], gaussian[1:-1])  # too sure, for half of the pixels


def test_an_ensemble_is_called_not_calibrated(made, tmp_path):
    assert main(words(made, tmp_path, "--samples", "2", "--baselines", "constant")) == 0
    report = (tmp_path / "report.html").read_text()
    assert "Not calibrated: it is that of 2 ensemble members" in report and "It was calibrated" not in report
    model = rows(tmp_path / "scores.csv")[None, "model", 13]
    assert float(model["coverage_1sd"]) < 1 and float(model["crps"]) <= float(model["mae"])
    assert model["power_ratio_sample"] == "nan" and model["truth"] == "same_view"


def test_same_view_truth_has_no_parallax(made, tmp_path):
    """Band copy is exact there, and regression; against H8's own view it is not."""
    assert main(words(made, tmp_path / "same", "--baselines", "band_copy,linear")) == 0
    own = words(made, tmp_path / "own", "--baselines", "band_copy,linear")
    at = own.index("--truth")
    assert main(own[:at] + own[at + 4 :]) == 0
    beside = words(made, tmp_path / "both", "--baselines", "band_copy", "--beside", str(tmp_path / "own"))
    assert main(beside) == 0
    report = html.unescape((tmp_path / "both" / "report.html").read_text())
    same, own = (rows(tmp_path / name / "scores.csv") for name in ("same", "own"))
    assert "two viewpoints: RMSE" in report and "price of the other place" in report
    shown = [float(part.split('"')[0]) for part in report.partition("/table")[0].split('data-value="')[1:]]
    for scores in (same, own):
        for method in ("model", "band_copy"):
            assert np.isclose(shown, float(scores[None, method, 13]["rmse"]), rtol=1e-6).any()
    assert float(same[None, "band_copy", 13]["rmse"]) < 1e-3 and float(own[None, "band_copy", 13]["rmse"]) > 4
    assert (same[None, "model", 13]["truth"], own[None, "model", 13]["truth"]) == ("same_view", "target")
    groups = [name for name, method, band in rows(tmp_path / "own" / "scores_by_group.csv") if band == 13]
    assert {"more than 20 degrees apart", "parallax of a pixel or more"} <= set(groups)
    assert not any("apart" in name for name, *_ in rows(tmp_path / "same" / "scores_by_group.csv"))


def test_files_of_another_viewpoint_are_refused_in_one_line(made, tmp_path, capsys):
    own, copy = words(made, tmp_path / "out"), "--baselines=band_copy"
    at = own.index("--truth")
    simulated = tmp_path / "mixed"
    for name in ("l1g", "seen"):
        for path in (made / name).rglob("*.hdf"):
            if (parse_name(path).satellite, name) != ("H8", "l1g"):
                simulated.mkdir(exist_ok=True)
                (simulated / path.name).symlink_to(path)
    mixed = [str(simulated) if word == str(made / "l1g") else word for word in own]
    (tmp_path / "other").mkdir()
    columns = "method,source,target,band,wavelength_um,unit,n,bias,mae,rmse,psnr,ssim,correlation"
    (tmp_path / "other" / "scores.csv").write_text(f"{columns}\nmodel,G17,H8,13,10.4,K,9,1,1,1,1,1,1\n")
    back = words(made, tmp_path / "out", l1g="l1g", source="H8", target="G17", truth_l1g="l1g")
    for arguments, message in (
        (own[:at] + own[at + 4 :] + ["--truth", "same_view"], "go together"),
        (own[:at] + own[at + 2 :], "go together"),
        (words(made, tmp_path / "out", copy, truth_l1g="l1g"), "sees from its own place; as --truth_l1g give what"),
        ([*back, copy], "GO17_ABI05_20190201_2200_GLBG_h02v05_02.hdf shows what G17 sees from its own place"),
        (mixed[:at] + mixed[at + 4 :] + [copy], "shows what H8 sees from G17's place; measured files are --l1g"),
        (mixed[:at] + mixed[at + 4 :] + ["--baselines=constant"], "shows what H8 sees from G17's place"),
        (words(made, tmp_path / "out", truth_l1g="nowhere"), "is not a folder"),
        (words(made, tmp_path / "out", "--beside", str(tmp_path)), "holds no scores.csv"),
        (words(made, tmp_path / "out", "--beside", str(tmp_path / "other")), "is not of G17 to H8, or of a version"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert message in error and error.strip().count("\n") == 0, error
