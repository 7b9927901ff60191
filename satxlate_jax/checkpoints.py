"""Save and restore a run's parameters and metadata; the only module that imports Orbax.

A checkpoint is `<directory>/<step>/{tree,facts}`: `tree` in Orbax's PyTree format, `facts` (the metadata) one JSON
object. Orbax commits a step as a whole: what a killed or failed save left behind is ignored by readers and removed by
the next writer. Reading writes nothing, so a run on a read-only disk can be used.
"""

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict

from satxlate_jax.atomic import PlainPath, write_bytes
from satxlate_jax.cli import InputError

Tree = Mapping[str, Any]

_TREE, _METADATA = "tree", "facts"
# What a complete step must hold beside Orbax's own commit mark, so that a damaged copy of a run is noticed as well.
_REQUIRED_FILES = (f"{_TREE}/_METADATA", f"{_TREE}/manifest.ocdbt", f"{_METADATA}/metadata")


class CheckpointError(InputError):
    """A checkpoint is missing, does not fit, or cannot be read or written."""


class Checkpoints:
    """The checkpoints of one run, newest last; all methods raise CheckpointError for what goes wrong on disk.

    In a run of several processes every process makes the same calls; the directory must be one that all of them see.
    Kept are the newest `keep_last` steps and, if `keep_every` is not 0, those that are multiples of it.
    """

    def __init__(self, directory: str | Path, keep_last: int = 3, keep_every: int = 0):
        self.directory = PlainPath(directory).expanduser()
        if "://" not in str(directory):
            self.directory = self.directory.absolute()  # Orbax refuses relative paths
        self._keep_last, self._keep_every = keep_last, keep_every
        self._manager: ocp.CheckpointManager | None = None

    def steps(self) -> list[int]:
        """The complete steps on disk, ascending."""
        if not self.directory.is_dir():
            return []
        steps = sorted(ocp.utils.checkpoint_steps(self.directory))
        return [step for step in steps if all((self.directory / str(step) / name).exists() for name in _REQUIRED_FILES)]

    def latest_step(self) -> int | None:
        """The newest complete step, or None where there is none."""
        return next(reversed(self.steps()), None)

    def metadata(self, step: int | None = None) -> dict[str, Any]:
        """The JSON object that was saved beside the tree of a step (default: the newest)."""
        path = self._path(step)
        with _reading(path):
            return ocp.JsonCheckpointHandler().restore(path / _METADATA)

    def parts(self, step: int | None = None) -> list[str]:
        """The top-level names of a step's tree (default: the newest)."""
        path = self._path(step)
        with _reader() as reader, _reading(path):
            return list(reader.metadata(path).item_metadata[_TREE].tree)

    def restore(self, step: int | None = None, like: Tree | None = None, only: str | None = None) -> dict[str, Any]:
        """Read a checkpoint's tree, bit for bit as it was saved; CheckpointError also for other leaves than expected.

        Args:
          step: default the newest.
          like: the nested dict expected, its leaves `jax.ShapeDtypeStruct`s (or arrays); those with a sharding come
            back as jax arrays of that sharding, the others as numpy arrays. Default: what is on disk, as numpy.
          only: read this top-level subtree alone, for example 'generator'; `like` is then that subtree.
        """
        path = self._path(step)
        with _reader() as reader:
            with _reading(path):
                found = reader.metadata(path).item_metadata[_TREE].tree
            if only is not None:
                if only not in found:
                    raise CheckpointError(f"{path}: holds no '{only}', only {', '.join(found)}")
                found = {only: found[only]}
            wanted = found if like is None else like if only is None else {only: like}
            check_same_leaves(path, found, wanted)
            types = jax.tree.map(_restore_arguments, wanted)
            arguments = ocp.args.PyTreeRestore(wanted, restore_args=types, partial_restore=True)
            with _reading(path):
                tree = reader.restore(path, args=ocp.args.Composite(**{_TREE: arguments}))[_TREE]
        return tree if only is None else tree[only]

    def save(self, step: int, tree: Tree, metadata: Mapping[str, Any]) -> None:
        """Copy the tree off the devices, then write it and the metadata (JSON) in the background.

        First the save before it is waited for. A step that is already there is kept as it is.
        """
        with self._writing():
            if self._manager is None:
                self._manager = self._open_manager()
            self.wait()
            if step not in self.steps():
                items = {_TREE: ocp.args.PyTreeSave(tree), _METADATA: ocp.args.JsonSave(dict(metadata))}
                self._manager.save(step, args=ocp.args.Composite(**items), force=True)

    def wait(self) -> None:
        """Return when everything saved so far is on disk."""
        if self._manager is not None:
            with self._writing():
                self._manager.wait_until_finished()
                self._manager.check_for_errors()

    def close(self) -> None:
        """Wait as `wait` does and let go of the background threads."""
        manager, self._manager = self._manager, None
        if manager is not None:
            with self._writing():
                manager.close()

    def _path(self, step: int | None) -> epath.Path:
        steps = self.steps()
        if not steps:
            raise CheckpointError(
                f"{self.directory}: no complete checkpoint there; give the --workdir of a training run"
            )
        if step is not None and step not in steps:
            there = ", ".join(map(str, steps))
            raise CheckpointError(f"{self.directory}: no checkpoint of step {step}; there are {there}")
        return self.directory / str(steps[-1] if step is None else step)

    def _open_manager(self) -> ocp.CheckpointManager:
        """Remove what is half-written and open the directory for writing."""
        if jax.process_index() == 0 and self.directory.is_dir():
            complete = {str(step) for step in self.steps()}
            for child in self.directory.iterdir():
                if child.name.isdigit() and child.name not in complete:
                    child.rmtree()
        keep: list[Any] = [ocp.checkpoint_managers.LatestN(self._keep_last)]
        if self._keep_every:
            keep.append(ocp.checkpoint_managers.EveryNSteps(self._keep_every))
        options = ocp.CheckpointManagerOptions(
            preservation_policy=ocp.checkpoint_managers.AnyPreservationPolicy(keep),
            cleanup_tmp_directories=True,
            save_root_metadata=False,
        )
        return ocp.CheckpointManager(self.directory, options=options)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            latest = self.latest_step()
            kept = "no checkpoint is complete yet" if latest is None else f"the checkpoint of step {latest} is complete"
            raise CheckpointError(
                f"{self.directory}: a checkpoint could not be written ({_reason(error)}); {kept}; "
                "free space or fix the folder's permissions, then start the same command again"
            ) from error


class Archive:
    """A run's generator in one npz file, without pickle; its methods are those of `Checkpoints`."""

    def __init__(self, path: Path):
        self.path = path
        with np.load(path, allow_pickle=False) as archive:
            self._leaves = dict(archive)
        self._metadata = json.loads(str(self._leaves.pop("metadata")))

    @staticmethod
    def write(path: Path, tree: Tree, metadata: Mapping[str, Any]) -> None:
        """Write a generator's parameters and the metadata of its checkpoint, atomically."""
        packed = io.BytesIO()
        np.savez_compressed(packed, metadata=np.array(json.dumps(metadata)), **flatten_dict(tree, sep="/"))
        write_bytes(path, packed.getvalue())

    def metadata(self, step: int | None = None) -> dict[str, Any]:
        """The metadata; CheckpointError for another step than the file's."""
        if step not in (None, self._metadata["step"]):
            raise CheckpointError(f"{self.path.stem} has no step {step}, only {self._metadata['step']}")
        return self._metadata

    def parts(self, step: int | None = None) -> list[str]:
        """The generator alone."""
        return ["generator"]

    def restore(self, step: int | None = None, *, like: Tree, only: str = "generator") -> dict[str, Any]:
        """The generator's parameters; CheckpointError where they are not those of `like`."""
        check_same_leaves(self.path, self._leaves, like)
        leaves = flatten_dict(like, keep_empty_nodes=True, sep="/")
        return unflatten_dict(leaves | self._leaves, sep="/")

    def close(self) -> None:
        """Nothing is open."""


def _reader() -> ocp.Checkpointer:
    handlers = {_TREE: ocp.PyTreeCheckpointHandler(), _METADATA: ocp.JsonCheckpointHandler()}
    return ocp.Checkpointer(ocp.CompositeCheckpointHandler(**handlers))


@contextmanager
def _reading(path: epath.Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Orbax and TensorStore raise many kinds; each means an unreadable step
        raise CheckpointError(
            f"{path}: the checkpoint cannot be read ({_reason(error)}); remove that folder to use an older one"
        ) from error


def _restore_arguments(leaf: Any) -> ocp.RestoreArgs:
    sharding = getattr(leaf, "sharding", None)
    if isinstance(sharding, jax.sharding.Sharding):
        return ocp.ArrayRestoreArgs(sharding=sharding, global_shape=leaf.shape, dtype=leaf.dtype)
    return ocp.RestoreArgs(restore_type=np.ndarray)


def check_same_leaves(path: Any, found: Tree, wanted: Tree) -> None:
    """Compare the arrays of two nested dicts by name, shape and type; Orbax returns what is missing without a word.

    CheckpointError names `path` and the first array that is missing in `found`, unexpected, or another.
    """
    ours, theirs = (flatten_dict(tree, sep="/") for tree in (wanted, found))
    for problem, some, others in (("lacks", ours, theirs), ("holds what is not expected:", theirs, ours)):
        if names := [name for name in some if name not in others]:
            many = f"{names[0]} ({len(names)} such arrays)"
            raise CheckpointError(f"{path}: the checkpoint {problem} {many}; another model or version wrote it")
    for name, leaf in ours.items():
        there, here = (f"{np.dtype(each.dtype)}{list(each.shape)}" for each in (theirs[name], leaf))
        if there != here:
            raise CheckpointError(f"{path}: {name} is {there}, expected {here}; another model wrote it")


def _reason(error: BaseException) -> str:
    """The first line of the innermost cause, short enough for one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    if "No space left on device" in str(error):  # TensorStore buries it in a page of its own
        return "no space left on device"
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line if len(line) <= 200 else line[:200] + "..."
