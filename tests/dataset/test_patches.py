import numpy as np
import pytest
import tensorflow as tf

from satxlate_jax.cli import InputError
from satxlate_jax.dataset.selection import patch_offsets
from satxlate_jax.dataset.tile_patches import cut_patches, serialize


@pytest.mark.parametrize(
    ("height", "width", "patch", "stride"), [(10, 14, 4, None), (17, 9, 5, 2), (8, 30, 8, 3), (6, 6, 6, 1)]
)
def test_patches_cover_every_pixel_in_row_major_order(height, width, patch, stride):
    offsets = patch_offsets(height, width, patch, stride)
    covered = np.zeros((height, width), int)
    for row, column in offsets:
        assert row >= 0 and column >= 0 and row + patch <= height and column + patch <= width
        covered[row : row + patch, column : column + patch] += 1
    assert covered.min() >= 1
    assert [tuple(pair) for pair in offsets] == sorted({tuple(pair) for pair in offsets})
    x = np.arange(height * width * 3, dtype=np.int32).reshape(height, width, 3)
    patches = cut_patches(x, patch, stride)
    assert patches.dtype == x.dtype
    for (row, column), one in zip(offsets, patches, strict=True):
        np.testing.assert_array_equal(one, x[row : row + patch, column : column + patch])


def test_without_stride_only_the_last_row_and_column_overlap():
    offsets = patch_offsets(10, 14, 4)
    assert sorted({row for row, _ in offsets}) == [0, 4, 6]
    assert sorted({column for _, column in offsets}) == [0, 4, 8, 10]


@pytest.mark.parametrize(
    ("height", "width", "patch", "stride"),
    [(40, 64, 64, None), (64, 40, 64, None), (8, 8, 0, None), (8, 8, 4, 0), (8, 8, 4, 5)],
)
def test_impossible_patches_are_one_clear_error(height, width, patch, stride):
    with pytest.raises(InputError) as error:
        patch_offsets(height, width, patch, stride)
    assert "\n" not in str(error.value)


PLACE = {"year": 2020, "minute": 0, "h": 127, "v": 128, "tile": "h12v04", "file_name": "ä" * 100}


@pytest.mark.parametrize(("size", "bands"), [(1, 1), (7, 3), (64, 16), (150, 16)])
def test_tensorflow_reads_the_records(size, bands):
    tile = np.random.default_rng(size).integers(0, 65536, (300, 300, bands)).astype(np.uint16)
    patch = tile[7 : 7 + size, 9 : 9 + size]
    example = tf.train.Example.FromString(serialize(PLACE | {"patch": patch}))
    found = {}
    for name, feature in example.features.feature.items():
        (found[name],) = getattr(feature, feature.WhichOneof("kind")).value
    np.testing.assert_array_equal(np.frombuffer(found.pop("patch"), np.uint16).reshape(size, size, bands), patch)
    assert found | {name: found[name].decode() for name in ("tile", "file_name")} == PLACE
