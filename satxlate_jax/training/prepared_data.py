"""Find a satellite's prepared data set and check it against the configuration."""

import hashlib
import json
import os
from typing import Any

import numpy as np

from satxlate_jax.atomic import PlainPath
from satxlate_jax.cli import InputError, expanded
from satxlate_jax.dataset.records import FILE_FORMATS
from satxlate_jax.dataset.selection import DATASET, Selection, describe_build
from satxlate_jax.dataset.statistics import NAME as STATISTICS
from satxlate_jax.dataset.statistics import read_statistics
from satxlate_jax.instruments import get_satellite

BUILT_PATCH_SIZE = 64  # of the data sets that are named after a satellite


def find_folder(config: Any, satellite: str) -> str:
    """The folder of a satellite's data set, in its newest version.

    Raises:
      InputError: there is none; the message says how to build it.
    """
    folder = _data_root(config) / DATASET / _dataset_name(config, satellite)
    versions = [path.parent for path in folder.glob("*/dataset_info.json")] if folder.exists() else []
    if not versions:
        command = _build_command(config, satellite)
        how = f"build it (datasets/{DATASET}/README.md has further options, such as split_by): {command}"
        raise InputError(f"no data set of {satellite} in {folder}; set config.data.dir, or {how}")
    return str(max(versions, key=lambda path: [int(part) for part in path.name.split(".") if part.isdecimal()]))


def check_split(config: Any, satellite: str, split: str, info: Any) -> None:
    """Check that a split of the data set of an `info` (tfds.core.DatasetInfo) is what the configuration needs.

    Raises:
      InputError: it has another satellite, bands, patch size or file format, or no examples.
    """
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
    """The fingerprint of the data set of an `info` (tfds.core.DatasetInfo).

    Returns:
      Name -> value, in words that a difference can be told in: the shards and, where the build's manifest and
      statistics are there, what was selected of which files and the statistics' digest. Where the data set lies does
      not matter, nor where the archive lay.

    Raises:
      InputError: the manifest or the statistics cannot be read.
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


def stored_statistics(config: Any, satellite: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation [band] of a satellite's bands in its data set's training split, in each band's unit.

    Raises:
      InputError: there is no data set, it has no statistics, or a band that is absent or nowhere varies.
    """
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
    mean, std = np.array(chosen, np.float64).T
    return mean, std


def _read_manifest(folder: str | PlainPath) -> dict[str, Any]:
    from satxlate_jax.dataset.manifest import read_manifest  # here: the training step is taken without pyhdf, too

    return read_manifest(PlainPath(folder))


def _data_root(config: Any) -> PlainPath:
    default = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")  # as tfds has it
    return PlainPath(expanded(config.data.dir or default))


def _dataset_name(config: Any, satellite: str) -> str:
    return config.data.datasets.get(satellite, satellite.split("_", 1)[0])


def _why_empty(config: Any, satellite: str, split: str, folder: str | PlainPath) -> str:
    """The complaint about an empty split: why, as its build noted, and what helps."""
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
