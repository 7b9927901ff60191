"""`evaluate` and `translate` on Apache Beam: the results of one process, in a pipeline's threads and processes."""

import json
from datetime import datetime

import pandas as pd
import pytest
import xarray as xr

from satxlate_jax.__main__ import main
from satxlate_jax.evaluation.report import Plots
from tests.archives import make_deadly, write_archive
from tests.random_run import save_random_run

BANDS = {"G16": (2, 3, 13), "H8": (3, 13)}
RUNNERS = {
    "threads": "runner=FnApiRunner",
    "processes": "runner=FnApiRunner,direct_running_mode=multi_processing,direct_num_workers=2",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run, an archive of four times of which the source's last file is damaged, and its evaluation in one process."""
    folder = tmp_path_factory.mktemp("beam")
    save_random_run(folder / "run", BANDS, dim=4)
    times = [datetime(2019, 1, day, 22) for day in range(1, 5)]
    write_archive(folder / "l1g", BANDS, ["h02v05"], times)
    make_deadly(next((folder / "l1g").rglob("GO16*20190104*")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Plots, "draw", lambda *_: {})
        assert evaluate(folder, "whole") == 0
    return folder


def evaluate(made, output, *words):
    words = ("--checkpoint", made / "run", "--l1g", made / "l1g", "--output", made / output, *words)
    how = ("--source=G16", "--target=H8", "--pictures=0", "--baselines=constant,linear,sbaf", "--samples=2")
    return main(["evaluate", *map(str, words), *how])


@pytest.mark.parametrize("runner", ["threads", pytest.param("processes", marks=pytest.mark.slow)])
def test_an_evaluation_on_beam_has_the_scores_of_one_process(made, runner):
    assert evaluate(made, runner, f"--beam_pipeline_options={RUNNERS[runner]}", "--beam_parts=2") == 0
    for name in ("scores", "scores_per_file", "scores_by_group", "details"):
        whole, parts = (pd.read_csv(made / folder / f"{name}.csv") for folder in ("whole", runner))
        pd.testing.assert_frame_equal(whole, parts, rtol=1e-6, atol=1e-9)
    (failure,) = (made / runner / "failures.jsonl").read_text().splitlines()
    assert "20190104" in json.loads(failure)["file"]


@pytest.mark.parametrize("runner", ["threads", pytest.param("processes", marks=pytest.mark.slow)])
def test_a_translation_on_beam_is_that_of_one_process(made, runner, capsys):
    words = ["translate", "--checkpoint", str(made / "run"), str(made / "l1g"), "--to=H8", "--source=G16"]
    assert main([*words, f"--output={made / 'translated'}"]) == 0
    beam = [f"--output={made / f'translated_{runner}'}", f"--beam_pipeline_options={RUNNERS[runner]}"]
    assert main([*words, *beam, "--beam_parts=3"]) == 0
    assert "3 parts of 4 files, 0 without an output" in capsys.readouterr().out
    expected = sorted((made / "translated").glob("*.nc"))
    assert len(expected) == 3
    for path in expected:
        with xr.open_dataset(path) as one, xr.open_dataset(made / f"translated_{runner}" / path.name) as other:
            xr.testing.assert_allclose(one, other, rtol=1e-6)


def test_parts_of_parts_are_refused(made, capsys):
    assert evaluate(made, "refused", "--beam_pipeline_options=runner=FnApiRunner", "--part=1/2") == 2
    assert "--part" in capsys.readouterr().err and not (made / "refused").exists()
