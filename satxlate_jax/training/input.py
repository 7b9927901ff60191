"""Prepared records -> batches in normalised units, a pure function of (configuration, step, process).

The only file that imports tensorflow, which tells what a data set holds and nothing else: it never sees an accelerator.
Records are read and decoded by threads, some batches ahead; what takes long of that lets other threads run.

Training draws the records of a split epoch after epoch, in an order that depends on (seed, satellite, epoch) and the
shards' lengths alone. Global batch k of B rows is places k B to (k + 1) B - 1 of that endless sequence, so it does not
depend on how many processes share it, a process reads no more than its own rows, and to resume is to begin elsewhere.
Within an epoch whole shards come one after the other, in an order drawn anew, and those that are together for a while
are mixed: so only a few files are read at a time. (The records of all shards were shuffled when they were built.)
"""

import hashlib
import itertools
import json
import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from satxlate_jax.atomic import PlainPath
from satxlate_jax.cli import InputError, user_path
from satxlate_jax.dataset.records import (
    FILE_FORMATS,
    RecordFiles,
    read_bytes_feature,
    read_number_feature,
    scale_and_offset,
)
from satxlate_jax.dataset.selection import DATASET, Selection, describe_build
from satxlate_jax.dataset.statistics import NAME as STATISTICS
from satxlate_jax.dataset.statistics import read_statistics
from satxlate_jax.geometry import PIXELS, TILE_DEGREES, pixel_angles, tile_bounds
from satxlate_jax.instruments import get_satellite
from satxlate_jax.training.channels import carries_angles, satellite_statistics, training_sources

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # which would only announce itself: here are no networks

PREFETCHED_BATCHES = 4
BUILT_PATCH_SIZE = 64  # of the data sets that are named after a satellite
READERS = 16  # threads; they wait for disks most of the time
_WHEN_AND_WHERE = ("year", "dayofyear", "hour", "minute", "row", "column")  # features of a record

Batch = dict[str, np.ndarray]
Draw = tuple[np.ndarray, np.ndarray]  # of a satellite: the numbers of records, and for each the symmetry to apply


def data_metadata(config: Any) -> dict[str, dict[str, Any]]:
    """The part of a checkpoint's metadata that describes the data, see `channels.satellite_statistics`.

    With config.normalization 'dataset' means and deviations are those of the data set's training split; InputError
    where these are missing.
    """
    if config.normalization == "published":
        return satellite_statistics(config)
    return satellite_statistics(config, lambda satellite, bands: stored_statistics(config, satellite))


def training_batches(
    config: Any, start_step: int = 0, *, process_index: int = 0, process_count: int = 1
) -> Iterator[Batch]:
    """Endless unpaired batches of the training split: satellite -> float32 [rows, height, width, band], read-only.

    Batch k of the iterator is that of step `start_step + k`, whatever was drawn before: a run that is resumed sees what
    it would have seen uninterrupted. The rows of all processes together, config.batch_size, are the same for any number
    of processes. Values are in network units.

    Raises:
      InputError: the data set is missing, lacks a band, has another patch size, or holds fewer records than it says.
    """
    rows = _rows_of(config.batch_size, process_index, process_count)
    sources = _open_split(config, "train")
    orders = {
        name: EpochOrder(records.lengths, config.data.shuffle_buffer, config.seed, name)
        for name, records in sources.items()
    }

    def draw(step: int, satellite: str) -> Draw:
        numbers = orders[satellite].records(step * config.batch_size + np.array(rows))
        if not config.data.augment:
            return numbers, np.zeros_like(numbers)
        return numbers, draw_symmetries(config.seed, satellite, step, config.batch_size)[rows]

    draws = ({name: draw(step, name) for name in sources} for step in itertools.count(start_step))
    return _read_ahead(sources, draws)


def validation_batches(config: Any, *, process_index: int = 0, process_count: int = 1) -> Iterator[Batch]:
    """One pass over the validation split, in the order of the records, until a satellite has no whole batch left.

    Otherwise as `training_batches`; InputError also where a satellite cannot fill a single batch.
    """
    rows = _rows_of(config.batch_size, process_index, process_count)
    sources = _open_split(config, "validation")
    for records in sources.values():
        if len(records) < config.batch_size:
            raise InputError(
                f"{records} has {len(records)} examples, fewer than config.batch_size "
                f"({config.batch_size}); build more data, or set config.validate_every=0"
            )
    batches = min(len(records) for records in sources.values()) // config.batch_size
    numbers = (step * config.batch_size + np.array(rows) for step in range(batches))
    return _read_ahead(sources, ({name: (taken, np.zeros_like(taken)) for name in sources} for taken in numbers))


def check_records(config: Any) -> dict[str, dict[str, str]]:
    """The fingerprints of the data sets of satellites that send images; InputError where there is nothing to train."""
    data_metadata(config)
    infos = {name: _read_info(config, name) for name in training_sources(config)}
    for name, info in infos.items():
        check_split(config, name, "train", info)
    return {name: identify(info) for name, info in infos.items()}


def read_splits(config: Any) -> dict[str, dict[str, list[str]]]:
    """Satellite -> split -> its days or tiles, such as '2019-032' or 'h09v03', as far as the builds noted them."""
    found = {}
    for name in training_sources(config):
        splits = _read_manifest(find_folder(config, name)).get("splits", {})
        found[name] = {split: entry.get("days") or entry.get("tiles") or [] for split, entry in splits.items()}
    return found


def _rows_of(batch_size: int, process_index: int, process_count: int) -> range:
    if batch_size % process_count:
        raise InputError(f"config.batch_size ({batch_size}) must be a multiple of the {process_count} processes")
    share = batch_size // process_count
    return range(process_index * share, (process_index + 1) * share)


def _open_split(config: Any, split: str) -> dict[str, "_Records"]:
    """Satellite -> its records, for each that sends images."""
    infos = {name: _read_info(config, name) for name in training_sources(config)}
    return {name: _Records(config, name, split, info) for name, info in infos.items()}


class Examples(NamedTuple):
    """Images of one satellite as `training_batches` gives them, with the day (year * 1000 + day) and tile of each."""

    images: np.ndarray
    days: np.ndarray
    tiles: np.ndarray


def read_examples(config: Any, split: str, most: int) -> dict[str, Examples]:
    """At most so many examples of a split, evenly over its records, of each satellite that sends images and has any."""
    found = {}
    for name in training_sources(config):
        info = _read_info(config, name)
        if split not in info.splits or not info.splits[split].num_examples:
            continue
        records = _Records(config, name, split, info)
        numbers = np.unique(np.linspace(0, len(records) - 1, min(most, len(records))).astype(int))
        draws = [{name: (part, np.zeros_like(part))} for part in np.array_split(numbers, -(-len(numbers) // 64))]
        images = np.concatenate([batch[name] for batch in _read_ahead({name: records}, draws)])
        days, tiles = zip(*map(records.place, numbers), strict=True)
        found[name] = Examples(images, np.array(days), np.array(tiles))
    return found


class _Records:
    """One split of one prepared data set, checked, and how its records become images in network units."""

    def __init__(self, config: Any, satellite: str, split: str, info: Any):
        metadata, angles = data_metadata(config)[satellite], carries_angles(config)
        check_split(config, satellite, split, info)
        self._name = f"split '{split}' of {satellite} in {info.data_dir}"
        paths, self.lengths = info.splits[split].filepaths, tuple(info.splits[split].shard_lengths)
        self._files = RecordFiles(tuple(map(str, paths)), self.lengths, info.file_format.value)
        stored, size, bands = list(info.metadata["bands"]), info.metadata["patch_size"], metadata["bands"]
        self._bands, self._longitude = len(bands), get_satellite(satellite).longitude if angles else None
        self.shape = size, size, len(bands) + 2 * angles
        self._stored_line = size * len(stored)
        scale, offset = scale_and_offset([get_satellite(satellite).band(band) for band in bands])
        scale, offset = scale / metadata["std"], (offset - metadata["mean"]) / np.array(metadata["std"])
        # Bands are innermost. A line of pixels at a time is what numpy does fastest.
        self._scale, self._offset = (np.tile(x.astype(np.float32), size) for x in (scale, offset))
        channels = np.array([stored.index(band) for band in bands])
        self._taken = (np.arange(size)[:, None] * len(stored) + channels).ravel()
        self._takes_all = list(bands) == stored

    def __len__(self) -> int:
        return sum(self.lengths)

    def __str__(self) -> str:
        return self._name

    def read(self, number: int, symmetry: int, out: np.ndarray) -> None:
        """Write a record's image in network units, after one of the square's 8 symmetries, to `out` [h, w, band]."""
        record = self._files.read(number)
        packed = np.frombuffer(read_bytes_feature(record, "patch"), "<u2").reshape(-1, self._stored_line)
        if not self._takes_all:
            packed = packed.take(self._taken, axis=1)
        image = np.multiply(packed, self._scale, dtype=np.float32)
        image += self._offset
        image = image.reshape(*self.shape[:2], self._bands)
        if self._longitude is not None:
            image = np.concatenate([image, self._angles(record, self._longitude)], axis=-1)
        if symmetry & 1:
            image = image[::-1]
        if symmetry & 2:
            image = image[:, ::-1]
        out[:] = image.swapaxes(0, 1) if symmetry & 4 else image

    def place(self, number: int) -> tuple[int, str]:
        """The day (year * 1000 + day of the year) and tile of a record."""
        record = self._files.read(number)
        year, day = (read_number_feature(record, name) for name in ("year", "dayofyear"))
        return year * 1000 + day, read_bytes_feature(record, "tile").decode()

    def _angles(self, record: bytes, satellite_longitude: float) -> np.ndarray:
        numbers = {name: read_number_feature(record, name) for name in _WHEN_AND_WHERE}
        time = datetime(numbers["year"], 1, 1) + timedelta(
            numbers["dayofyear"] - 1, 0, 0, 0, numbers["minute"], numbers["hour"]
        )
        north, west = tile_bounds(read_bytes_feature(record, "tile").decode())
        step, size = TILE_DEGREES / PIXELS[2.0], self.shape[0]
        latitude = north - step * (numbers["row"] + np.arange(size) + 0.5)
        longitude = west + step * (numbers["column"] + np.arange(size) + 0.5)
        return pixel_angles(time, latitude[:, None], longitude[None], satellite_longitude)


def _read_ahead(sources: Mapping[str, _Records], draws: Iterable[Mapping[str, Draw]]) -> Iterator[Batch]:
    """The drawn batches, in order, while the next ones are being read."""
    under_way: deque[tuple[Batch, dict[str, list[Future]]]] = deque()
    pool = ThreadPoolExecutor(READERS, "records")
    try:
        for draw in draws:
            batch, tasks = {}, {}
            for name, records in sources.items():
                numbers, symmetries = draw[name]
                batch[name] = images = np.empty((len(numbers), *records.shape), np.float32)
                tasks[name] = [
                    pool.submit(records.read, *each) for each in zip(numbers, symmetries, images, strict=True)
                ]
            under_way.append((batch, tasks))
            if len(under_way) > PREFETCHED_BATCHES:
                yield _finished(sources, *under_way.popleft())
        while under_way:
            yield _finished(sources, *under_way.popleft())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _finished(sources: Mapping[str, _Records], batch: Batch, tasks: Mapping[str, list[Future]]) -> Batch:
    """Wait for a batch; what is wrong with the records becomes one line."""
    for name, images in batch.items():
        try:
            for task in tasks[name]:
                task.result()
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            complaint = f"{sources[name]} cannot be read as its description says ({reason}); build it again"
            raise InputError(complaint) from error
        images.flags.writeable = False
    return batch


# ---------------------------------------------------------------- order


class EpochOrder:
    """The endless sequence of one satellite's records, in shards of `lengths`.

    About `mixed` records are mixed at a time; a shard is never mixed in parts. Satellites draw independently.
    """

    def __init__(self, lengths: Sequence[int], mixed: int, seed: int, satellite: str):
        self._lengths, self._mixed = np.array(lengths), max(mixed, 1)
        self._name = f"{seed}/{satellite}"
        self._epoch = lru_cache(maxsize=2)(self._draw_epoch)

    def records(self, places: np.ndarray) -> np.ndarray:
        """The numbers of the records at some places of the sequence, int64 [place]."""
        epochs, within = np.divmod(places, self._lengths.sum())
        numbers = np.empty_like(places)
        for epoch in np.unique(epochs):
            numbers[epochs == epoch] = self._epoch(int(epoch))[within[epochs == epoch]]
        return numbers

    def _draw_epoch(self, epoch: int) -> np.ndarray:
        draws = random_numbers(f"{self._name}/epoch {epoch}", len(self._lengths) + int(self._lengths.sum()))
        shards, records = np.split(draws, [len(self._lengths)])
        shards = np.argsort(shards, kind="stable")
        begins = np.empty_like(self._lengths)
        begins[shards] = np.cumsum(self._lengths[shards]) - self._lengths[shards]
        windows = np.repeat(begins // self._mixed, self._lengths)
        return np.lexsort((records, windows))


def draw_symmetries(seed: int, satellite: str, step: int, batch_size: int) -> np.ndarray:
    """For each row of a global batch which of the square's eight symmetries to apply, 0 to 7."""
    return random_numbers(f"{seed}/{satellite}/turns {step}", batch_size) % 8


def random_numbers(name: str, count: int) -> np.ndarray:
    """Numbers that depend on a name alone, uint64 [count]: the same on every machine and in every version of NumPy."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    return np.random.Philox(key=key).random_raw(count)


# ---------------------------------------------------------------- data sets


def find_folder(config: Any, satellite: str) -> str:
    """The folder of a satellite's data set, in its newest version; InputError says how to build it where it is not."""
    folder = _data_root(config) / DATASET / _dataset_name(config, satellite)
    versions = [path.parent for path in folder.glob("*/dataset_info.json")] if folder.exists() else []
    if not versions:
        ways = ["set config.data.dir", *_name_others(config, satellite)]
        ways.append(f"train a configuration without {satellite} (docs/configurations.md)")
        options = f"datasets/{DATASET}/README.md has further options; tiles of a few days want split_by"
        how = f"build it ({options}): {_build_command(config, satellite)}"
        raise InputError(f"no data set of {satellite} in {folder}; {', '.join(ways)}, or {how}")
    return str(max(versions, key=lambda path: [int(part) for part in path.name.split(".") if part.isdecimal()]))


def _name_others(config: Any, satellite: str) -> Iterator[str]:
    """How to train on data sets of a satellite that are there under other names, or what they lack."""
    for folder in sorted({path.parent for path in (_data_root(config) / DATASET).glob("*/*/dataset_info.json")}):
        built = _read_manifest(folder).get("selection", {})
        if built.get("satellite") != get_satellite(satellite).name:
            continue
        name, wanted = folder.parent.name, set(config.data.satellites[satellite])
        if absent := sorted(wanted - set(built["bands"])):
            yield f"train a configuration without band {', '.join(map(str, absent))} of {satellite}, as {name} has none"
        else:
            yield f"take {name} with --config.data.datasets.{satellite}={name}"


def _read_info(config: Any, satellite: str) -> Any:
    """A data set's description, a tfds.core.DatasetInfo."""
    import tensorflow as tf  # here, because the training step is taken without as well
    import tensorflow_datasets as tfds

    for kind in ("GPU", "TPU"):  # accelerators belong to jax; tensorflow would otherwise take all their memory
        tf.config.set_visible_devices([], kind)
    folder = find_folder(config, satellite)
    with warnings.catch_warnings():  # tfds asks protobuf for something that protobuf will rename
        warnings.simplefilter("ignore", DeprecationWarning)
        return tfds.builder_from_directory(folder).info


def check_split(config: Any, satellite: str, split: str, info: Any) -> None:
    """InputError where a split of an `info` (tfds.core.DatasetInfo) is not what the configuration needs, or empty."""
    folder, wanted_size = str(info.data_dir), config.data.patch_size
    stored_bands, patch_size = info.metadata["bands"], info.metadata["patch_size"]
    built_of, origin = get_satellite(info.metadata["satellite"]).name, get_satellite(satellite).name
    if built_of != origin:
        raise InputError(
            f"the data set {folder} is of {built_of}, training wants one of {origin} there; "
            f"check config.data.dir and config.data.datasets.{satellite}"
        )
    absent = [band for band in config.data.satellites[satellite] if band not in stored_bands]
    problem, how = "", "build another: "
    if absent:
        problem = f"lacks band {absent[0]} of {satellite}, it has {list(stored_bands)}"
    elif patch_size != wanted_size:
        problem = f"has patches of {patch_size} pixels, config.data.patch_size is {wanted_size}"
        how = f"change that, or {how}"
    elif info.file_format.value not in FILE_FORMATS:
        problem = f"is {info.file_format.value}, training reads {' and '.join(FILE_FORMATS)}"
    if problem:
        raise InputError(f"the data set {folder} {problem}; {how}{_build_command(config, satellite, folder)}")
    if split not in info.splits or not info.splits[split].num_examples:
        raise InputError(_why_empty(config, satellite, split, folder))


def identify(info: Any) -> dict[str, str]:
    """The fingerprint of the data set of an `info` (tfds.core.DatasetInfo), wherever it lies and the archive lay.

    Name -> value, in words that a difference can be told in: the shards and, where the build's manifest and statistics
    are there, what was selected of which files and the statistics' digest. InputError where these cannot be read.
    """
    found = {}
    for name, split in info.splits.items():
        lengths = list(split.shard_lengths)
        found[f"split '{name}'"] = f"{sum(lengths)} records in {len(lengths)} shards ({_digest(lengths)})"
    folder = PlainPath(info.data_dir)
    if content := _read_manifest(folder):
        found |= {f"the selection's {name}": json.dumps(value) for name, value in content["selection"].items()}
        found["the number of files"] = ", ".join(f"{count} {what}" for what, count in content["files"].items())
    if (folder / STATISTICS).exists():
        found["the digest of the statistics"] = _digest(read_statistics(folder))
    return found


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def stored_statistics(config: Any, satellite: str) -> tuple[np.ndarray, ...]:
    """Mean and deviation [band], in each band's unit, of a data set's training split; InputError where it has none."""
    folder = PlainPath(find_folder(config, satellite))
    stored = read_statistics(folder)["splits"].get("train")
    if stored is None:
        raise InputError(_why_empty(config, satellite, "train", folder))
    chosen = []
    for number in config.data.satellites[satellite]:
        band = stored.get(get_satellite(satellite).band(number).name)
        if band is None or not band["std"]:
            raise InputError(
                f"{folder / STATISTICS} has no mean and deviation of {satellite} band {number}, which "
                "config.normalization=dataset needs; use config.normalization=published"
            )
        chosen.append((band["mean"], band["std"]))
    return tuple(np.array(chosen, np.float64).T)


def _read_manifest(folder: str | PlainPath) -> dict[str, Any]:
    from satxlate_jax.dataset.manifest import read_manifest  # here: the training step is taken without pyhdf, too

    return read_manifest(PlainPath(folder))


def _data_root(config: Any) -> PlainPath:
    default = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")  # as tfds has it
    return PlainPath(user_path(config.data.dir or default))


def _dataset_name(config: Any, satellite: str) -> str:
    return config.data.datasets.get(satellite, satellite.split("_", 1)[0])


def _why_empty(config: Any, satellite: str, split: str, folder: str | PlainPath) -> str:
    """Complain of an empty split: why, as its build noted, and what helps."""
    complaint = f"the data set {folder} of {satellite} has no example in split '{split}'"
    noted = _read_manifest(folder).get("empty_splits", {}).get(split, {"reason": "", "instead": {}})
    if noted["reason"]:
        complaint += f": {noted['reason']}"
        if not noted["instead"]:
            return f"{complaint}; then build it again with --overwrite"
    return f"{complaint}; build another: {_build_command(config, satellite, folder, **noted['instead'])}"


def _build_command(config: Any, satellite: str, folder: str | PlainPath = "", **options: Any) -> str:
    """The command that builds what the configuration wants; of an unfit data set in `folder` the selection is kept."""
    name, origin, data_dir = _dataset_name(config, satellite), get_satellite(satellite).name, _data_root(config)
    if not folder and name == origin and config.data.patch_size == BUILT_PATCH_SIZE:
        return describe_build(name, None, data_dir)
    bands = [int(band) for band in config.data.satellites[satellite]]
    wanted = {"satellite": origin, "bands": bands, "patch_size": config.data.patch_size} | options
    if not folder:
        return describe_build(name, wanted, data_dir, domain=satellite)
    built = _read_manifest(folder)
    kept = Selection.of(built["selection"]).chosen_options() if "selection" in built else {}
    if kept.get("stride", 0) > config.data.patch_size:
        del kept["stride"]
    root = built.get("root", "L1G_ROOT")
    return describe_build(name, kept | wanted, data_dir, root=root, domain=satellite, again=True)
