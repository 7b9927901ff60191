"""A path is what it says, for every command: `~` is the home folder, brackets and stars are letters."""

import re
import shlex
import shutil
from datetime import datetime, timedelta

import jax
import pytest

from satxlate_jax import compilation
from satxlate_jax.__main__ import SUBCOMMANDS, main
from satxlate_jax.atomic import PlainPath
from satxlate_jax.benchmarks import BENCHMARKS
from satxlate_jax.checkpoints import Checkpoints
from satxlate_jax.cli import user_path
from satxlate_jax.evaluation.evaluate import PRESETS
from satxlate_jax.evaluation.results import TRUTHS
from satxlate_jax.geometry import PIXELS
from satxlate_jax.models.spectral_flow import SpectralFlow
from satxlate_jax.models.translator import Translator
from tests import tiny_run
from tests.archives import build_data_set, write_archive
from tests.documents import parse
from tests.random_run import save_random_run

# every command, with each of its paths once
COMMANDS = [
    "simulate --output {}",
    "tiles {} --output {}",
    "catalog {} --output {} --pairs {}",
    "statistics {} --output {}",
    "train --workdir {}",
    "compile --topology v5e:2x2",
    "translate {} --checkpoint {} --to H8 --output {} --pairs {}",
    "evaluate --checkpoint {} --l1g {} --source G16 --target G17 --truth_l1g {} --beside {} --output {}",
    "pool {} --output {}",
    "compare {} --output {}",
    "quicklook {} --output {} --against {} --green {}",
    "animate {} --l1g {} --output {}",
    "path configs",
    "info {}",
    "runs --pack {} --output {}",
    "demo --output {}",
    "import-torch {} --config {} --output {}",
    "bench build --l1g {}",
    "bench input --data {}",
    "bench satellites --output {}",
    "bench repair --checkpoint {} --l1g {} --satellite G17",
    "bench train",
    "bench growth",
    "bench logging",
    "bench torch --torch_python {}",
    "bench gpu --output {} --torch_python {}",
    "bench translate",
    "bench evaluate --checkpoint {} --l1g {} --source G16 --target G17",
]
# what an option that is a path puts in its place in --help, and what one that is none does
PLACES = {"DIR", "ROOT", "RUN", "OUT", "FILE", "FILE.png", "CSV", "NC", "YAML", "INPUT", "PART", "CHECKPOINT"}
PLACES |= {"G16,G17 | LIST.csv", "RUN|FILE.hdf|FILE.nc"}
NAME = "a [1]*? b"


def test_every_command_is_there():
    assert {words.split()[0] for words in COMMANDS} == set(SUBCOMMANDS)
    assert {words.split()[1] for words in COMMANDS if words.startswith("bench")} == set(BENCHMARKS)


@pytest.mark.parametrize("words", COMMANDS)
def test_the_home_folder_in_every_option(words, monkeypatch):
    """In a word of its own, as `--x '~/y'`, and behind '=', where a shell leaves it."""
    monkeypatch.setenv("HOME", f"/home/{NAME}")
    paths = [f"~/{number}" for number in range(words.count("{}"))]
    for given in (words, re.sub(r"(--\S+) {}", r"\1={}", words)):
        parsed = parse(given.format(*paths).split())
        values = [value for item in vars(parsed.options).values() for value in (item if type(item) is list else [item])]
        assert {f"/home/{NAME}/{number}" for number in range(len(paths))} <= set(map(str, values))
        assert not any(str(value).startswith("~") for value in values)


@pytest.mark.parametrize("words", COMMANDS)
def test_every_option_that_is_a_path_is_in_the_list(words):
    parser = parse(words.replace("{}", "x").split()).parser
    for action in parser._actions:
        is_path = action.metavar in PLACES or action.dest in ("data", "root", "scores", "output")
        assert (action.type is user_path) == is_path, action.dest
    assert sum(action.type is user_path for action in parser._actions) == words.count("{}")


@pytest.mark.parametrize("text", ["", "~nobody_at_all/x"])
def test_what_names_no_place(text, capsys):
    assert main(["simulate", f"--output={text}"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "--output" in line and ("is empty" in line or "home folder that is not there" in line)


def test_a_path_that_is_searched_is_no_pattern(tmp_path):
    """Also what is made from it: its parents, its children and what it finds."""
    folder = PlainPath(tmp_path) / NAME
    (folder / "in [2]").mkdir(parents=True)
    (folder / "in [2]" / "x.txt").write_text("")
    (PlainPath(tmp_path) / "a 1xy b").mkdir()  # what the name matches as a pattern
    (found,) = folder.glob("in*")
    assert str(found) == str(folder / "in [2]")
    assert [path.name for path in found.glob("*.txt")] == ["x.txt"]
    assert [path.name for path in found.parent.glob("*/x.*")] == ["x.txt"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder whose name could be a pattern; its cache of compiled programs is another's."""
    (tmp_path / NAME).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / NAME))
    monkeypatch.chdir(tmp_path)
    return tmp_path / NAME


@pytest.mark.filterwarnings("ignore:.*BAND:UserWarning")
def test_every_command_in_a_folder_of_any_name(home, tmp_path):
    """What they write is there, what they read is found, and nothing is made elsewhere."""
    bands = {"G16": (8, 16), "G17": (8, 16)}
    times = [datetime(2019, 2, 5, 18) + timedelta(hours=hour) for hour in range(2)]
    write_archive(home / "l1g", bands, ["h09v03"], times)
    save_random_run(home / "run", bands, dim=4)
    scored = "--checkpoint=~/run --l1g=~/l1g --source G16 --target G17 --pictures 0 --baselines band_copy,linear"
    to_g17 = "~/l1g --checkpoint=~/run --to G17 --workers 1"
    for words, made in {
        "catalog ~/l1g --pairs=G16,G17 --output=~/catalog": "catalog/pairs.csv",
        f"translate {to_g17} --pairs=~/catalog/pairs.csv --output=~/out": "out/*_G17.nc",
        f"translate {to_g17} --output ~/zarr --zarr": "zarr/*.zarr",
        f"evaluate {scored} --output=~/scores": "scores/report.html",
        f"evaluate {scored} --part 1/1 --output=~/part": "part/sums.npz",
        "pool ~/part --output=~/pooled": "pooled/scores.csv",
        "compare ~/scores --all_bands --output=~/compared": "compared/comparison.png",
        "quicklook {} --output=~/pictures": "pictures/*.png",
        "animate ~/out --l1g=~/l1g --output=~/film.gif": "film.gif",
        "animate ~/out --l1g=~/l1g --output=~/film.mp4": "film.mp4",
    }.items():
        translated = [str(path) for path in (home / "out").glob("*.nc")][:1]
        parts = [part for word in words.split() for part in (translated if word == "{}" else [word])]
        assert main(parts) == 0, words
        assert list(home.glob(made)), words
    assert len(list((home / "out").glob("*.nc"))) == 2
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_data_set_in_a_folder_of_any_name(home):
    """Built, described, found by training: as `tfds build` does it, which hands on what it was given."""
    write_archive(home / "l1g", {"G16": (8, 16)}, ["h09v03"], [datetime(2020, 5, 1, 18)])
    options = {"name": "G16_small", "satellite": "G16", "bands": [8, 16], "patch_size": 100}
    folder = build_data_set("~/l1g", "~/data", **options)
    assert folder.is_relative_to(home / "data") and (folder / "manifest.json").exists()
    assert main(["statistics", "~/data", "--output=~/statistics"]) == 0
    assert (home / "statistics" / "statistics.csv").exists()


def test_a_run_in_a_folder_of_any_name(home, tmp_path, data):
    """It is kept, continued, each event once, and started from."""
    shutil.copytree(data, home / "data")
    words = ["train", f"--config={tiny_run.__file__}", "--config.data.dir=~/data", "--config.validate_every=0"]
    words += ["--config.image_every=0", "--config.histogram_every=0", "--config.checkpoint_every=2"]
    assert main([*words, "--workdir=~/run", "--config.steps=4"]) == 0
    assert Checkpoints(home / "run" / "checkpoints").steps() == [2, 4]
    shutil.rmtree(home / "run" / "checkpoints" / "4")  # as a kill after step 2 leaves it
    assert main([*words, "--workdir=~/run", "--config.steps=4"]) == 0
    assert [step for step, _ in tiny_run.read_scalars(home / "run")["generator/total"]] == [1, 2, 3, 4]
    assert main([*words, "--workdir=~/other", "--config.steps=0", "--config.init_from=~/run"]) == 0
    assert Checkpoints("~/other/checkpoints").steps() == [0]
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_commands_to_go_on_with_can_be_typed(home, data, capsys):
    """What is printed is quoted for a shell."""
    words = ["train", f"--config={tiny_run.__file__}", f"--config.data.dir={data}"]
    assert main([*words, "--workdir=~/run", "--config.steps=0"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("next: ")]
    typed = shlex.split(line.removeprefix("next: python -m satxlate_jax "))
    assert parse([word.replace("...", "") for word in typed]).options.checkpoint == str(home / "run")


def test_programs_are_not_kept_where_there_would_be_no_end_of_them(home, monkeypatch):
    """JAX makes room in its cache with a pattern, in a folder of such a name never."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        compilation.use_program_cache()
        assert jax.config.jax_compilation_cache_dir is None and not list(home.iterdir())
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_choices_are_those_of_the_modules_that_use_them():
    """options.py imports no library, so it cannot take them from there."""
    common = "--checkpoint a --output b"
    words = f"evaluate {common} --l1g c --source G16 --target G17", f"translate c {common} --to H8"
    evaluate, translate = ({each.dest: each for each in parse(one.split()).parser._actions} for one in words)
    assert set(evaluate["truth"].choices) == set(TRUTHS) and set(evaluate["preset"].choices) == set(PRESETS)
    assert set(evaluate["resolution_km"].choices) == set(translate["resolution_km"].choices) == set(PIXELS)
    assert f"({SpectralFlow.block}; VAE-GAN {Translator.block})" in translate["block"].help
