"""The subcommand `train` through its front door: what it leaves behind, and what it says to a mistake."""

import itertools
import json
import re
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from satxlate_jax.__main__ import main
from satxlate_jax.checkpoints import Checkpoints
from satxlate_jax.instruments import published_statistics
from satxlate_jax.training import sharding
from satxlate_jax.training.build_step import build_train_step
from satxlate_jax.training.loop import TrainingDivergedError, check_finite
from satxlate_jax.training.step import abstract_arguments, jit_train_step
from tests import tiny_run


def _train(run: Path, data: Path, *words: str) -> int:
    return main(["train", *tiny_run.train_command(run, data, *words)[4:]])


def _mistake(capsys, *arguments) -> str:
    """The one line on stderr about a mistake; exit code 2."""
    assert _train(*arguments) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("satxlate train: ")]
    return line


def test_a_checkpoint_says_all_that_is_needed_to_use_it(finished):
    facts = Checkpoints(finished / "checkpoints").metadata()
    assert (
        facts["format"] == 2 and facts["step"] == tiny_run.STEPS and facts["seed"] == 0 and facts["process_count"] == 1
    )
    assert {"jax", "flax", "satxlate-jax", "python"} <= set(facts["versions"])
    assert list(facts["satellites"]) == list(facts["config"]["data"]["satellites"]) == ["G16", "H8"]
    for satellite, bands in tiny_run.SATELLITES.items():
        mean, std = published_statistics(satellite, bands)
        expected = {"bands": list(bands), "mean": mean.tolist(), "std": std.tolist(), "skips": []}
        assert facts["satellites"][satellite] == expected
    assert facts["config"]["generator"]["dim"] == 4 and facts["config"]["data"]["satellites"]["G16"] == [2, 3, 5, 7, 13]
    assert json.loads((finished / "run.json").read_text())["config"] == facts["config"]
    tree = Checkpoints(finished / "checkpoints").restore()
    assert set(tree) == {"generator", "discriminator", "generator_optimizer", "discriminator_optimizer"}
    assert tree["generator_optimizer"]["count"] == tiny_run.STEPS
    assert Checkpoints(finished / "checkpoints").steps() == [42, 49, 50]


def test_training_lowers_the_reconstruction_error(finished):
    losses = [loss for _, loss in tiny_run.read_scalars(finished)["generator/recon"]]
    assert np.mean(losses[-5:]) < 0.99 * np.mean(losses[:5])


def test_the_end_names_the_checkpoint_and_the_next_command(finished, data, capsys):
    assert _train(finished, data, *tiny_run.WORDS) == 0
    output = capsys.readouterr().out
    assert str(finished / "checkpoints" / str(tiny_run.STEPS)) in output
    assert f"next: python -m satxlate_jax translate --checkpoint {finished} --to G16" in output  # it has the most bands


def test_a_changed_configuration_is_refused_naming_the_fields(finished, data, capsys):
    words = (*tiny_run.WORDS, "--config.seed=3", "--config.generator.dim=8", "--config.data.satellites.H8=(3,4)")
    line = _mistake(capsys, finished, data, *words)
    assert "config.seed was 0, is 3" in line and "config.generator.dim was 4, is 8" in line
    assert "config.data.satellites was" in line and str(finished) in line


def test_what_no_step_computes_with_may_change(finished, data):
    words = ("--config.log_every=3", "--config.checkpoint_every=100", "--config.keep_last=9", "--config.image_every=7")
    assert _train(finished, data, f"--config.steps={tiny_run.STEPS}", *words) == 0


def test_missing_data_name_the_command_that_builds_them(tmp_path, capsys):
    line = _mistake(capsys, tmp_path / "run", tmp_path / "nothing")
    assert "tfds build datasets/geonex_l1g" in line and "split_by" in line
    assert not (tmp_path / "run").exists()


def test_a_batch_that_cannot_be_cut_is_refused(tmp_path, data):
    environment = tiny_run.environment(devices=3)
    result = tiny_run.run_training(tiny_run.train_command(tmp_path / "run", data), environment)
    assert result.returncode == 2 and "config.batch_size 8 cannot be cut into 3 equal parts" in result.stderr
    assert "the next that can is 9" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_workdir_that_cannot_be_made_is_refused(tmp_path, data, capsys):
    (tmp_path / "file").write_text("in the way")
    line = _mistake(capsys, tmp_path / "file" / "run", data)
    assert f"--workdir {tmp_path / 'file' / 'run'} cannot be written" in line


def test_a_folder_of_other_tensorboard_files_is_left_alone(tmp_path, data, capsys):
    (tmp_path / "events.out.tfevents.1.other").write_bytes(b"somebody's")
    assert "holds TensorBoard files but is no run" in _mistake(capsys, tmp_path, data)
    assert (tmp_path / "events.out.tfevents.1.other").read_bytes() == b"somebody's"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config.stepz=3"], "stepz"),
        (["--confg=x"], "'confg'"),
        (["--profile=7"], "range of steps"),
        (["--num_processes=2"], "--coordinator is missing"),
    ],
)
def test_a_mistyped_option_is_one_line(words, message, tmp_path, data, capsys):
    try:
        code = _train(tmp_path, data, *words)
    except SystemExit as stop:  # argparse
        code = stop.code
    error = capsys.readouterr().err
    assert code == 2 and message in error and "Traceback" not in error


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(tmp_path, data, capsys):
    words = ("--config.optimizer.learning_rate=1.0", "--config.checkpoint_every=1", "--config.validate_every=0")
    line = _mistake(capsys, tmp_path, data, *words, "--config.image_every=0", "--config.histogram_every=0")
    assert "generator/cycle_recon is inf in step 2" in line and "learning_rate" in line
    assert "the checkpoint of step 1 is of before that" in line and "in a new --workdir" in line
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.steps() == [1]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(checkpoints.restore()))
    assert [step for step, _ in tiny_run.read_scalars(tmp_path)["generator/total"]] == [1]


def test_a_loss_that_is_not_finite_before_the_first_checkpoint(tmp_path, data, capsys):
    """No checkpoint is spoken of where there is none, and the same folder will do."""
    words = ("--config.optimizer.learning_rate=1.0", "--config.checkpoint_every=100", "--config.validate_every=0")
    line = _mistake(capsys, tmp_path, data, *words, "--config.image_every=0", "--config.histogram_every=0")
    assert "no checkpoint had been taken" in line and line.endswith("start again")
    assert Checkpoints(tmp_path / "checkpoints").steps() == []


@pytest.mark.parametrize("off", [{"image_every", "validate_every"}, {"histogram_every"}])
def test_0_is_never(off, tmp_path, data):
    """What is off shows nothing at any step; the others go on."""
    kinds = {"image_every": "images", "histogram_every": "histograms", "validate_every": "scalars"}
    words = ("--config.steps=1", *(f"--config.{name}={int(name not in off)}" for name in kinds))
    assert _train(tmp_path, data, *words) == 0
    shown = set()
    for path in tmp_path.glob("events.out.tfevents.*"):
        for event in EventFileLoader(str(path)).Load():
            values = [value for value in event.summary.value if event.step == 1]
            shown |= {(value.metadata.plugin_data.plugin_name, value.tag.startswith("validation")) for value in values}
    assert {name for name, kind in kinds.items() if (kind, kind == "scalars") in shown} == set(kinds) - off


def test_the_run_to_start_from_is_looked_for_before_the_data(tmp_path, capsys):
    line = _mistake(capsys, tmp_path / "run", tmp_path / "no_data", f"--config.init_from={tmp_path / 'nowhere'}")
    assert "nowhere" in line and "no complete checkpoint" in line and not (tmp_path / "run").exists()


def test_parameters_that_are_not_finite_are_never_saved():
    tree = {"generator": {"bias": jnp.zeros(3), "kernel": jnp.array([1.0, jnp.inf])}, "count": jnp.int32(4)}
    with pytest.raises(TrainingDivergedError, match="generator/kernel is not finite .* in step 7"):
        check_finite(tree, 7)
    check_finite({"generator": {"bias": jnp.zeros(3)}, "count": jnp.int32(4)}, 7)


def test_scratch_yields_to_init_from_and_that_to_the_workdirs_own_checkpoint(tmp_path, data, finished, capsys):
    run, words = tmp_path / "run", (f"--config.init_from={finished}", "--config.steps=0", "--config.log_every=2")
    assert _train(run, data, *words) == 0
    assert f"starting from the weights of {finished}" in capsys.readouterr().out
    ours, theirs = (Checkpoints(folder / "checkpoints").restore() for folder in (run, finished))
    for part in ("generator", "discriminator"):
        assert jax.tree.all(jax.tree.map(lambda mine, yours: (mine == yours).all(), ours[part], theirs[part]))
    assert ours["generator_optimizer"]["count"] == 0
    assert _train(run, data, *words) == 0
    assert "continuing at step 0" in capsys.readouterr().out


# jaxlib's bindings, as Python 3.12 and later see them; as an error it would abort the process
@pytest.mark.filterwarnings("ignore:builtin type event_stats has no __module__ attribute:DeprecationWarning")
def test_a_profile_of_chosen_steps_is_written(tmp_path, data):
    words = ("--config.steps=5", "--profile=2-4", "--config.validate_every=0", "--config.image_every=0")
    result = tiny_run.run_training(tiny_run.train_command(tmp_path / "run", data, *words), tiny_run.environment())
    assert result.returncode == 0, result.stderr
    (path,) = (tmp_path / "run" / "plugins" / "profile").rglob("*.xplane.pb")
    events = [
        event
        for plane in jax.profiler.ProfileData.from_file(str(path)).planes
        for line in plane.lines
        for event in line.events
    ]
    steps = sorted(dict(event.stats)["step_num"] for event in events if event.name == "train")
    assert steps == [2, 3]  # what xprof's step view goes by


def test_operations_are_named_after_what_they_belong_to():
    """In the step as it is handed to the compiler, whose profile shows these names; gradients included."""
    config = tiny_run.get_config()
    config.objective.recon_measured_w = 0.5
    train_step, mesh = build_train_step(config), sharding.make_mesh()
    program = jit_train_step(train_step, mesh).lower(*abstract_arguments(config, train_step, mesh), 1)
    names = set(re.findall(r"\"jit\(step\)/([^\"]*)", program.as_text(debug_info=True)))
    paths = {frozenset(re.split(r"[/()]", name)) for name in names}
    networks = ("encoder", "decoder", "discriminator")
    for network, satellite in itertools.product(networks, ("G16", "H8")):
        assert any({network, satellite} <= path for path in paths), (network, satellite)
        assert any({network, satellite, "transpose"} <= path for path in paths), (network, satellite)
    for term in ("gan", "recon", "shared", "cycle_recon", "cycle_z_recon", "kl", "kl_cyc", "measured", "dis"):
        assert any(term in path for path in paths), term


MOUNT = """
mount -t tmpfs -o size=$1 tmpfs "$2" && mkdir "$2/run" && if [ "$3" = ro ]; then mount -o remount,ro "$2"; fi && shift 3
"$@"; code=$?
[ -d "$DISK/run/checkpoints" ] && cp -r "$DISK/run" "$COPY"
exit $code
"""


def _train_on_a_disk(tmp_path: Path, data: Path, size: str, mode: str, *words: str) -> subprocess.CompletedProcess:
    """Trains in a workdir on a file system of its own, mounted in a namespace of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    try:
        subprocess.run([*unshare, 'mount -t tmpfs tmpfs "$0"', disk], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this machine cannot mount a file system without being root ({error})")
    environment = tiny_run.environment() | {"DISK": str(disk), "COPY": str(tmp_path / "copy")}
    command = tiny_run.train_command(disk / "run", data, *words)
    return tiny_run.run_training([*unshare, MOUNT, "sh", size, str(disk), mode, *command], environment)


def _only_line(result: subprocess.CompletedProcess) -> str:
    assert result.returncode == 2 and "Traceback" not in result.stderr, result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("satxlate train: ")]
    return line


def test_a_read_only_workdir_is_refused(tmp_path, data):
    line = _only_line(_train_on_a_disk(tmp_path, data, "1m", "ro"))
    assert "cannot be written" in line and "ead-only" in line


@pytest.mark.slow
def test_a_full_disk_stops_with_the_last_good_checkpoint(tmp_path, data):
    words = ("--config.steps=500", "--config.checkpoint_every=10", "--config.keep_last=100", "--config.log_every=10")
    result = _train_on_a_disk(tmp_path, data, "2m", "rw", *words, "--config.validate_every=0", "--config.image_every=0")
    line = _only_line(result)
    assert "no space left on device" in line.lower() and "same command again" in line
    checkpoints = Checkpoints(tmp_path / "copy" / "checkpoints")
    assert checkpoints.latest_step() >= 10
    assert checkpoints.restore()["generator_optimizer"]["count"] == checkpoints.latest_step()
