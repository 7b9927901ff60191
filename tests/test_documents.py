"""What README.md and docs/ tell a user to type: it is there, and it was typed here, with small numbers."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from satxlate_jax.__main__ import SUBCOMMANDS, main
from satxlate_jax.dataset.selection import Selection
from satxlate_jax.instruments import SATELLITES
from satxlate_jax.training.config import BY_SATELLITE, FIELDS, load_config
from tests.documents import (
    DOCUMENTS,
    NARROW,
    PROJECT,
    SMALLER,
    commands,
    inside,
    named_commands,
    named_overrides,
    parse,
    perform,
    texts,
    tutorial,
)

README = DOCUMENTS["README.md"]
EVERY = [(document, command) for document in DOCUMENTS for command in commands(document)]
NAMED = named_commands()

# What no test types, with the reason. Everything else in a document is run below, or by the test that is named.
NOT_RUN = {
    r"python3 -m venv .* -m satxlate_jax demo": "makes an environment; the demo's stages are those of the tutorial",
    r"python -m satxlate_jax demo --output": "its stages are those of the tutorial",
    r"python -m satxlate_jax (simulate|evaluate) .*VIEW_H8": "as the tutorial's, from Himawari-8's place",
    r"python -m satxlate_jax (simulate|evaluate) .*(UNSEEN|VIEW_G18|FINE)": "its options are tested elsewhere",
    r"(python -m satxlate_jax simulate|tfds build) .*SIM\b": "the tutorial's, larger",
    r"(tfds build|for i in) .*(G17_days|2020)": "the band drop's, on files from a bucket",
    r"python -m satxlate_jax evaluate .*SCENE": "as the real benchmark, on other tiles",
    r"python3 -m venv .*pytest": ".ci/run types it",
    r"python3 -m venv .* pip install -e '.\[dev\]'$": "makes an environment, as .ci/run does",
    r"sphinx-build": "tests/test_site.py runs it",
    r"pip install": "changes the environment that the tests are in",
    r".*s3://": "no network; tests/sources read such files from memory",
    r"tensorboard": "serves until it is stopped; tests/test_tensorboard.py reads what it would show",
    r"python -m pytest": "would run itself",
    r"ruff|mypy": "tests/test_house.py runs them",
}
CONTINUED = "tests/training/test_import_torch.py::test_training_goes_on_as_the_release_did"
# the test that types it, or more than it
RUN_ELSEWHERE = {
    r'tfds build "\$\(satxlate path': "tests/test_wheel.py::test_the_demo_in_an_empty_folder",
    r"tfds build .*--config='?{\"name\": ?\"G1._ir": "tests/test_build.py::test_real_tiles_split_by_tile",
    r"tfds build .*FnApiRunner": "datasets/geonex_l1g/geonex_l1g_dataset_builder_test.py::"
    "test_beam_gives_the_same_examples_in_the_same_order_and_the_same_manifest",
    r"python -m satxlate_jax train --config=configs/real_g16g17_ir": "tests/test_configs.py::test_every_file_loads",
    r"python -m satxlate_jax train --config=configs/drop_band_flow": "tests/test_configs.py::test_every_file_loads",
    r"python -m satxlate_jax info RUN": "tests/translation/test_info.py::test_a_run_says_what_it_is",
    r"python -m satxlate_jax translate .*--repair": "tests/translation/test_repair.py::test_files_are_mended",
    r"python -m satxlate_jax bench repair": "tests/benchmarks/test_bench_repair.py::test_repaired_bands_are_scored",
    r"python -m satxlate_jax translate .*--as_instrument": "tests/translation/test_unseen_satellites.py::"
    "test_it_must_be_asked_for",
    r"python -m satxlate_jax translate .*--resolution_km": "tests/translation/test_finer_pixels.py::"
    "test_details_are_those_of_the_finer_bands_and_their_means_the_2_km_translation",
    r"python -m satxlate_jax translate .*--surprise": "tests/translation/test_surprise.py::"
    "test_files_hold_it_where_it_is_asked_for",
    r"python -m satxlate_jax evaluate .*--likelihood": "tests/translation/test_surprise.py::"
    "test_evaluate_tells_how_usual_files_are_and_which_faults_stand_out",
    r"python -m satxlate_jax (translate|evaluate) .*REAL": "tests/evaluation/test_evaluate.py::test_the_real_benchmark",
    r"python -m satxlate_jax quicklook .*REAL": "tests/evaluation/test_pictures.py::"
    "test_a_real_tile_is_drawn_in_every_way_its_bands_allow",
    r"(python -m satxlate_jax|satxlate) tiles ": "tests/sources/test_tiles.py::"
    "test_values_equal_those_of_an_independent_gridder",
    r"python -m satxlate_jax translate .*GRANULES": "tests/sources/test_scenes.py::"
    "test_granules_are_translated_without_tiles_between",
    r"launch/sweep.sh local": "tests/test_launch.py::test_sweeps",
    r"for i in .* evaluate .*DROP": "tests/evaluation/test_evaluate.py::test_the_real_benchmark",
    r"python -m satxlate_jax compare DROPPED": "tests/evaluation/test_compare.py::"
    "test_the_withheld_bands_of_many_runs_in_one_table",
    r"python -m satxlate_jax import-torch": CONTINUED,
    r"python -m satxlate_jax train --config=configs/released": CONTINUED,
    r"python -m satxlate_jax bench train": "tests/benchmarks/test_compile.py::test_bench_train_reports_the_step",
    r"python -m satxlate_jax bench input": "tests/benchmarks/test_bench.py::test_bench_input_on_a_data_set_of_ones_own",
    r"python -m satxlate_jax compile": "tests/benchmarks/test_compile.py::test_the_step_compiles_for_a_small_slice",
}
# the documents whose commands run below, in their order
RUN_HERE = (
    "README.md",
    "docs/tutorial.md",
    "docs/pod.md",
    "docs/your_own_satellite.md",
    "datasets/geonex_l1g/README.md",
)


def is_in(table, command):
    return any(re.match(pattern, command) for pattern in table)


def test_every_command_is_run_or_listed():
    for document, command in EVERY:
        assert document in RUN_HERE or is_in(NOT_RUN, command) or is_in(RUN_ELSEWHERE, command), command


def test_the_lists_hold_nothing_old():
    for pattern in (*NOT_RUN, *RUN_ELSEWHERE):
        assert any(re.match(pattern, command) for _, command in EVERY), pattern
        file, _, name = RUN_ELSEWHERE.get(pattern, "").partition("::")
        assert not file or f"def {name}(" in (PROJECT / file).read_text(), pattern


def test_every_option_exists(capsys):
    """Also of what cannot be run here."""
    wanted: dict[str, set[str]] = {}
    for _, command in EVERY:
        if found := re.search(r"python -m satxlate_jax ((?:bench )?[a-z][a-z-]*)(.*)", command):
            wanted.setdefault(found[1], set()).update(re.findall(r" (--[a-z0-9_-]+)", found[2]))
    for subcommand, options in wanted.items():
        with pytest.raises(SystemExit) as ended:
            main([*subcommand.split(), "--help"])
        assert ended.value.code == 0
        help_text = capsys.readouterr().out
        for option in options - {"--config"}:
            assert option in help_text, f"{subcommand} {option}"


def configuration(words):
    """The words for a configuration, with one that is here instead of one that a user would make."""
    files = [word for word in words if word.startswith("--config=")]
    there = [word for word in files if (PROJECT / word.partition("=")[2].partition(":")[0]).is_file()]
    file = there[0] if there and "released" not in there[0] else "--config=configs/default.py"
    return [file, *(word for word in words if word not in files)]


def test_every_command_that_a_text_names_is_understood(monkeypatch):
    """By the subcommand's own parser and by the configuration's, as it stands there."""
    monkeypatch.chdir(PROJECT)
    for command in {c: None for _, c in NAMED if not c.startswith("tfds")}:
        words = shlex.split(command.removeprefix("python -m satxlate_jax").removeprefix("satxlate"))
        if words[0].startswith("-"):
            continue
        parsed = parse(words)
        if any(word.startswith("--config") for word in parsed.others):
            load_config(configuration(parsed.others))
        else:
            assert not parsed.others, command


def test_every_build_that_a_text_names_is_understood():
    from tensorflow_datasets.scripts.cli.main import _parse_flags

    for command in {c: None for _, c in NAMED if c.startswith("tfds")}:
        config = _parse_flags(shlex.split(command)).command.generation.config
        if config not in {*SATELLITES, "GK2A", "NAME"}:  # GK2A: a document adds it
            wanted = json.loads(config)
            assert wanted.pop("name") and Selection.of(wanted), command


def test_every_override_that_a_text_names_is_understood():
    for word in {word: None for _, word in named_overrides()}:
        load_config([f"--config={PROJECT / 'configs' / 'default.py'}", word])


def test_every_field_that_a_text_names_exists():
    known = {*FIELDS, *BY_SATELLITE}
    sections = {field.rpartition(".")[0] for field in known}
    for text, content in texts().items():
        for field in re.findall(r"(?<![\w./-])config\.([a-z][\w.]*\w)", content):
            place = next((section for section in BY_SATELLITE if field.startswith(f"{section}.")), field)
            if field.split(".")[-1] not in ("py", "yaml", "json", "NAME"):
                assert place in known | sections, f"{text}: config.{field}"


def test_the_collection_finds_what_it_should():
    """It found the known ones: a pattern that matches nothing would pass every test above."""
    commands_found, overrides = dict.fromkeys(c for _, c in NAMED), {word for _, word in named_overrides()}
    for part in (
        "bench input --data",
        "import-torch",
        "compile --config",
        "tfds build datasets/geonex_l1g --config=G16",
    ):
        assert any(part in command for command in commands_found), part
    assert {
        "--config.data.datasets.G16=G16_ir",
        "--config.data.datasets.G16=NAME",
        "--config.data.dir=DATA",
    } <= overrides
    assert {"satxlate_jax/dataset/selection.py", "datasets/geonex_l1g/README.md"} <= {
        text for text, _ in named_overrides()
    }


@pytest.fixture(scope="module")
def folder():
    """Where the tutorial's commands ran, under the names that README uses."""
    folder = tutorial()
    for name, target in {"L1G_ROOT": "l1g", "DATA": "data"}.items():
        (folder / name).symlink_to(folder / "tutorial" / target)
    return folder


def test_the_tutorial(folder):
    """It ran; what it says is there is there."""
    for name in ("catalog/pairs.csv", "statistics/statistics.png", "report/report.html", "report/scores.csv"):
        assert (folder / "tutorial" / name).stat().st_size > 0
    assert list((folder / "tutorial" / "pictures").glob("*.png"))
    assert len(list((folder / "tutorial" / "translated").glob("*_H8.nc"))) == 6


def test_the_workflow_of_the_readme(folder):
    more = {"train": ["--config.steps=0"]}  # random weights translate, too
    with inside(folder):
        for command in commands("README.md"):
            if not is_in(NOT_RUN, command) and not is_in(RUN_ELSEWHERE, command):
                assert perform(command, *more.get(command.split()[3], [])) == 0, command
        assert (folder / "SCORES" / "report.html").exists()


def test_the_python_of_the_readme(folder):
    (code,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (folder / "demo_output").symlink_to(folder / "tutorial")  # the same tiles, a run of the same kind
    with inside(folder):
        names = {}
        exec(code, names)
    assert names["translated"].attrs["satellite"] == "H8" and "BAND02" in names["translated"]


def test_on_a_pod(folder):
    with inside(folder):
        (folder / "RUN").exists() or (folder / "RUN").symlink_to(folder / "tutorial" / "run")
        for command in commands("docs/pod.md"):
            if not is_in(RUN_ELSEWHERE, command):
                assert perform(command.replace("--output OUT", "--output SHARES")) == 0, command
    assert len(list((folder / "SHARES").glob("*_H8.nc"))) == 6


def test_the_data_set(folder):
    with inside(folder):
        for command in commands("datasets/geonex_l1g/README.md"):
            if not is_in(RUN_ELSEWHERE, command):
                assert perform(command) == 0, command


@pytest.mark.slow
def test_your_own_satellite(folder, tmp_path):
    """In a copy of the project, as the document changes it."""
    blocks = re.findall(r"^```python\n(.*?)^```", DOCUMENTS["docs/your_own_satellite.md"], re.MULTILINE | re.DOTALL)
    bands, satellite, config = blocks
    ignore = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info")
    shutil.copytree(PROJECT, tmp_path / "copy", ignore=ignore)
    module = tmp_path / "copy" / "satxlate_jax" / "instruments.py"
    text = module.read_text().replace("\n_EAST = ", f"\n{bands}\n_EAST = ", 1)
    module.write_text(text.replace('            Satellite("H9"', f'{satellite}            Satellite("H9"', 1))
    (tmp_path / "copy" / "configs" / "add_gk2a.py").write_text(config)
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "RUN").symlink_to(folder / "tutorial" / "run")
    code = (
        "from pathlib import Path; from tests.documents import commands, inside, perform; import satxlate_jax\n"
        f"with inside(Path({str(tmp_path / 'place')!r})):\n"
        "    for command in commands('docs/your_own_satellite.md'):\n"
        "        assert perform(command, *['--config.steps=0'] * (' train ' in command)) == 0, command\n"
    )
    copy = tmp_path / "copy"
    environment = os.environ | {"PYTHONPATH": str(copy)}  # the build's own processes read it, too
    done = subprocess.run([sys.executable, "-c", code], cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list((tmp_path / "place" / "OUT").glob("HM08*_GK2A.nc"))) == 3


def test_every_file_named_exists():
    for document, text in DOCUMENTS.items():
        for path in re.findall(r"\]\(((?!http|#)[^)]+)\)", text):
            assert ((PROJECT / document).parent / path.partition("#")[0]).exists(), f"{document}: {path}"
        for path in re.findall(r"(?<!`)configs/(?!add_gk2a)\w+\.py", text):
            assert (PROJECT / path).exists(), f"{document}: {path}"


def test_every_place_named_exists():
    """The rows of CONTRIBUTING's 'Where is it?' name files and fields that are there."""
    table = DOCUMENTS["CONTRIBUTING.md"].partition("## Where is it?")[2]
    default = (PROJECT / "configs" / "default.py").read_text()
    for word in re.findall(r"`([^`]+)`", table):
        if word.endswith((".py", ".sh")):
            assert list(PROJECT.glob(f"{word}")) or list(PROJECT.glob(f"satxlate_jax/**/{word}")), word
        elif word.startswith("config."):
            assert f"{word.removeprefix('config.')} = " in default, word


def test_what_is_made_small_exists():
    assert set(SMALLER) <= set(SUBCOMMANDS) and NARROW


def test_ci_runs_the_readmes_test_command():
    """`.ci/run` finds the command in the README; it is shown here, not run."""
    script = (PROJECT / ".ci" / "run").read_text().replace('eval "$command"', "")
    found = subprocess.run(["bash", "-c", script, PROJECT / ".ci" / "run"], capture_output=True, text=True).stdout
    assert found.strip().removeprefix("+ ") in README.splitlines()
    assert "pytest" in found
