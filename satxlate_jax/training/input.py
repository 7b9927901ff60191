"""Prepared records -> batches in network units, a pure function of (configuration, step, process).

The only file that imports tensorflow, which tells what a data set holds and nothing else: it never sees an accelerator.
Records are read and decoded by threads, some batches ahead; what takes long of that lets other threads run.
"""

import itertools
import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from satxlate_jax.cli import InputError
from satxlate_jax.dataset.record_files import RecordFiles
from satxlate_jax.dataset.records import read_bytes_feature
from satxlate_jax.instruments import published_statistics
from satxlate_jax.training.order import EpochOrder, draw_turns
from satxlate_jax.training.prepared import Records, describe_records, find_folder, identify, stored_statistics

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # which would only announce itself: here are no networks

PREFETCHED_BATCHES = 4
READERS = 16  # threads; they wait for disks most of the time

Batch = dict[str, np.ndarray]
# what a batch takes of a satellite: the numbers of the records, and for each the symmetry that turns it
Draw = tuple[np.ndarray, np.ndarray]


def data_facts(config: Any) -> dict[str, dict[str, list]]:
    """What a checkpoint must record of the data: bands and the normalisation used.

    Args:
      config: the run's configuration, see configs/default.py.

    Returns:
      satellite -> 'bands' (1-based), 'mean' and 'std' (per band, in the band's unit), in the configured order: the
      published ones, or with config.normalization 'dataset' those of the data set's training split.

    Raises:
      InputError: the data set or its statistics are missing, or it lacks a band.
    """
    facts = {}
    for satellite, bands in config.data.satellites.items():
        if config.normalization == "published":
            mean, std = published_statistics(satellite, bands)
        elif config.normalization == "dataset":
            mean, std = stored_statistics(config, satellite)
        else:
            raise InputError(f"config.normalization is '{config.normalization}'; it must be 'published' or 'dataset'")
        facts[satellite] = {"bands": [int(band) for band in bands], "mean": mean.tolist(), "std": std.tolist()}
    return facts


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
    facts = data_facts(config)
    streams = {name: _Stream(_find_records(config, name, "train", facts[name])) for name in _streams(config)}
    orders = {
        name: EpochOrder(stream.records.lengths, config.data.shuffle_buffer, config.seed, name)
        for name, stream in streams.items()
    }

    def draw(step: int, satellite: str) -> Draw:
        numbers = orders[satellite].records(step * config.batch_size + np.array(rows))
        if not config.data.augment:
            return numbers, np.zeros_like(numbers)
        return numbers, draw_turns(config.seed, satellite, step, config.batch_size)[rows]

    draws = ({name: draw(step, name) for name in streams} for step in itertools.count(start_step))
    return _read_ahead(streams, draws)


def validation_batches(config: Any, *, process_index: int = 0, process_count: int = 1) -> Iterator[Batch]:
    """One pass over the validation split, in the order of the records, every time the same.

    Args:
      config: the run's configuration.
      process_index: this process.
      process_count: how many processes share a batch.

    Yields:
      As `training_batches`, until a satellite has no whole batch left.

    Raises:
      InputError: as `training_batches`; also where a satellite cannot fill a single batch.
    """
    rows = _rows_of(config.batch_size, process_index, process_count)
    facts = data_facts(config)
    streams = {name: _Stream(_find_records(config, name, "validation", facts[name])) for name in _streams(config)}
    for stream in streams.values():
        if len(stream) < config.batch_size:
            raise InputError(
                f"{stream.records} has {len(stream)} examples, fewer than config.batch_size "
                f"({config.batch_size}); build more data, or set config.validate_every=0"
            )
    batches = min(len(stream) for stream in streams.values()) // config.batch_size
    numbers = (step * config.batch_size + np.array(rows) for step in range(batches))
    return _read_ahead(streams, ({name: (taken, np.zeros_like(taken)) for name in streams} for taken in numbers))


def check_records(config: Any) -> dict[str, dict[str, str]]:
    """Raises InputError where there are no records to train with, before anything is made.

    Returns:
      Of each satellite that sends images, what tells its data set from others, see `prepared.identify`.
    """
    facts = data_facts(config)
    for satellite in _streams(config):
        _find_records(config, satellite, "train", facts[satellite])
    return {satellite: identify(_read_info(config, satellite)) for satellite in _streams(config)}


def _streams(config: Any) -> list[str]:
    chosen = list(config.data.streams) or list(config.data.satellites)
    for satellite in chosen:
        if satellite not in config.data.satellites:
            raise InputError(f"config.data.streams names '{satellite}', which config.data.satellites does not")
    return chosen


def _rows_of(batch_size: int, process_index: int, process_count: int) -> range:
    if batch_size % process_count:
        raise InputError(f"config.batch_size ({batch_size}) must be a multiple of the {process_count} processes")
    share = batch_size // process_count
    return range(process_index * share, (process_index + 1) * share)


def _find_records(config: Any, satellite: str, split: str, facts: Mapping[str, list]) -> Records:
    return describe_records(config, satellite, split, facts, _read_info(config, satellite))


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


class _Stream:
    """The records of one satellite's split, and how they become images."""

    def __init__(self, records: Records):
        self.records = records
        self._files = RecordFiles(records.paths, records.lengths, records.file_format)
        stored, size = records.stored_bands, records.patch_size
        self.shape = size, size, len(records.bands)
        self._stored_line = size * len(stored)
        # Bands are innermost. A line of pixels at a time is what numpy does fastest.
        self._scale, self._offset = (np.tile(x.astype(np.float32), size) for x in (records.scale, records.offset))
        channels = np.array([stored.index(band) for band in records.bands])
        self._taken = (np.arange(size)[:, None] * len(stored) + channels).ravel()
        self._takes_all = channels.tolist() == list(range(len(stored)))

    def __len__(self) -> int:
        return sum(self.records.lengths)

    def read(self, number: int, turn: int, out: np.ndarray) -> None:
        """Writes one record's image in network units to `out` [height, width, band], turned by one of 8 symmetries."""
        codes = np.frombuffer(read_bytes_feature(self._files.read(number), "patch"), "<u2")
        codes = codes.reshape(-1, self._stored_line)
        if not self._takes_all:
            codes = codes.take(self._taken, axis=1)
        image = np.multiply(codes, self._scale, dtype=np.float32)
        image += self._offset
        image = image.reshape(self.shape)
        if turn & 1:
            image = image[::-1]
        if turn & 2:
            image = image[:, ::-1]
        out[:] = image.swapaxes(0, 1) if turn & 4 else image


def _read_ahead(streams: Mapping[str, _Stream], draws: Iterable[Mapping[str, Draw]]) -> Iterator[Batch]:
    """The batches drawn, in order, while the next ones are being read."""
    under_way: deque[tuple[Batch, dict[str, list[Future]]]] = deque()
    pool = ThreadPoolExecutor(READERS, "records")
    try:
        for draw in draws:
            batch, tasks = {}, {}
            for name, stream in streams.items():
                numbers, turns = draw[name]
                batch[name] = images = np.empty((len(numbers), *stream.shape), np.float32)
                tasks[name] = [pool.submit(stream.read, *each) for each in zip(numbers, turns, images, strict=True)]
            under_way.append((batch, tasks))
            if len(under_way) > PREFETCHED_BATCHES:
                yield _finished(streams, *under_way.popleft())
        while under_way:
            yield _finished(streams, *under_way.popleft())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _finished(streams: Mapping[str, _Stream], batch: Batch, tasks: Mapping[str, list[Future]]) -> Batch:
    """Waits for a batch; what is wrong with the records becomes one line."""
    for name, images in batch.items():
        try:
            for task in tasks[name]:
                task.result()
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            records = streams[name].records
            raise InputError(f"{records} cannot be read as its description says ({reason}); build it again") from error
        images.flags.writeable = False
    return batch
