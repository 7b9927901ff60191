"""GeoNEX L1G tiles as a TFDS data set of patches; see README.md beside this file."""

import contextlib
import dataclasses
import itertools
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import app, logging
from tensorflow_datasets.core.example_serializer import Serializer
from tensorflow_datasets.core.utils import shard_utils
from tensorflow_datasets.core.writer import Writer
from tqdm import tqdm

from satxlate_jax.errors import InputError
from satxlate_jax.observations import manifest, statistics
from satxlate_jax.observations.catalog import TileFile
from satxlate_jax.observations.examples import TileReader
from satxlate_jax.observations.grid import PIXELS
from satxlate_jax.observations.quantization import MISSING, scale_and_offset
from satxlate_jax.observations.record_files import write_ends
from satxlate_jax.observations.satellites import SATELLITES
from satxlate_jax.observations.selection import ChosenFiles, Selection, choose_files
from satxlate_jax.observations.tiling import patch_offsets

# Enough that neighbouring examples come from several files, and that these can be written side by side.
LEAST_SHARDS = 8


class _OneLineErrors(app.ExceptionHandler):
    """Lets `tfds build` answer a mistake as `satxlate` does: one line and exit code 2."""

    def wants(self, exc: BaseException) -> bool:
        return isinstance(exc, InputError | json.JSONDecodeError)

    def handle(self, exc: BaseException) -> None:
        what = "--config is not valid JSON: " if isinstance(exc, json.JSONDecodeError) else ""
        print(f"tfds build: {what}{exc}", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(2)  # absl catches SystemExit in here; what was open was closed on the exception's way up


app.install_exception_handler(_OneLineErrors())


class GeonexL1gConfig(tfds.core.BuilderConfig):
    """One data set of patches: a name, and what of an archive makes it.

    Attributes:
      selection: satellite, bands, files, patches and splits.
    """

    def __init__(self, name: str = "", *, version: str | None = None, description: str | None = None, **options: Any):
        """Checks the options.

        Args:
          name: of the configuration and of its folder.
          version: of the data; default the builder's.
          description: in a sentence.
          **options: those of `Selection`, as a user writes them.

        Raises:
          InputError: an unknown option, a value that cannot be, or no usable name.
        """
        if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
            raise InputError(f"a configuration's 'name' is '{name}'; it must be a word such as G16_night")
        self.selection = Selection.of(options)
        super().__init__(name=name, version=version, description=description or f"{self.selection.satellite} patches")


@dataclasses.dataclass(frozen=True)
class _Shards(shard_utils.ShardConfig):
    """At least LEAST_SHARDS, and never more than there are examples (a small split would fail)."""

    def get_number_shards(self, total_size: int, num_examples: int, uses_precise_sharding: bool = True) -> int:
        wanted = super().get_number_shards(total_size, num_examples, uses_precise_sharding)
        return min(num_examples, wanted if self.num_shards else max(wanted, LEAST_SHARDS))


class _DownloadConfig(tfds.download.DownloadConfig):
    def get_shard_config(self) -> shard_utils.ShardConfig:
        return _Shards(**dataclasses.asdict(super().get_shard_config()))


class _AsItIs(Serializer):
    """Takes examples that are records already."""

    def serialize_example(self, example: bytes) -> bytes:
        return example


def _with_beam_shards(config: Any, selection: Selection, chosen: ChosenFiles) -> Any:
    """The same rule for Beam, whose workers cannot import the class above; there, empty shards do no harm."""
    patches = len(patch_offsets(PIXELS[2.0], PIXELS[2.0], selection.patch_size, selection.stride))
    most = patches * sum(len(files) for files in chosen.splits.values())
    size = 2 * selection.patch_size**2 * len(selection.bands)
    wanted = max(LEAST_SHARDS, shard_utils.ShardConfig.calculate_number_shards(most * size, most))
    return dataclasses.replace(config, num_shards=config.num_shards or wanted)


def _root_of(dl_manager: Any) -> Path:
    try:
        return Path(dl_manager.manual_dir)
    except AssertionError as error:
        raise InputError("name the root of a tree of L1G files with --manual_dir=L1G_ROOT") from error


def _remove_empty(*folders: Path) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):  # it is not empty, or is not there
            folder.rmdir()


class Builder(tfds.core.GeneratorBasedBuilder):
    """GeoNEX L1G patches of one satellite."""

    NAME = "geonex_l1g"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Patches quantised to uint16, split by day or tile, a manifest beside them."}
    BUILDER_CONFIGS = [
        GeonexL1gConfig(name, satellite=name, description=f"{name} ({satellite.instrument}), all 16 bands")
        for name, satellite in SATELLITES.items()
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "--manual_dir is the root of a tree of GeoNEX L1G files: "
        "<satellite folder>/GEONEX-L1G/<tile>/<year>/<day of year>/<file>.hdf"
    )

    def _create_builder_config(self, builder_config: Any, version: Any) -> Any:
        names = ", ".join(self.builder_configs)
        if isinstance(builder_config, str) and self.get_builder_config(builder_config.split(":")[0]) is None:
            raise InputError(f"no configuration '{builder_config}'; there are {names}, and your own as JSON")
        if isinstance(builder_config, GeonexL1gConfig) and builder_config not in self.BUILDER_CONFIGS:
            if builder_config.name in self.builder_configs:
                raise InputError(
                    f"the name '{builder_config.name}' is that of a built-in configuration; choose another, and tell "
                    f"training of it with --config.data.datasets.{builder_config.selection.satellite}=NAME"
                )
        return super()._create_builder_config(builder_config, version)

    def _info(self) -> tfds.core.DatasetInfo:
        selection = self.builder_config.selection
        size = selection.patch_size
        scale, offset = scale_and_offset(selection.channels)
        number = np.int32
        features = tfds.features.FeaturesDict(
            {
                "patch": tfds.features.Tensor(
                    shape=(size, size, len(selection.bands)),
                    dtype=np.uint16,
                    encoding="bytes",
                    doc="codes [row, column, band]; value = code * scale + offset, see the metadata; north is row 0",
                ),
                "year": tfds.features.Scalar(number, doc="UTC"),
                "dayofyear": tfds.features.Scalar(number, doc="1 to 366, UTC"),
                "hour": tfds.features.Scalar(number, doc="UTC"),
                "minute": tfds.features.Scalar(number, doc="UTC"),
                "tile": tfds.features.Text(doc="GeoNEX tile, such as h09v03"),
                "h": tfds.features.Scalar(number, doc="the tile's column, eastward from 180 W in steps of 6 degrees"),
                "v": tfds.features.Scalar(number, doc="the tile's row, southward from 60 N in steps of 6 degrees"),
                "row": tfds.features.Scalar(number, doc="of the patch's first pixel in the tile's 2 km grid"),
                "column": tfds.features.Scalar(number, doc="of the patch's first pixel in the tile's 2 km grid"),
                "file_name": tfds.features.Text(doc="of the L1G file"),
            }
        )
        metadata = tfds.core.MetadataDict(
            satellite=selection.satellite,
            bands=list(selection.bands),
            patch_size=size,
            units=[band.unit for band in selection.channels],
            scale=scale.tolist(),
            offset=offset.tolist(),
            missing=MISSING,
            selection=selection.as_json(),
        )
        return self.dataset_info_from_configs(features=features, metadata=metadata)

    def download_and_prepare(self, *, download_config: Any = None, **options: Any) -> None:
        """As tfds has it, but looks into the archive before the first folder is made."""
        root = download_config and download_config.manual_dir
        if root and (download_config.download_mode.overwrite_dataset or not self.data_path.exists()):
            if not Path(root).is_dir():
                raise InputError(f"--manual_dir is {root}, which is no folder; name the root of a tree of L1G files")
            self._choose(Path(root))
        data_dir = Path(self._data_dir_root)
        made = [] if data_dir.exists() else [data_dir]
        try:
            super().download_and_prepare(download_config=download_config, **options)
        except InputError:
            ours, downloads = Path(self.data_path).parents[1], data_dir / "downloads"
            _remove_empty(downloads / "extracted", downloads, ours / self.builder_config.name)
            if [path.name for path in ours.glob("*")] == [".config"]:  # no other data set, to which it would belong
                (ours / ".config" / "metadata.json").unlink(missing_ok=True)
            _remove_empty(ours / ".config", ours, *made)
            raise

    def _choose(self, root: Path) -> None:
        if getattr(self, "_root", None) != root:
            self._root, self._chosen = root, choose_files(self.builder_config.selection, root)

    def _generate_splits(self, dl_manager: Any, download_config: Any) -> Sequence[tfds.core.SplitInfo]:
        selection = self.builder_config.selection
        self._choose(_root_of(dl_manager))
        # Giving Beam options asks for Beam; without them tiles are read by processes of this machine.
        self._uses_beam = bool(download_config.beam_options or download_config.beam_runner)
        with TileReader(selection, serialized=not self._uses_beam) as self._reader:
            if self._uses_beam:
                config = _with_beam_shards(download_config, selection, self._chosen)
                splits = super()._generate_splits(dl_manager, config)
            else:
                config = _DownloadConfig(**vars(download_config))
                generators = self._split_generators(dl_manager)
                splits = [self._write_split(name, records, config) for name, records in generators.items()]
        folder = self.data_path
        if self._uses_beam:
            from satxlate_jax.observations import beam_tiles

            for split in splits:
                self._manifest.splits[split.name] = beam_tiles.read_counts(folder, split.name)
        self._manifest.check()
        for split in splits if config.max_examples_per_split is None else ():
            counted = self._manifest.splits[split.name].examples
            assert counted == split.num_examples, f"{split.name}: {counted} examples read, {split.num_examples} written"
        if "://" not in str(folder):
            write_ends(Path(folder))
        for name, content in (
            (manifest.NAME, self._manifest.as_json()),
            (statistics.NAME, self._manifest.statistics()),
        ):
            (folder / name).write_text(json.dumps(content, indent=1))
        logging.info("%s; %s tells of each", self._manifest.summary(), manifest.NAME)
        return splits

    def _write_split(
        self, split: str, records: Iterator[tuple[str, bytes]], config: _DownloadConfig
    ) -> tfds.core.SplitInfo:
        """What tfds does with examples from a generator, for examples that came as records from their processes."""
        template = self._get_filename_template(split_name=split)
        writer = Writer(
            serializer=_AsItIs(self.info.features.get_serialized_info()),
            filename_template=template,
            hash_salt=split,
            disable_shuffling=False,
            example_writer=self._example_writer(),
            shard_config=config.get_shard_config(),
            ignore_duplicates=config.ignore_duplicates,
        )
        for key, record in itertools.islice(records, config.max_examples_per_split):
            writer.write(key, record)
        lengths, size = writer.finalize()
        return tfds.core.SplitInfo(name=split, shard_lengths=lengths, num_bytes=size, filename_template=template)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        self._manifest = manifest.Manifest(self.builder_config.selection, self._chosen, self._root)
        generators = {}
        for split, files in self._chosen.splits.items():
            examples = self._beam_examples(split, files) if self._uses_beam else self._records(split, files)
            # tfds fails on a split without examples, which is no mistake: all of a test day may be missing.
            if examples is None:
                logging.warning("none of the %d files of split %s gave an example", len(files), split)
            else:
                generators[split] = examples
        if not generators:
            raise InputError(f"no file gives an example: {self._manifest.summary()}; are 'bands' right?")
        return generators

    def _generate_examples(self, split: str, files: Sequence[TileFile]) -> Iterator[tuple[str, bytes]]:
        for outcome in self._reader.read_all(tqdm(files, desc=f"{split} tiles", unit="tile", disable=None)):
            self._manifest.add(split, outcome)
            yield from zip(outcome.keys(), outcome.records or (), strict=True)

    def _records(self, split: str, files: Sequence[TileFile]) -> Iterator[tuple[str, bytes]] | None:
        records = iter(self._generate_examples(split, files))
        first = next(records, None)
        return None if first is None else itertools.chain([first], records)

    def _beam_examples(self, split: str, files: Sequence[TileFile]) -> Any:
        from satxlate_jax.observations import beam_tiles

        selection = self.builder_config.selection
        count = manifest.SplitCount(statistics.BandCounts(len(selection.bands)))
        for file in files:
            outcome = self._reader.read(file)
            count.add(outcome)
            if len(outcome):
                return beam_tiles.ReadTiles(split, files, selection, self.data_path)
        self._manifest.splits[split] = count
        return None
