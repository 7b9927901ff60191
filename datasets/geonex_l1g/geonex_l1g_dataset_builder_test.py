"""The builder on five small files of dummy_data/, of which one is truncated."""

import json
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from packaging.requirements import Requirement
from packaging.version import Version

sys.path.insert(0, str(Path(__file__).parent.parent))  # as `tfds build` does
from geonex_l1g import geonex_l1g_dataset_builder, tfds_writer  # noqa: E402

# Below tfds: protobuf's `label()`, and what Apache Beam and TF1 mode still import.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CONFIG = geonex_l1g_dataset_builder.GeonexL1gConfig(
    "dummy", satellite="G16", bands=[2, 8, 13], patch_size=100, max_bad_fraction=0.25, seed=1
)


class GeonexL1gTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = geonex_l1g_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = [CONFIG]
    SPLITS = {"train": 18, "validation": 9, "test": 9}

    def prepared(self, data_dir, **download):
        builder = self.DATASET_CLASS(config=CONFIG, data_dir=f"{self.tmp_dir}/{data_dir}")
        config = tfds.download.DownloadConfig(manual_dir=self.dummy_data, **download)
        builder.download_and_prepare(download_config=config)
        return builder

    def test_manifest_names_the_truncated_file(self):
        manifest = json.loads((self.prepared("plain").data_path / "manifest.json").read_text())
        assert manifest["files"] == {"found": 5, "with_examples": 4, "without_examples": 1}
        (skipped,) = manifest["skipped"]
        assert skipped["file"].endswith("GO16_ABI05_20190602_1810_GLBG_h12v04_02.hdf")
        assert skipped["reason"] == "unreadable"

    def test_beam_gives_the_same_examples_in_the_same_order_and_the_same_manifest(self):
        plain = self.prepared("plain")
        beam = self.prepared("beam [1]*", beam_runner=FnApiRunner())  # a name, no pattern
        for name in ("manifest.json", "statistics.json"):
            assert (plain.data_path / name).read_text() == (beam.data_path / name).read_text()
        config = tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1)
        for split, count in self.SPLITS.items():
            pairs = zip(
                plain.as_dataset(split=split, read_config=config),
                beam.as_dataset(split=split, read_config=config),
                strict=True,
            )
            for ours, theirs in pairs:
                for name in ours:
                    assert np.array_equal(ours[name], theirs[name]), name
                count -= 1
            assert count == 0
        names = {path.name for path in beam.data_path.iterdir() if not path.suffix.startswith(".tfrecord")}
        assert names == {path.name for path in plain.data_path.iterdir() if not path.suffix.startswith(".tfrecord")}

    def test_array_record_holds_the_same(self):
        self.prepared("plain", num_shards=3)
        builder = self.DATASET_CLASS(config=CONFIG, data_dir=f"{self.tmp_dir}/other", file_format="array_record")
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=self.dummy_data))
        found = {
            (example["file_name"], example["row"], example["column"]) for example in builder.as_data_source("train")
        }
        assert len(found) == 18


PROJECT = Path(__file__).resolve().parents[2]


def test_what_tfds_does_not_promise_is_as_it_was_tested():
    changes = tfds_writer.find_changes()
    assert not changes, (
        f"{'; '.join(changes)}. Adapt datasets/geonex_l1g/tfds_writer.py, run the tests of the builder, and then set "
        "TESTED there and the bounds in pyproject.toml to this release."
    )


def test_only_the_release_that_was_tested_is_allowed():
    (wanted,) = [
        Requirement(text)
        for text in tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
        if text.startswith("tensorflow-datasets")
    ]
    tested = Version(tfds_writer.TESTED)
    following = f"{tested.major}.{tested.minor}.{tested.micro + 1}"
    assert wanted.specifier.contains(tested) and not wanted.specifier.contains(following)
    assert Version(version("tensorflow-datasets")) == tested, "run the builder's tests, then set TESTED"


def test_a_change_of_tfds_is_told_in_one_line():
    parts = dict(tfds_writer.PARTS)
    function, tested = parts["ShardConfig.get_number_shards"]
    parts["ShardConfig.get_number_shards"] = function, tested.replace(" uses_precise_sharding", "")
    (line,) = tfds_writer.find_changes(parts)
    found = version("tensorflow-datasets")
    assert line == (
        f"tensorflow-datasets {found} has ShardConfig.get_number_shards(self total_size num_examples "
        f"uses_precise_sharding), tested was {tfds_writer.TESTED} with "
        "ShardConfig.get_number_shards(self total_size num_examples)"
    )


def test_only_one_module_uses_what_tfds_does_not_promise():
    """Its public interface is `tfds` and `tfds.core`; the hooks of a builder are documented to be overridden."""
    for path in (PROJECT / "datasets").rglob("*.py"):
        if path.name != "tfds_writer.py" and path != Path(__file__):
            assert "tensorflow_datasets." not in path.read_text().replace("tensorflow_datasets.scripts", ""), path


if __name__ == "__main__":
    tfds.testing.test_main()
