"""GeoNEX L1G tiles as a TFDS data set of patches; README.md beside this file describes it."""

import argparse
import atexit
import contextlib
import dataclasses
import itertools
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import app, logging
from tqdm import tqdm

from geonex_l1g import tfds_writer
from satxlate_jax.archive.catalog import TileFile, find_tiles
from satxlate_jax.atomic import PlainPath
from satxlate_jax.cli import InputError, list_some, user_path
from satxlate_jax.dataset import manifest, statistics
from satxlate_jax.dataset.records import MISSING, scale_and_offset, write_record_index
from satxlate_jax.dataset.selection import Selection, choose_files, describe_build, patch_offsets
from satxlate_jax.dataset.tile_patches import TileReader
from satxlate_jax.geometry import PIXELS
from satxlate_jax.instruments import SATELLITES


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
    """One data set of patches: a name, and the part of an archive it is made of.

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


def _builds_every_config() -> bool:
    """True where `tfds build` runs without a configuration.

    It then builds the built-in ones one after the other, of which none learns that there are others; only the command
    line tells.
    """
    if "tensorflow_datasets.scripts.cli.build" not in sys.modules or "build" not in sys.argv:
        return False
    if any(re.match(rf"{Builder.NAME}/\w+(:|$)", word) for word in sys.argv):  # the form of registered data sets
        return False
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-c", "--config", "--config_idx", "--builder_config_id", dest="config")
    return parser.parse_known_args(sys.argv[1:])[0].config is None


def _remove_empty(*folders: Path) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):  # it is not empty, or is not there
            folder.rmdir()


def _say_last(lines: Iterable[str]) -> None:
    """Print lines; in `tfds build`, which goes on to print what the data set is, at the very end."""
    text = "\n".join(lines)
    if "tensorflow_datasets.scripts.cli.build" in sys.modules:
        atexit.register(print, text)
    else:
        print(text)


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

    def __init__(self, *, config: Any = None, data_dir: Any = None, **options: Any):
        names = ", ".join(self.builder_configs)
        if isinstance(config, str) and self.get_builder_config(config.split(":")[0]) is None:
            raise InputError(f"no configuration '{config}'; there are {names}, and your own as JSON")
        if isinstance(config, GeonexL1gConfig) and config not in self.BUILDER_CONFIGS:
            if config.name in self.builder_configs:
                raise InputError(
                    f"the name '{config.name}' is that of a built-in configuration; choose another, and tell "
                    f"training of it with --config.data.datasets.{config.selection.satellite}=NAME"
                )
        super().__init__(config=config, data_dir=data_dir and user_path(os.fspath(data_dir)), **options)

    @property
    def data_path(self) -> PlainPath:
        """The path of tfds, but its name is never a pattern: tfds looks with one for what Beam has written."""
        return PlainPath(self.data_dir)

    def _info(self) -> tfds.core.DatasetInfo:
        selection = self.builder_config.selection
        size = selection.patch_size
        scale, offset = scale_and_offset(selection.channels)
        numbers = {
            "year": "UTC",
            "dayofyear": "1 to 366, UTC",
            "hour": "UTC",
            "minute": "UTC",
            "h": "the tile's column, eastward from 180 W in steps of 6 degrees",
            "v": "the tile's row, southward from 60 N in steps of 6 degrees",
            "row": "of the patch's first pixel in the tile's 2 km grid",
            "column": "of the patch's first pixel in the tile's 2 km grid",
        }
        features = tfds.features.FeaturesDict(
            {
                "patch": tfds.features.Tensor(
                    shape=(size, size, len(selection.bands)),
                    dtype=np.uint16,
                    encoding="bytes",
                    doc="[row, column, band], row 0 is north; value = packed value * scale + offset, see the metadata",
                ),
                "tile": tfds.features.Text(doc="GeoNEX tile, such as h09v03"),
                "file_name": tfds.features.Text(doc="of the L1G file"),
                **{name: tfds.features.Scalar(np.int32, doc=doc) for name, doc in numbers.items()},
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
        known = self.get_metadata()
        return tfds.core.DatasetInfo(
            builder=self,
            description=known.description.partition("\n## ")[0],  # the rest of README.md is how to build it
            citation=known.citation,
            homepage="https://data.nas.nasa.gov/geonex/geonexdata/",
            features=features,
            metadata=metadata,
        )

    def download_and_prepare(self, *, download_config: Any = None, **options: Any) -> None:
        """Looks into the archive before the first folder is made, then does as tfds does."""
        if changes := tfds_writer.find_changes():
            raise InputError(f"{changes[0]}; install tensorflow-datasets=={tfds_writer.TESTED}")
        if download_config and download_config.manual_dir:
            root = Path(user_path(os.fspath(download_config.manual_dir)))
            download_config = dataclasses.replace(download_config, manual_dir=root)
            is_wanted = download_config.download_mode.overwrite_dataset or not self.data_path.exists()
            if root.is_dir() and self._is_left_out(root):
                return
            if is_wanted and not root.is_dir():
                raise InputError(f"--manual_dir is {root}, which is no folder; name the root of a tree of L1G files")
            if is_wanted:
                self._choose(root)
            elif root.is_dir():
                self._warn_of_new_files(root)
        data_dir = Path(self.data_dir_root)
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
        if hasattr(self, "_manifest"):
            _say_last(self._describe_build())

    def _is_left_out(self, root: Path) -> bool:
        """True where all configurations are to be built, and the archive holds only other satellites."""
        if not _builds_every_config():
            return False
        held = {file.satellite for file in find_tiles(root)}
        satellite, there = self.builder_config.selection.satellite, [name for name in SATELLITES if name in held]
        if not there or satellite in held:  # an archive without any file is a mistake, which `_choose` tells
            return False
        logging.warning("no file of %s under %s, which holds %s: not built", satellite, root, ", ".join(there))
        return True

    def _choose(self, root: Path) -> None:
        if getattr(self, "_root", None) == root:
            return
        selection = self.builder_config.selection
        self._root, self._chosen = root, choose_files(selection, root)
        if empty := self._chosen.empty:
            how = f": {self._build_command(**empty.instead)}" if empty.instead else ""
            logging.warning("no file falls into split %s: %s%s", " and ".join(empty.names), empty.reason, how)

    def _warn_of_new_files(self, root: Path) -> None:
        """Warns of files in the archive that the data set that is there does not hold."""
        with contextlib.suppress(InputError):  # the archive may be elsewhere by now
            new = manifest.count_new_files(self.data_path, choose_files(self.builder_config.selection, root))
            if new:
                logging.warning(
                    f"{new} files under {root} are not in the data set {self.data_path}, which was built before they "
                    "came; to add them, build it again: the same command with --overwrite"
                )

    def _generate_splits(self, dl_manager: Any, download_config: Any) -> Sequence[tfds.core.SplitInfo]:
        selection = self.builder_config.selection
        try:
            root = Path(dl_manager.manual_dir)
        except AssertionError as error:
            raise InputError("name the root of a tree of L1G files with --manual_dir=L1G_ROOT") from error
        self._choose(root)
        # Giving Beam options asks for Beam; without them tiles are read by processes of this machine.
        self._uses_beam = bool(download_config.beam_options or download_config.beam_runner)
        with TileReader(selection, serialized=not self._uses_beam) as self._reader:
            if self._uses_beam:
                shards = download_config.num_shards or self._count_beam_shards()
                config = dataclasses.replace(download_config, num_shards=shards)
                splits = super()._generate_splits(dl_manager, config)
            else:
                splits = [
                    tfds_writer.write_split(self.info, self._template(name), records, download_config)
                    for name, records in self._split_generators(dl_manager).items()
                ]
        folder = self.data_path
        if self._uses_beam:
            from satxlate_jax.dataset import beam as beam_tiles

            for split in splits:
                self._manifest.splits[split.name] = beam_tiles.read_counts(folder, split.name)
        self._manifest.check()
        for split in splits if download_config.max_examples_per_split is None else ():
            counted = self._manifest.splits[split.name].examples
            assert counted == split.num_examples, f"{split.name}: {counted} examples read, {split.num_examples} written"
        if "://" not in str(folder):
            write_record_index(Path(folder))
        tables = {manifest.NAME: self._manifest.as_json(), statistics.NAME: self._manifest.statistics()}
        for name, content in tables.items():
            (folder / name).write_text(json.dumps(content, indent=1))
        (folder / manifest.FILES).write_text("".join(f"{path.name}\n" for path in sorted(self._chosen.paths)))
        return splits

    def _describe_build(self) -> Iterator[str]:
        """What became of the files; each split's days or tiles; why a split is empty, and the command that helps."""
        yield f"{self._manifest.summary()}; {self.data_path / manifest.NAME} tells of each"
        built = self._manifest.as_json()
        for split, counts in built["splits"].items():
            if groups := counts[f"{self.builder_config.selection.split_by}s"]:
                yield f"{split}: {list_some(groups, manifest.NAME)}"
        for split, noted in built["empty_splits"].items():
            how = f"; build it so: {self._build_command(**noted['instead'])}" if noted["instead"] else ""
            yield f"split {split} is empty: {noted['reason']}{how}"

    def _build_command(self, *, again: bool = True, **options: Any) -> str:
        """What builds this data set from these files with other options; `again`, where it is there by now."""
        chosen = self.builder_config.selection.chosen_options() | options
        place = {"root": os.path.abspath(self._root), "again": again}
        return describe_build(self.builder_config.name, chosen, self.data_dir_root, **place)

    def _template(self, split: str) -> tfds.core.ShardedFileTemplate:
        """The names of a split's shards."""
        names = {"dataset_name": self.name, "split": split, "filetype_suffix": self.info.file_format.file_suffix}
        return tfds.core.ShardedFileTemplate(self.data_path, **names)

    def _count_beam_shards(self) -> int:
        selection = self.builder_config.selection
        patches = len(patch_offsets(PIXELS[2.0], PIXELS[2.0], selection.patch_size, selection.stride))
        files = sum(len(members) for members in self._chosen.splits.values())
        return tfds_writer.count_beam_shards(2 * selection.patch_size**2 * len(selection.bands), patches * files)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        self._manifest = manifest.Manifest(self.builder_config.selection, self._chosen, self._root)
        generators = {}
        for split, files in self._chosen.splits.items():
            examples = self._beam_examples(split, files) if self._uses_beam else self._records(split, files)
            # tfds fails on a split without examples, which is no mistake: all of a test day may be missing.
            if examples is None:
                logging.warning("split %s is empty: %s", split, self._manifest.why_empty(split))
            else:
                generators[split] = examples
        if not generators:
            raise InputError(f"no file gives an example: {self._manifest.summary()}; {self._advise()}")
        return generators

    def _advise(self) -> str:
        """What to build instead of a data set without examples."""
        held = self._manifest.held_bands()
        if not held:
            return "are 'bands' right?"
        split_by = dict(self._chosen.empty.instead) if self._chosen.empty else {}
        bands, satellite = ", ".join(map(str, held["bands"])), self.builder_config.selection.satellite
        command = self._build_command(again=False, **split_by, **held)
        return f"no patch holds all bands, most files hold bands {bands} of {satellite}: {command}"

    def _generate_examples(self, split: str, files: Sequence[TileFile]) -> Iterator[tuple[str, bytes]]:
        for _, outcome in self._reader.map(tqdm(files, desc=f"{split} tiles", unit="tile", disable=None)):
            self._manifest.add(split, outcome)
            yield from outcome.examples

    def _records(self, split: str, files: Sequence[TileFile]) -> Iterator[tuple[str, bytes]] | None:
        records = iter(self._generate_examples(split, files))
        first = next(records, None)
        return None if first is None else itertools.chain([first], records)

    def _beam_examples(self, split: str, files: Sequence[TileFile]) -> Any:
        from satxlate_jax.dataset import beam as beam_tiles

        selection = self.builder_config.selection
        count = manifest.SplitCount(statistics.BandCounts(len(selection.bands)))
        for file in files:
            outcome = self._reader.call(file)
            count.add(outcome)
            if outcome.patches:
                return beam_tiles.ReadTiles(split, files, selection, self.data_path)
        self._manifest.splits[split] = count
        return None
