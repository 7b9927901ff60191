"""Plain nested dicts and the facts of a run <-> disk.

The only module that imports Orbax, and it knows nothing of the rest of the house. On disk a checkpoint is
`<directory>/<step>/{tree,facts}`: `tree` in Orbax's PyTree format, `facts` one JSON object. A step counts only when
it is complete: Orbax commits a step as a whole, and what a killed or failed save left behind is ignored by readers
and removed by the next writer. Reading writes nothing, so a run on a read-only disk can be used.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from satxlate_jax.atomic import PlainPath
from satxlate_jax.cli import InputError

Tree = Mapping[str, Any]

_TREE, _FACTS = "tree", "facts"
# What a complete step must hold beside Orbax's own commit mark, so that a damaged copy of a run is noticed as well.
_REQUIRED_FILES = (f"{_TREE}/_METADATA", f"{_TREE}/manifest.ocdbt", f"{_FACTS}/metadata")


class CheckpointError(InputError):
    """A checkpoint is missing, does not fit, or cannot be read or written."""


class Checkpoints:
    """The checkpoints of one run, newest last.

    In a run of several processes every process makes the same calls; the directory must be one that all of them see.

    Args:
      directory: where the steps are; made by the first `save`.
      keep_last: how many of the newest steps to keep.
      keep_every: also keep every step that is a multiple of this; 0 keeps none beyond the newest.
    """

    def __init__(self, directory: str | Path, keep_last: int = 3, keep_every: int = 0):
        self.directory = PlainPath(directory).expanduser()
        if "://" not in str(directory):
            self.directory = self.directory.absolute()  # Orbax refuses relative paths
        self._keep_last = keep_last
        self._keep_every = keep_every
        self._manager: ocp.CheckpointManager | None = None

    # ---------------------------------------------------------------- reading

    def steps(self) -> list[int]:
        """The complete steps on disk, ascending."""
        if not self.directory.is_dir():
            return []
        return sorted(step for step in ocp.utils.checkpoint_steps(self.directory) if self._is_complete(step))

    def latest_step(self) -> int | None:
        """The newest complete step, or None where there is none."""
        steps = self.steps()
        return steps[-1] if steps else None

    def facts(self, step: int | None = None) -> dict[str, Any]:
        """What was saved beside the tree.

        Args:
          step: default the newest.

        Raises:
          CheckpointError: there is no such checkpoint, or it cannot be read.
        """
        path = self._path(step)
        try:
            return ocp.JsonCheckpointHandler().restore(path / _FACTS)
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from error

    def parts(self, step: int | None = None) -> list[str]:
        """The top-level names of a checkpoint's tree.

        Args:
          step: default the newest.

        Raises:
          CheckpointError: there is no such checkpoint, or it cannot be read.
        """
        path = self._path(step)
        with _reader() as checkpointer:
            return list(_metadata(checkpointer, path))

    def restore(self, step: int | None = None, like: Tree | None = None, only: str | None = None) -> dict[str, Any]:
        """Reads a checkpoint's tree, bit for bit as it was saved.

        Args:
          step: default the newest.
          like: the nested dict expected, its leaves `jax.ShapeDtypeStruct`s (or arrays); those with a sharding come
            back as jax arrays of that sharding, the others as numpy arrays. Default: what is on disk, as numpy.
          only: read this top-level subtree alone, for example 'generator'; `like` is then that subtree.

        Returns:
          The nested dict (with `only`, that subtree).

        Raises:
          CheckpointError: there is no such checkpoint, it cannot be read, or its leaves are not those of `like`
            in name, shape and type.
        """
        path = self._path(step)
        with _reader() as checkpointer:
            found = _metadata(checkpointer, path)
            if only is not None:
                if only not in found:
                    raise CheckpointError(f"{path}: holds no '{only}', only {', '.join(found)}")
                found = {only: found[only]}
            wanted = found if like is None else like if only is None else {only: like}
            _check_same_leaves(path, found, wanted)
            arguments = ocp.args.PyTreeRestore(
                wanted, restore_args=jax.tree.map(_restore_arguments, wanted), partial_restore=True
            )
            try:
                tree = checkpointer.restore(path, args=ocp.args.Composite(**{_TREE: arguments}))[_TREE]
            except Exception as error:
                raise _unreadable(path, error) from error
        return tree if only is None else tree[only]

    # ---------------------------------------------------------------- writing

    def save(self, step: int, tree: Tree, facts: Mapping[str, Any]) -> None:
        """Copies the tree off the devices, then writes it in the background; first waits for the save before it.

        Args:
          step: the number of training steps done; a step that is already there is kept as it is.
          tree: nested dict of arrays, keys strings.
          facts: what JSON can hold.

        Raises:
          CheckpointError: this save, or the one before it, could not be written.
        """
        try:
            if self._manager is None:
                self._manager = self._open_manager()
            self.wait()
            if step in self.steps():
                return
            items = {_TREE: ocp.args.PyTreeSave(tree), _FACTS: ocp.args.JsonSave(dict(facts))}
            self._manager.save(step, args=ocp.args.Composite(**items), force=True)
        except InputError:
            raise
        except Exception as error:
            raise self._unwritable(error) from error

    def wait(self) -> None:
        """Returns when everything saved so far is on disk.

        Raises:
          CheckpointError: it could not be written.
        """
        if self._manager is None:
            return
        try:
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        except Exception as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Waits as `wait` does and lets go of the background threads."""
        if self._manager is None:
            return
        manager, self._manager = self._manager, None
        try:
            manager.close()
        except Exception as error:
            raise self._unwritable(error) from error

    # ---------------------------------------------------------------- inside

    def _path(self, step: int | None) -> epath.Path:
        steps = self.steps()
        if not steps:
            raise CheckpointError(
                f"{self.directory}: no complete checkpoint there; give the --workdir of a training run"
            )
        if step is None:
            return self.directory / str(steps[-1])
        if step not in steps:
            raise CheckpointError(
                f"{self.directory}: no checkpoint of step {step}; there are {', '.join(map(str, steps))}"
            )
        return self.directory / str(step)

    def _is_complete(self, step: int) -> bool:
        return all((self.directory / str(step) / name).exists() for name in _REQUIRED_FILES)

    def _open_manager(self) -> ocp.CheckpointManager:
        """Removes what is half-written and opens the directory for writing."""
        if jax.process_index() == 0 and self.directory.is_dir():
            complete = {str(step) for step in self.steps()}
            for child in self.directory.iterdir():
                if child.name.isdigit() and child.name not in complete:
                    child.rmtree()
        keep_every = ocp.checkpoint_managers.EveryNSteps(self._keep_every) if self._keep_every else None
        keep_last = ocp.checkpoint_managers.LatestN(self._keep_last)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=ocp.checkpoint_managers.AnyPreservationPolicy(
                [policy for policy in (keep_every, keep_last) if policy is not None]
            ),
            cleanup_tmp_directories=True,
            save_root_metadata=False,
        )
        return ocp.CheckpointManager(self.directory, options=options)

    def _unwritable(self, error: Exception) -> CheckpointError:
        latest = self.latest_step()
        kept = "no checkpoint is complete yet" if latest is None else f"the checkpoint of step {latest} is complete"
        return CheckpointError(
            f"{self.directory}: a checkpoint could not be written ({_reason(error)}); {kept}; "
            "free space or fix the folder's permissions, then start the same command again"
        )


def _reader() -> ocp.Checkpointer:
    handlers = {_TREE: ocp.PyTreeCheckpointHandler(), _FACTS: ocp.JsonCheckpointHandler()}
    return ocp.Checkpointer(ocp.CompositeCheckpointHandler(**handlers))


def _metadata(checkpointer: ocp.Checkpointer, path: epath.Path) -> Tree:
    """What a checkpoint's tree holds, without the values."""
    try:
        return checkpointer.metadata(path).item_metadata[_TREE].tree
    except Exception as error:  # Orbax and TensorStore raise many kinds; each means an unreadable step
        raise _unreadable(path, error) from error


def _restore_arguments(leaf: Any) -> ocp.RestoreArgs:
    sharding = getattr(leaf, "sharding", None)
    if isinstance(sharding, jax.sharding.Sharding):
        return ocp.ArrayRestoreArgs(sharding=sharding, global_shape=leaf.shape, dtype=leaf.dtype)
    return ocp.RestoreArgs(restore_type=np.ndarray)


def _leaves(tree: Tree) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    flat, _ = jax.tree.flatten_with_path(tree)
    return {"/".join(str(key.key) for key in path): (tuple(leaf.shape), np.dtype(leaf.dtype)) for path, leaf in flat}


def _check_same_leaves(path: epath.Path, found: Tree, wanted: Tree) -> None:
    """Orbax would return what is missing as an abstract leaf, without a word."""
    ours, theirs = _leaves(wanted), _leaves(found)
    for problem, names in (
        ("lacks", [name for name in ours if name not in theirs]),
        ("holds what is not expected:", [name for name in theirs if name not in ours]),
    ):
        if names:
            many = f"{names[0]} ({len(names)} such arrays)"
            raise CheckpointError(f"{path}: the checkpoint {problem} {many}; another model or version wrote it")
    for name, (shape, dtype) in ours.items():
        if theirs[name] != (shape, dtype):
            there = f"{theirs[name][1]}{list(theirs[name][0])}"
            raise CheckpointError(f"{path}: {name} is {there}, expected {dtype}{list(shape)}; another model wrote it")


def _unreadable(path: epath.Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path}: the checkpoint cannot be read ({_reason(error)}); remove that folder to use an older one"
    )


def _reason(error: BaseException) -> str:
    """The first line of the innermost cause, short enough for one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    if "No space left on device" in str(error):  # TensorStore buries it in a page of its own
        return "no space left on device"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= 200 else lines[0][:200] + "..."
