"""Prepared records -> batches in normalised units, a pure function of (configuration, step, process).

The only file that imports tensorflow, which tells what a data set holds and nothing else: it never sees an accelerator.
Records are read and decoded by threads, some batches ahead; what takes long of that lets other threads run.

Records are numbered through the shards of a split. Training draws them epoch after epoch: each has every record once,
in an order that depends on (seed, satellite, epoch) and the shards' lengths alone. Global batch k of B rows is places
k B to (k + 1) B - 1 of that endless sequence, so it does not depend on how many processes share it, a process needs to
read no more than its own rows, and to resume is to begin at another place. An epoch may end within a batch.

Within an epoch whole shards come one after the other, in an order drawn anew, and those that are together for a while
are mixed: so only a few files are read at a time. (The records of all shards were shuffled when the data set was
built, so that a shard is a random sample already.)
"""

import hashlib
import itertools
import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from satxlate_jax.cli import InputError
from satxlate_jax.dataset.records import RecordFiles, read_bytes_feature, read_number_feature, scale_and_offset
from satxlate_jax.geometry import PIXELS, TILE_DEGREES, pixel_angles, tile_bounds
from satxlate_jax.instruments import get_satellite, published_statistics
from satxlate_jax.training.channels import carries_angles, training_sources
from satxlate_jax.training.prepared_data import check_split, find_folder, identify, stored_statistics

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # which would only announce itself: here are no networks

PREFETCHED_BATCHES = 4
READERS = 16  # threads; they wait for disks most of the time
_WHEN_AND_WHERE = ("year", "dayofyear", "hour", "minute", "row", "column")  # features of a record

Batch = dict[str, np.ndarray]
# what a batch takes of a satellite: the numbers of the records, and for each the symmetry that turns it
Draw = tuple[np.ndarray, np.ndarray]


def data_metadata(config: Any) -> dict[str, dict[str, Any]]:
    """The part of a checkpoint's metadata that describes the data: bands and the normalisation used.

    Returns:
      satellite -> 'bands' (1-based), 'mean' and 'std' (per band, in the band's unit), in the configured order: the
      published ones, or with config.normalization 'dataset' those of the data set's training split.

    Raises:
      InputError: the data set or its statistics are missing, or it lacks a band.
    """
    metadata = {}
    for satellite, bands in config.data.satellites.items():
        published = config.normalization == "published"
        mean, std = published_statistics(satellite, bands) if published else stored_statistics(config, satellite)
        metadata[satellite] = {"bands": [int(band) for band in bands], "mean": mean.tolist(), "std": std.tolist()}
    return metadata


def training_batches(
    config: Any, start_step: int = 0, *, process_index: int = 0, process_count: int = 1
) -> Iterator[Batch]:
    """Endless unpaired batches of the training split.

    Batch k of the iterator is that of step `start_step + k`, whatever was drawn before: a run that is resumed sees
    what it would have seen uninterrupted. All processes' rows together are the same for any number of processes.

    Args:
      config: the run's configuration; `batch_size` is per satellite over all processes.
      start_step: the first step to draw for.
      process_index: this process.
      process_count: how many processes share a batch; must divide the batch size.

    Yields:
      satellite -> float32 [batch_size / process_count, height, width, band], network units, read-only.

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
        return numbers, draw_turns(config.seed, satellite, step, config.batch_size)[rows]

    draws = ({name: draw(step, name) for name in sources} for step in itertools.count(start_step))
    return _read_ahead(sources, draws)


def validation_batches(config: Any, *, process_index: int = 0, process_count: int = 1) -> Iterator[Batch]:
    """One pass over the validation split, in the order of the records, every time the same.

    Arguments and what is yielded are as of `training_batches`; ends when a satellite has no whole batch left.

    Raises:
      InputError: also where a satellite cannot fill a single batch.
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
    """Raise InputError where there are no records to train with, before anything is made.

    Returns:
      Of each satellite that sends images, the fingerprint of its data set, see `prepared.identify`.
    """
    data_metadata(config)
    infos = {name: _read_info(config, name) for name in training_sources(config)}
    for name, info in infos.items():
        check_split(config, name, "train", info)
    return {name: identify(info) for name, info in infos.items()}


def _rows_of(batch_size: int, process_index: int, process_count: int) -> range:
    if batch_size % process_count:
        raise InputError(f"config.batch_size ({batch_size}) must be a multiple of the {process_count} processes")
    share = batch_size // process_count
    return range(process_index * share, (process_index + 1) * share)


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


def _open_split(config: Any, split: str) -> dict[str, "_Records"]:
    """Satellite -> its records, for each that sends images."""
    metadata, records = data_metadata(config), {}
    for name in training_sources(config):
        info = _read_info(config, name)
        check_split(config, name, split, info)
        records[name] = _Records(name, split, metadata[name], info, carries_angles(config))
    return records


class Examples(NamedTuple):
    """Images of one satellite as `training_batches` gives them, with the day (year * 1000 + day) and tile of each."""

    images: np.ndarray
    days: np.ndarray
    tiles: np.ndarray


def read_examples(config: Any, split: str, most: int) -> dict[str, Examples]:
    """At most so many examples of a split, evenly over its records, of each satellite that sends images and has some.

    Raises:
      InputError: the data set is missing or cannot be read.
    """
    found = {}
    for name in training_sources(config):
        info = _read_info(config, name)
        if split not in info.splits or not info.splits[split].num_examples:
            continue
        check_split(config, name, split, info)
        records = _Records(name, split, data_metadata(config)[name], info, carries_angles(config))
        numbers = np.unique(np.linspace(0, len(records) - 1, min(most, len(records))).astype(int))
        draws = [{name: (part, np.zeros_like(part))} for part in np.array_split(numbers, -(-len(numbers) // 64))]
        images = np.concatenate([batch[name] for batch in _read_ahead({name: records}, draws)])
        places = [records.place(number) for number in numbers]
        found[name] = Examples(images, np.array([day for day, _ in places]), np.array([tile for _, tile in places]))
    return found


class _Records:
    """One split of one prepared data set, and how its records become images in network units."""

    def __init__(self, satellite: str, split: str, metadata: Mapping[str, Any], info: Any, angles: bool):
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
        self._takes_all = channels.tolist() == list(range(len(stored)))

    def __len__(self) -> int:
        return sum(self.lengths)

    def __str__(self) -> str:
        return self._name

    def read(self, number: int, turn: int, out: np.ndarray) -> None:
        """Write one record's image in network units to `out` [height, width, band], turned by one of 8 symmetries."""
        record = self._files.read(number)
        packed = np.frombuffer(read_bytes_feature(record, "patch"), "<u2")
        packed = packed.reshape(-1, self._stored_line)
        if not self._takes_all:
            packed = packed.take(self._taken, axis=1)
        image = np.multiply(packed, self._scale, dtype=np.float32)
        image += self._offset
        image = image.reshape(*self.shape[:2], self._bands)
        if self._longitude is not None:
            image = np.concatenate([image, self._angles(record, self._longitude)], axis=-1)
        if turn & 1:
            image = image[::-1]
        if turn & 2:
            image = image[:, ::-1]
        out[:] = image.swapaxes(0, 1) if turn & 4 else image

    def place(self, number: int) -> tuple[int, str]:
        """The day (year * 1000 + day of the year) and tile of a record."""
        record = self._files.read(number)
        year, day = (read_number_feature(record, name) for name in ("year", "dayofyear"))
        return year * 1000 + day, bytes(read_bytes_feature(record, "tile")).decode()

    def _angles(self, record: memoryview, satellite_longitude: float) -> np.ndarray:
        """The angles of the sun and the view over a record's patch, see `geometry.pixel_angles`."""
        numbers = {name: read_number_feature(record, name) for name in _WHEN_AND_WHERE}
        time = datetime(numbers["year"], 1, 1) + timedelta(
            numbers["dayofyear"] - 1, 0, 0, 0, numbers["minute"], numbers["hour"]
        )
        north, west = tile_bounds(bytes(read_bytes_feature(record, "tile")).decode())
        step, size = TILE_DEGREES / PIXELS[2.0], self.shape[0]
        latitude = north - step * (numbers["row"] + np.arange(size) + 0.5)
        longitude = west + step * (numbers["column"] + np.arange(size) + 0.5)
        return pixel_angles(time, latitude[:, None], longitude[None], satellite_longitude)


def _read_ahead(sources: Mapping[str, _Records], draws: Iterable[Mapping[str, Draw]]) -> Iterator[Batch]:
    """The batches drawn, in order, while the next ones are being read."""
    under_way: deque[tuple[Batch, dict[str, list[Future]]]] = deque()
    pool = ThreadPoolExecutor(READERS, "records")
    try:
        for draw in draws:
            batch, tasks = {}, {}
            for name, records in sources.items():
                numbers, turns = draw[name]
                batch[name] = images = np.empty((len(numbers), *records.shape), np.float32)
                tasks[name] = [pool.submit(records.read, *each) for each in zip(numbers, turns, images, strict=True)]
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


def draw_turns(seed: int, satellite: str, step: int, batch_size: int) -> np.ndarray:
    """For each row of a global batch which of the square's eight symmetries to apply, 0 to 7."""
    return random_numbers(f"{seed}/{satellite}/turns {step}", batch_size) % 8


def random_numbers(name: str, count: int) -> np.ndarray:
    """Numbers that depend on a name alone, uint64 [count]: the same on every machine and in every version of NumPy."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    return np.random.Philox(key=key).random_raw(count)
