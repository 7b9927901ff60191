"""The configurations in configs/ against the published ones, and wrong ones against clear errors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from satxlate_jax.cli import InputError
from satxlate_jax.training.channels import shared_by_pair, skip_channels
from satxlate_jax.training.config import load_config, validate
from satxlate_jax.training.torch_reference import config_from_released_yaml

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def load(name, *words):
    file, _, argument = name.partition(":")
    return load_config([f"--config={CONFIGS / file}.py" + (f":{argument}" if argument else ""), *words])


def flat(config):
    def walk(section, prefix=""):
        for key, value in section.items():
            if isinstance(value, ConfigDict | dict) and prefix + key not in ("data.satellites", "data.shared"):
                yield from walk(value, f"{prefix}{key}.")
            else:
                yield prefix + key, json.loads(json.dumps(value.to_dict() if isinstance(value, ConfigDict) else value))

    return dict(walk(config))


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.py") if path.stem != "released"))
def test_every_file_loads(name):
    config = load(name)
    assert set(flat(config)) == set(flat(load("default"))) | {f for f in flat(config) if f.startswith("data.datasets.")}


def test_the_released_file_loads(fixtures_dir, tmp_path):
    """It takes the release's own YAML; what JSON says is YAML, too."""
    file = tmp_path / "full.yaml"
    file.write_text((fixtures_dir / "full.json").read_text())
    assert flat(load(f"released:{file}")) == flat(config_from_released_yaml(file))


def test_the_base_configurations_are_the_published_ones(fixtures_dir):
    """full.json holds the published two-satellite values; what the release does not know keeps our default."""
    published = flat(config_from_released_yaml(json.loads((fixtures_dir / "full.json").read_text())))
    ours = flat(load("base_g16g17"))
    assert set(ours) == set(published)
    differing = {field for field in ours if ours[field] != published[field]}
    # the released file writes the shared bands out and logs at another step; our objective is the paper's
    assert differing == {"objective.variant", "data.shared"}
    assert shared_by_pair(load("base_g16g17"))["G16"]["G17"] == published["data.shared"]["G16"]["G17"]
    three = flat(load("base_g16g17h8"))
    assert {field for field in three if three[field] != ours[field]} == {"data.satellites"}
    assert list(load("base_g16g17h8").data.satellites) == ["G16", "G17", "H8"]


def test_a_shipped_configuration_is_found_unless_one_of_that_name_is_here(tmp_path, monkeypatch):
    """Only below configs/; its neighbours are the shipped ones, too."""
    monkeypatch.chdir(tmp_path)
    assert flat(load_config(["--config=configs/demo.py"])) == flat(load("demo"))
    assert flat(load_config(["--config=configs/drop_band.py:3"])) == flat(load("drop_band:3"))
    for wrong in ("demo.py", "configs/none.py", "configs/../README.md", "other/configs/demo.py"):
        with pytest.raises(InputError, match=f"cannot read the configuration {wrong}: no such file"):
            load_config([f"--config={wrong}"])
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "demo.py").write_text("from configs.base_flow import get_config\n1 / 0\n")
    with pytest.raises(InputError, match="configs/demo.py fails: ZeroDivisionError"):
        load_config(["--config=configs/demo.py"])


def as_released(config):
    """The data section in the release's form, from our wavelengths."""
    shared = shared_by_pair(config)
    join = lambda numbers: ",".join(map(str, numbers))  # noqa: E731
    return {
        name: {
            "bands": join(number - 1 for number in bands),
            "shared": {other: join(channels) for other, channels in shared[name].items()},
            "dim": len(bands),
        }
        for name, bands in config.data.satellites.items()
    }


@pytest.mark.parametrize("band", range(16))
def test_drop_band_is_the_published_experiment(fixtures_dir, band):
    published = json.loads((fixtures_dir / "drop_individual_configs.json").read_text())[band]
    config = load(f"drop_band:{band}")
    assert as_released(config) == published["data"]
    assert published["model_path"] == f"Band{band}"
    # published as a channel of all 16 bands, 0-based; ours names the band, which every satellite has
    expected = None if published["skip_connection"] is None else published["skip_connection"] + 1
    assert config.generator.skip_connection == expected


@pytest.mark.parametrize("left", range(1, 17))
def test_drop_bands_is_the_published_experiment(fixtures_dir, left):
    published = json.loads((fixtures_dir / "drop_N_configs.json").read_text())
    (published,) = [entry for entry in published if entry["model_path"] == f"N_{left:02d}"]
    config = load(f"drop_bands:{left}")
    assert as_released(config) == published["data"]
    assert config.generator.skip_connection == published["skip_connection"]


@pytest.mark.parametrize("given", [5, (5,), [5], "5"])
def test_a_skip_connection_is_a_band_in_paper_and_a_channel_in_released(given):
    config = load("drop_band:0")
    with config.unlocked():
        config.generator.skip_connection = given
    assert skip_channels(config) == {"G16": [3], "G17": [4], "H8": [4]}  # 1.61 um, wherever it stands
    config.objective.variant = "released"
    assert skip_channels(config) == {"G16": [5], "G17": [5], "H8": [5]}


def test_several_skip_connections_are_found_by_wavelength():
    config = load("base_g16g17h8", "--config.generator.skip_connection=2,13")
    assert skip_channels(config) == {"G16": [1, 12], "G17": [1, 12], "H8": [2, 12]}  # ABI 2 (0.64 um) is AHI 3


@pytest.mark.parametrize(
    ("field", "neutral", "instead"),
    [("abreast", 1, "only 1 is accepted$"), ("objective.pairs_per_step", 0, "0 is accepted; use .* 'spectral_flow'")],
)
def test_a_field_of_an_older_version_is_accepted_at_its_neutral_value_only(field, neutral, instead, tmp_path, capsys):
    file = tmp_path / "mine.py"
    for value in (neutral, neutral + 6):
        lines = "from configs.default import get_config as default", "", "def get_config():", "    config = default()"
        file.write_text("\n".join([*lines, f"    config.{field} = {value}", "    return config"]))
        for words in ([f"--config={file}"], [f"--config={CONFIGS}/demo.py", f"--config.{field}={value}"]):
            if value == neutral:
                assert field not in flat(load_config(words))
                (line,) = capsys.readouterr().err.splitlines()
                assert line.startswith("note: ") and f"config.{field} {neutral}" in line
            else:
                with pytest.raises(InputError, match=f"config.{field} {value}, a field .* no longer there;.*{instead}"):
                    load_config(words)


WRONG = {
    "an unknown activation": ({"generator.activation": "gelu"}, "activation is 'gelu'"),
    "an unknown padding": ({"discriminator.padding": "mirror"}, "padding is 'mirror'"),
    "an unknown norm": ({"discriminator.norm": "group"}, "norm is 'group'"),
    "an unknown variant": ({"objective.variant": "mine"}, "variant is 'mine'"),
    "an unknown loss": ({"objective.gan_type": "wgan"}, "gan_type is 'wgan'"),
    "an unknown initialisation": ({"initialization": "zeros"}, "initialization is 'zeros'"),
    "an unknown family": ({"generator.family": "flow"}, "family is 'flow'"),
    "an odd size with downsampling": ({"generator.n_downsample": 2, "data.patch_size": 30}, "not a multiple of 4"),
    "instance norm on one pixel": (
        {"discriminator.norm": "in", "discriminator.n_layer": 6, "data.patch_size": 64},
        "instance norm",
    ),
    "batch norm of one value": (
        {"discriminator.norm": "bn", "discriminator.n_layer": 6, "batch_size": 1},
        "batch norm of one example",
    ),
    "a discriminator deeper than the patch": ({"discriminator.n_layer": 8}, "sees 1 x 1"),
    "more scales than the patch has": ({"discriminator.num_scales": 7}, "sees 1 x 1"),
    "a reflection wider than the patch": (
        {"generator.padding": "reflect", "data.patch_size": 3, "discriminator.n_layer": 1},
        "too small",
    ),
    "a loss that is to grow": ({"objective.gan_w": -1.0}, "gan_w is -1.0"),
    "no steps between checkpoints": ({"checkpoint_every": 0}, "checkpoint_every is 0"),
    "a stream of nobody": ({"data.streams": ("H8",)}, "names H8"),
    "a skip band that another satellite lacks": ({"generator.skip_connection": 4}, "H8 has no counterpart"),
    "a skip that is no number": ({"generator.skip_connection": "red"}, "skip_connection is 'red'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_work_is_one_clear_line(name):
    fields, message = WRONG[name]
    config = load("base_g16g17h8" if "skip band" in name else "base_g16g17")
    with config.unlocked():
        config.update_from_flattened_dict(fields)
    with pytest.raises(InputError, match=message) as caught:
        validate(config)
    assert "\n" not in str(caught.value)


def with_value(field, value):
    """The default configuration as a plain dict, which takes any value."""
    config = load("base_g16g17").to_dict()
    *sections, name = field.split(".")
    place = config
    for section in sections:
        place = place[section]
    place[name] = value
    return config


DEFAULTS = {field: value for field, value in flat(load("default")).items() if not field.startswith("data.satellites")}
NAN, INFINITE, TOO_MUCH = float("nan"), float("inf"), 10**60


def unfit(value):
    """Values that a field with this default cannot have."""
    if isinstance(value, bool):
        return [None, "yes", 3]
    if isinstance(value, int | float):
        return [NAN, INFINITE, -INFINITE, TOO_MUCH, -1, "many", None, True, (1,)]
    if isinstance(value, str):
        return [None, 3, NAN, ("",)]
    return [3, NAN, "G16", (3,)] if isinstance(value, list) else [NAN, {"a": 1}, -1.5, True]


@pytest.mark.parametrize("field", DEFAULTS)
def test_every_field_is_checked(field):
    for value in unfit(DEFAULTS[field]):
        with pytest.raises(InputError, match=rf"config\.{field}") as caught:
            validate(with_value(field, value))
        assert "\n" not in str(caught.value), value


@pytest.mark.parametrize("field", DEFAULTS)
def test_a_field_that_is_not_there(field):
    config = with_value(field, 0)
    *sections, name = field.split(".")
    place = config
    for section in sections:
        place = place[section]
    del place[name]
    with pytest.raises(InputError, match=rf"lacks config\.{field}"):
        validate(config)


@pytest.mark.parametrize(
    ("field", "meant"),
    [
        ("optimizer.learning_rates", "optimizer.learning_rate"),
        ("step", "steps"),
        ("objective.recon_w", "objective.recon"),
    ],
)
def test_a_field_that_there_is_not(field, meant):
    """A file may set what the command line could not."""
    with pytest.raises(InputError, match=rf"no field config\.{field}, is config\.{meant}"):
        validate(with_value(field, 1))


IN_VAIN = {
    "objective.recon_kl_w": ("objective.variant", "released", 0.02),
    "objective.recon_measured_w": ("objective.variant", "released", 1.0),
    "generator.spectral_hidden": ("generator.spectral_path", "copy", 8),
}


@pytest.mark.parametrize("field", IN_VAIN)
def test_a_field_that_counts_for_nothing(field):
    """It may be as it is by default, and no other value: who set it expects something of it."""
    where, choice, value = IN_VAIN[field]
    config = load("base_g16g17", f"--config.{where}={choice}")
    with config.unlocked():
        config.update_from_flattened_dict({field: value})
    with pytest.raises(InputError, match=rf"{field.split('.')[1]} needs"):
        validate(config)


def test_a_weight_that_the_release_itself_ignores_is_no_mistake(fixtures_dir):
    content = json.loads((fixtures_dir / "g16g17h8.json").read_text())
    content["recon_kl_w"] = 0.5
    assert flat(config_from_released_yaml(content)) == flat(config_from_released_yaml(content | {"recon_kl_w": 0.01}))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"datasets": {"H8": "H8_mine"}}, "datasets names H8"),
        ({"datasets": {"G16": ""}}, "datasets.G16 is ''"),
        ({"datasets": {"G16": 3}}, "datasets.G16 is 3"),
        ({"datasets": "G16_ir"}, "datasets is G16_ir; it must be a section"),
        ({"streams": ("G16", "G16")}, "name each satellite once"),
        ({"shared": {"H8": {"G16": (0,)}}}, "shared names H8"),
        ({"shared": {"G16": {"H8": (0,)}}}, "shared.G16 names H8"),
        ({"shared": {"G16": {"G16": (0,)}}}, "shared.G16 names G16"),
        ({"shared": {"G16": (0, 1)}}, "shared.G16 is"),
        ({"shared": {"G16": {"G17": (16,)}}}, "from 0 to 15"),
        ({"shared": {"G16": {"G17": (1, 1)}}}, "each once"),
        ({"shared": {"G16": {"G17": (0, 1)}}}, "unequal numbers"),
        ({"satellites": {"G16": ("7",)}}, "each of its bands once"),
        ({"satellites": {"G16": 7}}, "each of its bands once"),
        ({"satellites": {"G16": (7.5,)}}, "each of its bands once"),
    ],
)
def test_sections_by_satellite(section, message):
    config = load("base_g16g17").to_dict()
    config["data"] |= section
    with pytest.raises(InputError, match=message) as caught:
        validate(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("satellites", "message"),
    [
        ({}, "names no satellite"),
        ({"G15": (1,)}, "unknown satellite 'G15'"),
        ({"G16": (1, 17)}, "has no band 17"),
        ({"G16": (1, 1)}, "each of its bands once"),
        ({"G16": ()}, "each of its bands once"),
    ],
)
def test_satellites_that_do_not_exist(satellites, message):
    config = load("base_g16g17")
    config.data.satellites = ConfigDict(satellites, sort_keys=False)
    with pytest.raises(InputError, match=message):
        validate(config)


def test_the_file_may_be_a_word_of_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert load_config(["--config", str(CONFIGS / "demo.py"), "--config.steps=3"]).steps == 3


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.py") if path.stem != "released"))
def test_a_data_set_of_another_name_is_an_override(name):
    """An empty section takes it as well as one that has entries."""
    first, *_, last = load(name).data.satellites
    words = f"--config.data.datasets.{first}=FIRST_night", f"--config.data.datasets.{last}", "LAST_night"
    named = load(name, *words).data.datasets
    assert (named[first], named[last]) == ("FIRST_night", "LAST_night")


def test_shared_channels_are_an_override():
    config = load("base_g16g17", "--config.data.shared.G16.G17=(3,5)", "--config.data.shared.G17.G16=(3,5)")
    assert shared_by_pair(config) == {"G16": {"G17": [3, 5]}, "G17": {"G16": [3, 5]}}


@pytest.mark.parametrize("word", ["--config.data.dir", "--config.init_from"])
def test_the_home_folder_in_a_field(word, monkeypatch, tmp_path):
    home = str(tmp_path / "of [mine]")
    monkeypatch.setenv("HOME", home)
    config = load("base_g16g17", f"{word}=~/there")
    assert flat(config)[word.removeprefix("--config.")] == f"{home}/there"
    with pytest.raises(InputError, match="~nobody_at_all"):
        load("base_g16g17", f"{word}=~nobody_at_all/there")


MINE = """
from configs.default import get_config as default_config

def get_config():
    config = default_config()
    config.steps = 7
    return config
"""


@pytest.mark.parametrize(("folder", "around"), [("elsewhere", "project/"), ("configs", ""), ("a [1]*? b", "project/")])
def test_a_configuration_of_ones_own_from_anywhere(folder, around, tmp_path, monkeypatch):
    """It imports the project's, wherever it lies and wherever the command is given, also beside another configs/."""
    (tmp_path / around / folder).mkdir(parents=True)
    (tmp_path / around / folder / "mine.py").write_text(MINE)
    if around and folder != "configs":
        (tmp_path / around / "configs").mkdir()
        (tmp_path / around / "configs" / "__init__.py").write_text("raise SystemExit('another project')")
    monkeypatch.chdir(tmp_path / around)
    code = "import sys; from satxlate_jax.training.config import load_config; print(load_config(sys.argv[1:]).steps)"
    words = [sys.executable, "-c", code, f"--config={folder}/mine.py"]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(CONFIGS.parent)})
    assert done.stdout == "7\n", done.stderr


def test_each_file_means_its_own_neighbours(tmp_path):
    """In a copy of the folder the copy counts; what one file imported is not the next one's."""
    for name, steps in (("one", 11), ("two", 22)):
        (tmp_path / name / "configs").mkdir(parents=True)
        default = (CONFIGS / "default.py").read_text().replace("config.steps = 200_000", f"config.steps = {steps}")
        (tmp_path / name / "configs" / "default.py").write_text(default)
        base = (CONFIGS / "base_g16g17.py").read_text()
        (tmp_path / name / "configs" / "base_g16g17.py").write_text(base)
        assert load_config([f"--config={tmp_path / name / 'configs' / 'base_g16g17.py'}"]).steps == steps
    assert load("base_g16g17").steps == 200_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_config(:", "SyntaxError"),
        ("def get_config():\n    return nothing", "NameError"),
        ("def get_config():\n    return {}['steps']", "KeyError"),
        ("def get_config():\n    pass", "NoneType"),
        ("import nothing_of_that_name", "nothing_of_that_name"),
        (MINE.replace("steps = 7", "optimiser_steps = 7"), "no field config.optimiser_steps"),
    ],
)
def test_mistakes_in_a_file(text, message, tmp_path):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_config([f"--config={tmp_path / 'mine.py'}"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name a configuration: --config="),
        (["--config.data.dir=DATA"], "name a configuration: --config="),
        (["--config=configs/none.py"], "configs/none.py"),
        ([f"--config={CONFIGS / 'demo.py'}", "--config.generator.depth=3"], "has no field depth; configs/default"),
        (
            [f"--config={CONFIGS / 'demo.py'}", "--config.objective.ganw=3"],
            'has no field ganw; Did you mean "gan_w" instead of "ganw"; configs/default',
        ),
        ([f"--config={CONFIGS / 'demo.py'}", "--config.steps=many"], "steps=many"),
        ([f"--config={CONFIGS / 'demo.py'}", "--stepps=3"], "stepps"),
        ([f"--config={CONFIGS / 'drop_band.py'}:16"], "0 to 15"),
        (["--config=configs/none.py"], f"those of the project are in {CONFIGS}"),
        ([f"--config={CONFIGS / 'demo.py'}", "--config.data.datasets.G18=G18_mine"], "names G18"),
        ([f"--config={CONFIGS / 'demo.py'}", "--config.optimizer.learning_rate=nan"], "learning_rate is nan"),
        ([f"--config={CONFIGS / 'drop_bands.py'}:0"], "1 to 16"),
    ],
)
def test_mistakes_on_the_command_line(words, message):
    with pytest.raises(InputError, match=message) as caught:
        load_config(words)
    assert "\n" not in str(caught.value)


class TestReleasedYaml:
    def published(self, fixtures_dir):
        return json.loads((fixtures_dir / "g16g17h8.json").read_text())

    def test_file(self, fixtures_dir, tmp_path):
        path = tmp_path / "config.yaml"
        path.write_text(json.dumps(self.published(fixtures_dir)))  # JSON is YAML
        config = config_from_released_yaml(path)
        assert config.objective.variant == "released"
        assert config.optimizer.learning_rate == 1e-3
        assert list(config.data.satellites) == ["G16", "G17", "H8"]
        np.testing.assert_array_equal(config.data.satellites.H8, range(1, 17))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda c: c.update(colour="red"), "unknown key 'colour'"),
            (lambda c: c["gen"].update(n_blocks=3), "unknown key 'gen.n_blocks'"),
            (lambda c: c["data"]["G16"].update(mean=0), "unknown key 'data.G16.mean'"),
            (lambda c: c.pop("lr"), "'lr' is missing"),
            (lambda c: c.pop("data"), "'data' is missing"),
            (lambda c: c["data"]["G16"].update(dim=3), "data.G16.dim is 3"),
            (lambda c: c["gen"].update(activ="swish"), "activation is 'swish'"),
            (lambda c: c["data"].update(G15=c["data"]["G16"]), "unknown satellite 'G15'"),
        ],
    )
    def test_mistakes(self, fixtures_dir, change, message):
        content = self.published(fixtures_dir)
        change(content)
        with pytest.raises(InputError, match=message):
            config_from_released_yaml(content)

    @pytest.mark.parametrize(
        ("text", "message"),
        [("a: [", "not YAML"), ("- 1\n", "holds no keys"), ("!!python/object:os.system {}", "not YAML")],
    )
    def test_files_that_are_no_configuration(self, tmp_path, text, message):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            config_from_released_yaml(path)

    def test_no_file(self, tmp_path):
        with pytest.raises(InputError, match="cannot read"):
            config_from_released_yaml(tmp_path / "none.yaml")
