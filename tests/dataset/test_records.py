"""Records read at any place are those that tensorflow reads one after the other; damage is noticed where it is."""

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tensorflow as tf

from satxlate_jax.dataset import records as module
from satxlate_jax.dataset.records import (
    RECORD_INDEX,
    DamagedRecordError,
    RecordFiles,
    read_bytes_feature,
    write_record_index,
)

LENGTHS = (5, 0, 1, 7)


def examples() -> list[bytes]:
    """With features before and after the one of interest, and of each kind."""
    made = []
    for index in range(sum(LENGTHS)):
        random.seed(index)
        feature = {
            "a": tf.train.Feature(int64_list=tf.train.Int64List(value=[index, 2**40])),
            "patch": tf.train.Feature(bytes_list=tf.train.BytesList(value=[random.randbytes(index * 1000)])),
            "z": tf.train.Feature(float_list=tf.train.FloatList(value=[1.5] * index)),
        }
        made.append(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    return made


@pytest.fixture(params=["tfrecord", "array_record"])
def files(request, tmp_path):
    """Paths and format."""
    left = iter(examples())
    paths = [str(tmp_path / f"shard{index}") for index in range(len(LENGTHS))]
    for path, length in zip(paths, LENGTHS, strict=True):
        if request.param == "tfrecord":
            writer = tf.io.TFRecordWriter(path)
        else:
            from array_record.python.array_record_module import ArrayRecordWriter

            writer = ArrayRecordWriter(path, "group_size:1")
        for _ in range(length):
            writer.write(next(left))
        writer.close()
    return paths, request.param


def test_any_order_in_any_thread(files):
    paths, file_format = files
    expected, records = examples(), RecordFiles(paths, LENGTHS, file_format)
    numbers = [random.Random(1).randrange(len(expected)) for _ in range(200)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(records.read, numbers))
    assert found == [expected[number] for number in numbers]
    for number, record in zip(numbers, found, strict=True):
        assert (
            read_bytes_feature(record, "patch")
            == tf.train.Example.FromString(expected[number]).features.feature["patch"].bytes_list.value[0]
        )


def test_more_shards_than_may_be_open(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "OPEN_FILES", 2)
    paths = [str(tmp_path / f"{index}") for index in range(20)]
    for index, path in enumerate(paths):
        with tf.io.TFRecordWriter(path) as writer:
            writer.write(bytes([index]))
    records = RecordFiles(paths, [1] * 20, "tfrecord")
    with ThreadPoolExecutor(8) as pool:
        assert [bytes(record)[0] for record in pool.map(records.read, [*range(20)] * 10)] == [*range(20)] * 10


@pytest.mark.parametrize("place", [3, 9, 20, 3000, -2])  # a length, its sum, the data's begin, their midst, their sum
def test_a_changed_byte_is_noticed(files, place):
    paths, file_format = files
    content = bytearray(Path(paths[3]).read_bytes())
    content[place] ^= 4
    Path(paths[3]).write_bytes(content)
    records = RecordFiles(paths, LENGTHS, file_format)
    found = []
    try:
        found = [bytes(records.read(number)) for number in range(6, 13)]
    except DamagedRecordError as error:
        assert "shard3" in str(error)
    else:  # ArrayRecord has headers that the index makes unnecessary, and fills blocks up
        assert file_format == "array_record" and place != 3000 and found == examples()[6:]


@pytest.mark.parametrize("lengths", [(5, 0, 1, 6), (5, 0, 1, 8)])
def test_another_number_of_records_than_promised(files, lengths):
    with pytest.raises(DamagedRecordError, match="shard3 has 7 records, not"):
        RecordFiles(files[0], lengths, files[1]).read(6)


def test_a_bucket_is_read_like_a_disk(files, monkeypatch):
    """By way of epath, which hands gs:// on to the libraries for it; here it is given what is on disk."""
    monkeypatch.setattr(module, "_LocalFile", module._RemoteFile)
    monkeypatch.setattr(module._RemoteFile, "block", 5000)  # bytes: neither one record nor all
    paths, file_format = files
    records = RecordFiles(paths, LENGTHS, file_format)
    assert [bytes(records.read(number)) for number in reversed(range(13))] == examples()[::-1]


def test_a_table_of_contents_is_used_where_it_fits(tmp_path, monkeypatch):
    paths = [str(tmp_path / f"x.tfrecord-{index}") for index in range(2)]
    for path, count in zip(paths, (300, 2), strict=True):
        with tf.io.TFRecordWriter(path) as writer:
            for index in range(count):
                writer.write(bytes([index % 251]) * 5000)
    write_record_index(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"x.tfrecord-0", "x.tfrecord-1", RECORD_INDEX}
    with monkeypatch.context() as patch:
        patch.setattr(module, "_find_ends", None)  # nobody looks for them
        records = RecordFiles(paths, (300, 2), "tfrecord")
        assert [bytes(records.read(number)) for number in (299, 0, 301)] == [
            bytes([number]) * 5000 for number in (299 % 251, 0, 1)
        ]
    Path(paths[0]).write_bytes(Path(paths[1]).read_bytes())  # the shard is another one now
    assert bytes(RecordFiles(paths, (2, 2), "tfrecord").read(1)) == bytes([1]) * 5000
    (tmp_path / RECORD_INDEX).write_bytes(b"nothing of use")
    assert bytes(RecordFiles(paths, (2, 2), "tfrecord").read(3)) == bytes([1]) * 5000


@pytest.mark.parametrize("content", [b"", b"\x0a", b"\x08\x01", b"\x0a\x05\x0a\x03\x0a\x01a", b"no example at all"])
def test_what_is_no_example_is_refused(content):
    with pytest.raises(ValueError, match="no example with a feature 'patch'"):
        read_bytes_feature(content, "patch")
