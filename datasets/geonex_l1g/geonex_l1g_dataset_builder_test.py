"""The builder on five small files of dummy_data/, of which one is truncated."""

import json
import sys
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

sys.path.insert(0, str(Path(__file__).parent.parent))  # as `tfds build` does
from geonex_l1g import geonex_l1g_dataset_builder  # noqa: E402

# Below tfds: protobuf's `label()`, and what Apache Beam and TF1 mode still import.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CONFIG = geonex_l1g_dataset_builder.GeonexL1gConfig(
    "dummy", satellite="G16", bands=[2, 8, 13], patch_size=100, max_bad_fraction=0.25, seed=1
)


class GeonexL1gTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = geonex_l1g_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = [CONFIG]
    SPLITS = {"train": 18, "validation": 9, "test": 9}

    def test_manifest_names_the_truncated_file(self):
        builder = self._make_builder(CONFIG)
        config = tfds.download.DownloadConfig(manual_dir=self.dummy_data)
        builder.download_and_prepare(download_config=config)
        manifest = json.loads((builder.data_path / "manifest.json").read_text())
        assert manifest["files"] == {"found": 5, "with_examples": 4, "without_examples": 1}
        (skipped,) = manifest["skipped"]
        assert skipped["file"].endswith("GO16_ABI05_20190602_1810_GLBG_h12v04_02.hdf")
        assert skipped["reason"] == "unreadable"


if __name__ == "__main__":
    tfds.testing.test_main()
