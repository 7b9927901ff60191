"""Continuing a run: with which configuration, on which data, from which format it is allowed."""

import json
import shutil
from pathlib import Path

import pytest

from satxlate_jax import load
from satxlate_jax.__main__ import main
from satxlate_jax.checkpoints import Checkpoints
from satxlate_jax.run_card import data_splits
from satxlate_jax.training.starting_state import MAY_CHANGE, NEUTRAL
from tests import tiny_run

STEPS = 2
WORDS = ("--config.validate_every=0", "--config.image_every=0", "--config.histogram_every=0")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data) -> Path:
    run = tmp_path_factory.mktemp("trained")
    assert train(run, data) == 0
    return run


@pytest.fixture
def run(tmp_path, trained) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def train(run: Path, data: Path, *words: str, steps: int = STEPS) -> int:
    command = tiny_run.train_command(run, data, *WORDS, f"--config.steps={steps}", *words)
    return main(["train", *command[4:]])


def rewrite_metadata(run: Path, change) -> None:
    """As an older version would have left the newest checkpoint."""
    checkpoints = Checkpoints(run / "checkpoints")
    step = checkpoints.latest_step()
    metadata, tree = checkpoints.metadata(), checkpoints.restore()
    change(metadata)
    shutil.rmtree(run / "checkpoints")
    checkpoints.save(step, tree, metadata)
    checkpoints.close()


def refusal(capsys, *arguments, **options) -> str:
    capsys.readouterr()
    assert train(*arguments, **options) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("satxlate train: ")]
    return line


def manifest_of(data: Path, satellite: str = "G16") -> Path:
    return data / f"geonex_l1g/{satellite}/1.0.0/manifest.json"


def test_other_records_are_refused_and_may_be_allowed(run, tmp_path, capsys):
    tiny_run.write_records(tmp_path / "other", train=48)
    line = refusal(capsys, run, tmp_path / "other", steps=3)
    assert "split 'train' of G16 was 40 records in 4 shards" in line and "is 48 records in 4 shards" in line
    assert "--allow_other_data" in line and str(run) in line
    assert Checkpoints(run / "checkpoints").latest_step() == STEPS
    assert train(run, tmp_path / "other", "--allow_other_data", steps=3) == 0
    assert "note: continuing on other data: split 'train' of G16 was 40" in capsys.readouterr().out
    assert train(run, tmp_path / "other", steps=4) == 0  # these are its data now
    assert "other data" not in capsys.readouterr().out


def test_a_run_keeps_the_days_or_tiles_of_all_data_that_it_saw(tmp_path, data):
    """Also of those before it went on on others; where some are not told, none are."""

    def note(folder, **splits):
        for satellite in tiny_run.SATELLITES:
            manifest = {"splits": {split: {"examples": 1, "tiles": tiles} for split, tiles in splits.items()}}
            manifest_of(folder, satellite).write_text(json.dumps(manifest | {"selection": {}, "files": {}}))

    def seen(run):
        return data_splits(Checkpoints(run / "checkpoints").metadata())

    run = tmp_path / "run"
    shutil.copytree(data, tmp_path / "first")
    note(tmp_path / "first", train=["h01v01", "h02v01"], validation=["h03v01"], test=["h04v01"])
    assert train(run, tmp_path / "first") == 0
    assert seen(run) == {"train": ["h01v01", "h02v01"], "validation": ["h03v01"]}
    shutil.copytree(run, tmp_path / "on_unknown")
    tiny_run.write_records(tmp_path / "other", train=48)
    assert train(tmp_path / "on_unknown", tmp_path / "other", "--allow_other_data", steps=3) == 0
    assert seen(tmp_path / "on_unknown") == {}
    note(tmp_path / "other", train=["h03v01"], validation=["h05v01"])
    assert train(run, tmp_path / "other", "--allow_other_data", steps=3) == 0
    assert seen(run) == {"train": ["h01v01", "h02v01", "h03v01"], "validation": ["h05v01"]}


def test_as_many_records_in_other_shards_are_refused(run, tmp_path, capsys):
    tiny_run.write_records(tmp_path / "other", shards=5)
    assert "40 records in 5 shards" in refusal(capsys, run, tmp_path / "other", steps=3)


def test_another_selection_or_other_values_are_refused(tmp_path, data, capsys):
    """The build's manifest and statistics tell apart data sets whose shards are as long."""
    for name in ("first", "second"):
        shutil.copytree(data, tmp_path / name)
        content = {"format": 1, "root": f"/{name}", "selection": {"years": [2019], "seed": 0}, "files": {"found": 7}}
        manifest_of(tmp_path / name).write_text(json.dumps(content))
        statistics = {"format": 1, "satellite": "G16", "splits": {"train": {"BAND02": {"mean": 0.5, "std": 1.0}}}}
        manifest_of(tmp_path / name).with_name("statistics.json").write_text(json.dumps(statistics))
    assert train(tmp_path / "run", tmp_path / "first") == 0
    assert train(tmp_path / "run", tmp_path / "second") == 0  # a copy elsewhere is the same
    content["selection"]["years"] = [2020]
    manifest_of(tmp_path / "second").write_text(json.dumps(content))
    line = refusal(capsys, tmp_path / "run", tmp_path / "second")
    assert "the selection's years of G16 was [2019], is [2020]" in line
    manifest_of(tmp_path / "second").unlink()  # a copy without it
    assert train(tmp_path / "run", tmp_path / "second") == 0
    statistics["splits"]["train"]["BAND02"]["mean"] = 0.6
    manifest_of(tmp_path / "second").with_name("statistics.json").write_text(json.dumps(statistics))
    assert "statistics of G16 was" in refusal(capsys, tmp_path / "run", tmp_path / "second")
    manifest_of(tmp_path / "second").write_text("{")
    assert "manifest.json is damaged" in refusal(capsys, tmp_path / "run", tmp_path / "second")


def test_a_checkpoint_without_a_fingerprint_continues_with_one_warning(run, data, capsys):
    rewrite_metadata(run, lambda metadata: metadata.pop("data"))
    assert train(run, data, steps=3) == 0
    output = capsys.readouterr().out
    assert output.count("warning") == 1 and "what data it was trained on" in output
    assert set(Checkpoints(run / "checkpoints").metadata()["data"]) == {"G16", "H8"}
    assert train(run, data, steps=4) == 0
    assert "warning" not in capsys.readouterr().out


def test_a_run_of_the_first_format_continues_and_is_told_of_the_new_order(run, data, capsys):
    def age(metadata):
        metadata["format"] = 1
        del metadata["data"]
        for section, field in (name.split(".") for name in NEUTRAL):
            del metadata["config"][section][field]

    rewrite_metadata(run, age)
    assert train(run, data, steps=3) == 0
    output = capsys.readouterr().out
    (line,) = [line for line in output.splitlines() if line.startswith("note: ")]
    assert "format 1" in line and "order" in line
    assert Checkpoints(run / "checkpoints").metadata()["format"] == 2
    assert train(run, data, steps=4) == 0
    assert "note: " not in capsys.readouterr().out


def test_a_run_of_a_later_format_is_refused(run, data, capsys):
    rewrite_metadata(run, lambda metadata: metadata.update(format=3))
    assert "has format 3, this version knows 2" in refusal(capsys, run, data)


def test_a_field_that_the_checkpoint_does_not_know_may_not_change_what_it_did(run, data, capsys):
    rewrite_metadata(run, lambda metadata: metadata["config"]["optimizer"].pop("warmup_steps"))
    line = refusal(capsys, run, data, "--config.optimizer.warmup_steps=5")
    assert "config.optimizer.warmup_steps was not known, which is as 0, is 5" in line
    assert train(run, data, "--config.optimizer.warmup_steps=0", steps=3) == 0


def test_a_run_with_fields_that_are_no_longer_there_continues_if_they_changed_nothing(run, data, capsys):
    """As every run of 0.1.0 has the first; also one that cannot be continued can be translated with."""

    def rewrite(abreast, pairs):
        def change(metadata):
            metadata["config"]["abreast"], metadata["config"]["objective"]["pairs_per_step"] = abreast, pairs

        rewrite_metadata(run, change)

    rewrite(1, 0)
    assert train(run, data, steps=3) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert ["config.abreast 1" in line for line in lines] == [True, False]
    assert ["config.objective.pairs_per_step 0" in line for line in lines] == [False, True]
    now = Checkpoints(run / "checkpoints").metadata()["config"]
    assert "abreast" not in now and "pairs_per_step" not in now["objective"]
    rewrite(2, 0)
    assert "config.abreast 2, a field that is no longer there; only 1" in refusal(capsys, run, data, steps=4)
    rewrite(1, 6)
    line = refusal(capsys, run, data, "--config.seed=1", steps=4)  # what cannot be undone comes first
    assert "config.objective.pairs_per_step 6" in line and "use config.generator.family = 'spectral_flow'" in line
    assert load(run).step == 3


def test_an_older_run_with_a_field_that_its_variant_ignores_continues(tmp_path, data, capsys):
    """Older versions took any value of such a field; now only its default is allowed."""
    released = "--config.objective.variant=released"
    assert train(tmp_path / "run", data, released) == 0
    rewrite_metadata(tmp_path / "run", lambda metadata: metadata["config"]["objective"].update(recon_kl_w=0.5))
    assert train(tmp_path / "run", data, released, steps=3) == 0


def flat(section, prefix=""):
    for name, value in section.items():
        yield from flat(value, f"{prefix}{name}.") if hasattr(value, "items") else [prefix + name]


def test_every_field_that_the_first_release_lacked_has_a_neutral_value(default_config):
    """A new field of configs/default.py belongs into NEUTRAL (or MAY_CHANGE), not into this list.

    What the section flow says counts for a family that the first release did not have.
    """
    first = """
        seed steps batch_size precision normalization initialization init_from freeze log_every image_every
        histogram_every validate_every validation_batches checkpoint_every keep_last keep_every
        data.dir data.satellites.G16 data.satellites.G17 data.streams data.shuffle_buffer data.augment data.patch_size
        objective.variant objective.gan_type objective.gan_w objective.recon_x_w objective.recon_shared_w
        objective.recon_x_cyc_w objective.recon_z_cyc_w objective.recon_kl_w objective.recon_kl_cyc_w
        objective.cycle_step objective.discriminator_fakes objective.recon_measured_w generator.family generator.dim
        generator.n_downsample generator.n_res generator.activation generator.padding generator.skip_connection
        generator.spectral_path generator.spectral_hidden discriminator.dim discriminator.n_layer discriminator.norm
        discriminator.activation discriminator.padding discriminator.num_scales optimizer.learning_rate
        optimizer.beta1 optimizer.beta2 optimizer.weight_decay optimizer.decay_every optimizer.decay_rate
        optimizer.clip_norm
    """.split()
    config = default_config()
    fields = {field for field in flat(config) if not field.startswith("flow.")}
    assert fields - set(first) - set(NEUTRAL) - MAY_CHANGE == set()
    for field, value in NEUTRAL.items():
        section, name = field.split(".")
        assert config[section][name] == value, "off by default"
