"""Prepared records -> batches in network units, a pure function of (configuration, step, process).

The only file that imports tensorflow, which feeds data and nothing else: it never sees an accelerator.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # which would only announce itself: here are no networks
import tensorflow as tf  # noqa: E402
import tensorflow_datasets as tfds  # noqa: E402

from satxlate_jax.errors import InputError
from satxlate_jax.observations.satellites import published_statistics
from satxlate_jax.training.lanes import find_position, lane_count, lane_seed, shards_with_records
from satxlate_jax.training.prepared import Records, describe_records, find_folder, stored_statistics

# Accelerators belong to jax; tensorflow would otherwise take all their memory.
for _kind in ("GPU", "TPU"):
    tf.config.set_visible_devices([], _kind)

PREFETCHED_BATCHES = 4

# Functions for tf.data are plain tensor code; what autograph makes of them would only lie about in the temporary folder
# when a run is killed.
_plain = tf.autograph.experimental.do_not_convert

Batch = dict[str, np.ndarray]


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
    streams = {}
    for satellite in _streams(config):
        records = _find_records(config, satellite, "train", facts[satellite])
        streams[satellite] = _guarded(records, _training_dataset(records, config, start_step, rows), endless=True)
    return _in_step(streams)


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
    streams = {}
    for satellite in _streams(config):
        records = _find_records(config, satellite, "validation", facts[satellite])
        if sum(records.lengths) < config.batch_size:
            raise InputError(
                f"{records} has {sum(records.lengths)} examples, fewer than config.batch_size "
                f"({config.batch_size}); build more data, or set config.validate_every=0"
            )
        streams[satellite] = _guarded(records, _validation_dataset(records, config.batch_size, rows), endless=False)
    return _in_step(streams)


def check_records(config: Any) -> None:
    """Raises InputError where there are no records to train with, before anything is made."""
    facts = data_facts(config)
    for satellite in _streams(config):
        _find_records(config, satellite, "train", facts[satellite])


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


def _in_step(streams: Mapping[str, Iterator[np.ndarray]]) -> Iterator[Batch]:
    for arrays in zip(*streams.values(), strict=False):
        yield dict(zip(streams, arrays, strict=True))


def _guarded(records: Records, dataset: tf.data.Dataset, endless: bool) -> Iterator[np.ndarray]:
    """The data set's arrays; what tensorflow has to say about damaged records becomes one line."""
    failures = tf.errors.OpError  # by a name of its own: when Python ends, `tf` goes before this generator does
    try:
        yield from dataset.as_numpy_iterator()
    except failures as error:
        reason = error.message.splitlines()[0]
        raise InputError(f"{records} cannot be read as its description says ({reason}); build it again") from error
    if endless:
        raise InputError(f"{records} ended early; build it again")


def _find_records(config: Any, satellite: str, split: str, facts: Mapping[str, list]) -> Records:
    folder = find_folder(config, satellite)
    with warnings.catch_warnings():  # tfds asks protobuf for something that protobuf will rename
        warnings.simplefilter("ignore", DeprecationWarning)
        info = tfds.builder_from_directory(folder).info
    return describe_records(config, satellite, split, facts, info)


def _training_dataset(records: Records, config: Any, start_step: int, rows: range) -> tf.data.Dataset:
    lanes = lane_count(config.batch_size, records.lengths)
    per_lane = config.batch_size // lanes
    opened = sorted({row % lanes for row in rows})
    starts = [_lane_start(records, lane, lanes, config.seed, start_step * per_lane) for lane in opened]
    read_lane = _lane_reader(records, lanes, max(1, config.data.shuffle_buffer // lanes))
    # Lanes never end, so that their blocks come round in order for ever: a batch is one round.
    drawn = tf.data.Dataset.from_tensor_slices(np.array(starts, np.int64)).interleave(
        read_lane, cycle_length=len(opened), block_length=per_lane, num_parallel_calls=tf.data.AUTOTUNE
    )
    places = tf.constant([opened.index(row % lanes) * per_lane + row // lanes for row in rows])
    batches = drawn.batch(len(opened) * per_lane, drop_remainder=True).map(
        _plain(lambda batch: tf.gather(batch, places))
    )
    if not config.data.augment:
        return _decoded(batches, records)
    seed = lane_seed(config.seed, records.satellite, -1)  # a lane that does not exist
    turns = tf.data.Dataset.range(start_step, tf.int64.max).map(
        _plain(lambda step: _draw_turns(seed, step, config.batch_size))
    )
    return _decoded(batches, records, turns.map(_plain(lambda drawn: drawn[rows.start : rows.stop])))


def _draw_turns(seed: int, step: tf.Tensor, batch_size: int) -> tf.Tensor:
    """Per row of the global batch: whether to reverse rows, reverse columns, and swap the two; int64 [row, 3]."""
    return tf.random.stateless_uniform((batch_size, 3), (seed, step), 0, 2, tf.int64)


def _turned(images: tf.Tensor, turns: tf.Tensor) -> tf.Tensor:
    """Flips and 90-degree rotations: the square's eight symmetries are what three such changes can do."""
    changes = (lambda x: tf.reverse(x, [1]), lambda x: tf.reverse(x, [2]), lambda x: tf.transpose(x, (0, 2, 1, 3)))
    for index, change in enumerate(changes):
        images = tf.where(turns[:, index, None, None, None] == 1, change(images), images)
    return images


@tf.function(input_signature=[tf.TensorSpec((), tf.int64)] * 5, autograph=False)
def _lane_order(lane: tf.Tensor, lanes: tf.Tensor, shards: tf.Tensor, seed: tf.Tensor, epoch: tf.Tensor) -> tuple:
    """Of one epoch of a lane: its shards in order, and the seed of the shuffle within each."""
    order = tf.random.experimental.stateless_shuffle(tf.range(lane, shards, lanes), seed=(seed, epoch))
    # The further bit keeps these draws apart from those of the order.
    return order, tf.random.stateless_uniform(tf.shape(order), (seed + 2**62, epoch), 1, 2**31 - 1, tf.int64)


def _lane_start(records: Records, lane: int, lanes: int, seed: int, position: int) -> tuple[int, ...]:
    """Where a lane begins to read: lane, its seed, epoch, how manieth shard of the epoch, records to skip in it."""
    lengths = np.array(shards_with_records(records.lengths))[:, 1]
    seed = lane_seed(seed, records.satellite, lane)
    epoch, position = divmod(position, int(lengths[lane::lanes].sum()))
    order, _ = _lane_order(lane, lanes, len(lengths), seed, epoch)
    return lane, seed, epoch, *find_position(lengths[order.numpy()], position)


def _lane_reader(records: Records, lanes: int, buffer: int) -> Callable[[tf.Tensor], tf.data.Dataset]:
    """What turns a lane's start into its endless stream of serialised examples."""
    shards = shards_with_records(records.lengths)
    paths = tf.constant([records.paths[shard] for shard, _ in shards])
    lengths = tf.constant([length for _, length in shards], tf.int64)

    @_plain
    def read_lane(start: tf.Tensor) -> tf.data.Dataset:
        lane, seed, first_epoch, first_visit, first_skip = tf.unstack(start)

        @_plain
        def read_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
            order, shuffle_seeds = _lane_order(lane, lanes, len(shards), seed, epoch)
            begin = tf.where(epoch == first_epoch, first_visit, 0)
            visits = tf.range(tf.size(order, tf.int64))
            skips = tf.where((epoch == first_epoch) & (visits == begin), first_skip, 0)
            columns = tf.gather(paths, order), tf.gather(lengths, order), shuffle_seeds, skips
            return tf.data.Dataset.from_tensor_slices(tuple(column[begin:] for column in columns)).flat_map(read_shard)

        return tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(read_epoch)

    @_plain
    def read_shard(path: tf.Tensor, length: tf.Tensor, shuffle_seed: tf.Tensor, skip: tf.Tensor) -> tf.data.Dataset:
        # A shard with fewer or more records than promised would silently shift everything after it.
        shard = _open_shard(path, records.file_format).apply(tf.data.experimental.assert_cardinality(length))
        return shard.shuffle(buffer, seed=shuffle_seed, reshuffle_each_iteration=False).skip(skip)

    return read_lane


def _open_shard(path: tf.Tensor, file_format: str) -> tf.data.Dataset:
    """The serialised examples of one shard, in order."""
    if file_format == "tfrecord":
        return tf.data.TFRecordDataset(path, buffer_size=1 << 20)
    signature = tf.TensorSpec((), tf.string)
    return tf.data.Dataset.from_generator(_array_records, args=(path,), output_signature=signature)


def _array_records(path: bytes) -> Iterator[bytes]:
    from array_record.python.array_record_module import ArrayRecordReader  # tfds brings it where it is to be had

    reader = ArrayRecordReader(path.decode())
    try:
        for _ in range(reader.num_records()):
            yield reader.read()
    finally:
        reader.close()


def _validation_dataset(records: Records, batch_size: int, rows: range) -> tf.data.Dataset:
    shards = tf.data.Dataset.from_tensor_slices(list(records.paths))
    dataset = shards.flat_map(_plain(lambda path: _open_shard(path, records.file_format)))
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(sum(records.lengths)))
    dataset = dataset.batch(batch_size, drop_remainder=True).map(_plain(lambda drawn: drawn[rows.start : rows.stop]))
    return _decoded(dataset, records)


def _decoded(serialized: tf.data.Dataset, records: Records, turns: tf.data.Dataset | None = None) -> tf.data.Dataset:
    """Batches of serialised examples -> float32 [n, height, width, band] in network units."""
    channels = [records.stored_bands.index(band) for band in records.bands]
    everything = channels == list(range(len(records.stored_bands)))
    scale, offset = tf.constant(records.scale, tf.float32), tf.constant(records.offset, tf.float32)
    shape = (-1, records.patch_size, records.patch_size, len(records.stored_bands))
    feature = {"patch": tf.io.FixedLenFeature((), tf.string)}

    @_plain
    def decode(drawn: tf.Tensor) -> tf.Tensor:
        codes = tf.reshape(tf.io.decode_raw(tf.io.parse_example(drawn, feature)["patch"], tf.uint16), shape)
        if not everything:
            codes = tf.gather(codes, channels, axis=-1)
        return tf.cast(codes, tf.float32) * scale + offset

    options = tf.data.Options()
    options.deterministic = True
    if turns is None:
        decoded = serialized.map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    else:
        zipped = tf.data.Dataset.zip(serialized, turns)
        decoded = zipped.map(
            _plain(lambda drawn, turn: _turned(decode(drawn), turn)), num_parallel_calls=tf.data.AUTOTUNE
        )
    return decoded.prefetch(PREFETCHED_BATCHES).with_options(options)
