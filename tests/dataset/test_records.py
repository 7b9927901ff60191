import numpy as np
import pytest
import tensorflow as tf

from satxlate_jax.dataset.patches import patch_offsets
from satxlate_jax.dataset.records import serialize_patches

PLACE = {"year": 2020, "minute": 0, "h": 127, "v": 128, "tile": "h12v04", "file_name": "ä" * 100}


# sizes of one, two, three and four bytes in the encoding, and tiles that are no multiple of a patch
@pytest.mark.parametrize(("size", "bands"), [(1, 1), (7, 3), (64, 16), (150, 16), (300, 16)])
def test_tensorflow_reads_the_records(size, bands):
    codes = np.random.default_rng(size).integers(0, 65536, (300, 300, bands)).astype(np.uint16)
    offsets = patch_offsets(300, 300, size).tolist()[:30]
    records = serialize_patches(codes, offsets, size, PLACE)
    assert len(records) == len(offsets)
    for record, (row, column) in zip(records, offsets, strict=True):
        example = tf.train.Example.FromString(bytes(record))
        found = {}
        for name, feature in example.features.feature.items():
            (found[name],) = getattr(feature, feature.WhichOneof("kind")).value
        patch = np.frombuffer(found.pop("patch"), np.uint16).reshape(size, size, bands)
        np.testing.assert_array_equal(patch, codes[row : row + size, column : column + size])
        found |= {name: found[name].decode() for name in ("tile", "file_name")}
        assert found == PLACE | {"row": row, "column": column}
        assert example.ByteSize() == len(record)  # nothing but the fields


def test_no_negative_numbers():
    with pytest.raises(ValueError, match="-1"):
        serialize_patches(np.zeros((4, 4, 1), np.uint16), [(0, 0)], 4, {"year": -1})
