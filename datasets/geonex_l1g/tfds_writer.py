"""Write records that other processes have serialised; the only module that uses tfds' private API.

tfds' public interface serialises every example itself, in the one process that also shuffles and writes, and chooses
the number of shards by size alone. So its shuffling writer is used here directly, and this module is the only one that
does. Its parts changed between patch releases before: pyproject.toml allows only releases that were tried, and
`find_changes`, which a build asks first and a test too, says what is no longer as it was.
"""

import dataclasses
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core.example_serializer import Serializer
from tensorflow_datasets.core.utils.shard_utils import ShardConfig
from tensorflow_datasets.core.writer import Writer

TESTED = "4.9.10"
"""The release of tensorflow-datasets that PARTS describes."""

# Enough that neighbouring examples come from several files, and that these can be written side by side.
LEAST_SHARDS = 8

PARTS: Mapping[str, tuple[Callable, str]] = {
    "Writer": (
        Writer.__init__,
        "self serializer filename_template hash_salt disable_shuffling example_writer shard_config ignore_duplicates",
    ),
    "Writer.write": (Writer.write, "self key example"),
    "Writer.finalize": (Writer.finalize, "self"),
    "Serializer": (Serializer.__init__, "self example_specs"),
    "Serializer.serialize_example": (Serializer.serialize_example, "self example"),
    "ShardConfig": (ShardConfig.__init__, "self num_shards min_shard_size max_shard_size overhead"),
    "ShardConfig.get_number_shards": (
        ShardConfig.get_number_shards,
        "self total_size num_examples uses_precise_sharding",
    ),
    "ShardConfig.calculate_number_shards": (
        ShardConfig.calculate_number_shards,
        "total_size num_examples uses_precise_sharding",
    ),
    "DownloadConfig.get_shard_config": (tfds.download.DownloadConfig.get_shard_config, "self"),
    "GeneratorBasedBuilder._generate_splits": (
        tfds.core.GeneratorBasedBuilder._generate_splits,
        "self dl_manager download_config",
    ),
}
"""Name of each part used -> the function, and its parameters in the release that was tested."""


def find_changes(parts: Mapping[str, tuple[Callable, str]] = PARTS) -> list[str]:
    """The parts of tfds that are no longer as they were tested, a line each."""
    lines = []
    for name, (function, tested) in parts.items():
        found = " ".join(inspect.signature(function).parameters)
        if found != tested:
            lines.append(
                f"tensorflow-datasets {version('tensorflow-datasets')} has {name}({found}), tested was {TESTED} with "
                f"{name}({tested})"
            )
    return lines


@dataclasses.dataclass(frozen=True)
class _Shards(ShardConfig):
    """At least LEAST_SHARDS, and never more than there are examples (a small split would fail)."""

    def get_number_shards(self, total_size: int, num_examples: int, *options: Any, **named: Any) -> int:
        wanted = super().get_number_shards(total_size, num_examples, *options, **named)
        return min(num_examples, wanted if self.num_shards else max(wanted, LEAST_SHARDS))


class _AsItIs(Serializer):
    """Takes examples that are records already."""

    def serialize_example(self, example: bytes) -> bytes:
        return example


def write_split(
    info: tfds.core.DatasetInfo,
    template: tfds.core.ShardedFileTemplate,
    records: Iterator[tuple[str, bytes]],
    config: tfds.download.DownloadConfig,
) -> tfds.core.SplitInfo:
    """Shuffles and writes one split, as tfds does with examples from a generator.

    Args:
      info: of the data set: features and file format.
      template: of the shards' names.
      records: (key, record) pairs; the keys decide the order.
      config: how many shards and how many examples at most.
    """
    writer = Writer(
        serializer=_AsItIs(info.features.get_serialized_info()),
        filename_template=template,
        hash_salt=template.split,
        disable_shuffling=False,
        example_writer=tfds.core.ExampleWriter(info.file_format),
        shard_config=_Shards(**dataclasses.asdict(config.get_shard_config())),
        ignore_duplicates=config.ignore_duplicates,
    )
    for key, record in itertools.islice(records, config.max_examples_per_split):
        writer.write(key, record)
    lengths, size = writer.finalize()
    return tfds.core.SplitInfo(name=template.split, shard_lengths=lengths, num_bytes=size, filename_template=template)


def count_beam_shards(bytes_each: int, most_examples: int) -> int:
    """The same rule for Beam, whose workers cannot import `_Shards`; there, empty shards do no harm."""
    return max(LEAST_SHARDS, ShardConfig.calculate_number_shards(most_examples * bytes_each, most_examples))
