"""A checkpoint comes back bit for bit, or says in one line why not; the last complete one always survives."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from satxlate_jax.checkpoints import CheckpointError, Checkpoints
from satxlate_jax.cli import InputError

PROJECT = Path(__file__).resolve().parent.parent


def _tree(seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    return {
        "generator": {
            "encoders": {"G16": {"kernel": jnp.asarray(rng.normal(size=(3, 3, 2, 4)), jnp.float32)}},
            "prelu": jnp.asarray(rng.normal(), jnp.float32),
        },
        "generator_optimizer": {"count": jnp.int32(seed), "mu": {"kernel": jnp.full((5,), jnp.nan)}, "frozen": {}},
    }


def _assert_same(restored: dict, expected: dict) -> None:
    assert jax.tree.structure(restored) == jax.tree.structure(expected)
    for ours, theirs in zip(jax.tree.leaves(restored), jax.tree.leaves(expected), strict=True):
        assert ours.dtype == theirs.dtype
        assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()


def _save(directory: Path, *steps: int, **options) -> None:
    checkpoints = Checkpoints(directory, **options)
    for step in steps:
        checkpoints.save(step, _tree(step), {"step": step, "order": {"H8": [2, 1], "G16": [16]}})
    checkpoints.close()


def test_a_tree_and_its_facts_come_back_exactly(tmp_path):
    _save(tmp_path / "run" / "checkpoints", 7)
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    assert checkpoints.latest_step() == 7
    _assert_same(checkpoints.restore(), _tree(7))
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(checkpoints.restore()))
    facts = checkpoints.metadata()
    assert facts == {"step": 7, "order": {"H8": [2, 1], "G16": [16]}}
    assert list(facts["order"]) == ["H8", "G16"]


def test_the_newest_and_every_kth_are_kept(tmp_path):
    _save(tmp_path, *range(1, 10), keep_last=2, keep_every=4)
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.steps() == [4, 8, 9]
    _assert_same(checkpoints.restore(4), _tree(4))
    assert checkpoints.metadata(8)["step"] == 8


def test_a_step_that_is_there_is_kept_as_it_is(tmp_path):
    _save(tmp_path, 3)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, _tree(99), {"step": -1})
    checkpoints.close()
    _assert_same(checkpoints.restore(3), _tree(3))


def test_the_saved_values_are_those_of_the_moment_of_saving(tmp_path):
    # The write goes on in the background while the training step reuses the same memory.
    overwrite = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf * 0 - 1, tree), donate_argnums=0)
    tree = {"weights": {str(index): jnp.full((256, 256), float(index)) for index in range(20)}}
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, tree, {})
    for _ in range(3):
        tree = overwrite(tree)
    jax.block_until_ready(tree)
    checkpoints.close()
    restored = checkpoints.restore()["weights"]
    assert all((restored[str(index)] == index).all() for index in range(20))


def test_restoring_like_a_template_gives_sharded_arrays(tmp_path):
    _save(tmp_path, 1)
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), _tree())
    restored = Checkpoints(tmp_path).restore(like=like)
    _assert_same(restored, _tree(1))
    assert all(leaf.sharding == sharding for leaf in jax.tree.leaves(restored))


def test_one_subtree_can_be_read_alone(tmp_path):
    _save(tmp_path, 1)
    checkpoints = Checkpoints(tmp_path)
    _assert_same(checkpoints.restore(only="generator"), _tree(1)["generator"])
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), _tree()["generator"])
    _assert_same(checkpoints.restore(only="generator", like=like), _tree(1)["generator"])
    with pytest.raises(CheckpointError, match="holds no 'discriminator', only generator, generator_optimizer"):
        checkpoints.restore(only="discriminator")


def test_what_does_not_fit_is_named(tmp_path):
    _save(tmp_path, 1)
    checkpoints = Checkpoints(tmp_path)

    more = _tree()
    more["generator"]["encoders"]["H8"] = {"kernel": jnp.zeros(3)}
    with pytest.raises(CheckpointError, match="lacks generator/encoders/H8/kernel"):
        checkpoints.restore(like=more)

    fewer = _tree()
    del fewer["generator"]["prelu"]
    with pytest.raises(CheckpointError, match="not expected: generator/prelu"):
        checkpoints.restore(like=fewer)

    wider = _tree()
    wider["generator"]["encoders"]["G16"]["kernel"] = jnp.zeros((3, 3, 2, 8))
    with pytest.raises(CheckpointError, match=r"kernel is float32\[3, 3, 2, 4\], expected float32\[3, 3, 2, 8\]"):
        checkpoints.restore(like=wider)


def test_a_missing_checkpoint_is_one_clear_line(tmp_path):
    for directory in (tmp_path, tmp_path / "nothing" / "here"):
        checkpoints = Checkpoints(directory)
        assert checkpoints.latest_step() is None
        for read in (checkpoints.restore, checkpoints.metadata):
            with pytest.raises(InputError, match="no complete checkpoint") as caught:
                read()
            assert "\n" not in str(caught.value) and str(directory) in str(caught.value)
    assert not (tmp_path / "nothing").exists(), "reading must write nothing"
    _save(tmp_path, 4)
    with pytest.raises(CheckpointError, match="no checkpoint of step 5; there are 4"):
        Checkpoints(tmp_path).restore(5)


@pytest.mark.parametrize("missing", ["tree/manifest.ocdbt", "tree/_METADATA", "facts/metadata", "tree"])
def test_half_written_steps_are_ignored_then_replaced(tmp_path, missing):
    _save(tmp_path, 1, 2)
    damaged = tmp_path / "2" / missing
    shutil.rmtree(damaged) if damaged.is_dir() else damaged.unlink()
    (tmp_path / "3").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.steps() == [1]
    _assert_same(checkpoints.restore(), _tree(1))
    checkpoints.save(2, _tree(22), {"step": 2})
    checkpoints.close()
    assert checkpoints.steps() == [1, 2]
    _assert_same(checkpoints.restore(2), _tree(22))
    assert not (tmp_path / "3").exists() and (tmp_path / "notes.txt").exists()


def test_a_damaged_array_is_an_error_that_names_the_folder(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"weights": np.ones(9)}, {})  # one array: TensorStore goes on reading the others after an error
    checkpoints.close()
    for data in (tmp_path / "1" / "tree").rglob("d/*"):
        data.write_bytes(b"")
    with pytest.raises(CheckpointError, match="cannot be read") as caught:
        Checkpoints(tmp_path).restore()
    assert str(tmp_path / "1") in str(caught.value) and "\n" not in str(caught.value)


def test_damaged_facts_are_an_error_that_names_the_folder(tmp_path):
    _save(tmp_path, 1)
    (tmp_path / "1" / "facts" / "metadata").write_text('{"step": ')
    with pytest.raises(CheckpointError, match="cannot be read"):
        Checkpoints(tmp_path).metadata()


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    checkpoints = Checkpoints(tmp_path / "file" / "checkpoints")
    with pytest.raises(CheckpointError, match="could not be written") as caught:
        checkpoints.save(1, _tree(), {})
    assert "\n" not in str(caught.value)


FULL_DISK = """
import json, sys
import numpy as np
from satxlate_jax.checkpoints import CheckpointError, Checkpoints
checkpoints = Checkpoints(sys.argv[1])
small = {"weights": np.arange(1000, dtype=np.float32)}
checkpoints.save(1, small, {"step": 1})
checkpoints.wait()
noise = np.random.default_rng(0).normal(size=2_000_000).astype(np.float32)
message = ""
try:
    checkpoints.save(2, {"weights": noise}, {"step": 2})
    checkpoints.close()
except CheckpointError as error:
    message = str(error)
again = Checkpoints(sys.argv[1])
steps, good = again.steps(), bool((again.restore()["weights"] == small["weights"]).all())
again.save(3, small, {"step": 3})
again.close()
print(json.dumps({"message": message, "steps": steps, "good": good, "after": again.steps()}))
"""


def test_a_full_disk_costs_only_the_new_checkpoint(tmp_path):
    # A file system of two megabytes, mounted in a namespace of its own.
    (tmp_path / "disk").mkdir()
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    mount = 'mount -t tmpfs -o size=2m tmpfs "$1" && shift && exec "$@"'
    try:
        subprocess.run([*unshare, "sh", "-c", mount, "sh", tmp_path / "disk", "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this machine cannot mount a small file system without being root ({error})")
    command = [sys.executable, "-c", FULL_DISK, tmp_path / "disk" / "checkpoints"]
    result = subprocess.run(
        [*unshare, "sh", "-c", mount, "sh", tmp_path / "disk", *command], cwd=PROJECT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout.splitlines()[-1])
    assert "the checkpoint of step 1 is complete" in report["message"] and "\n" not in report["message"]
    assert "(no space left on device)" in report["message"], report["message"]
    assert report["steps"] == [1] and report["good"] and report["after"] == [1, 3]
