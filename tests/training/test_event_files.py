"""After a restart every reader sees each step once."""

from pathlib import Path

import pytest
from etils import epath
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from satxlate_jax.training.event_files import trim_event_files


def _write(folder: Path, steps: range) -> Path:
    before = set(folder.glob("events*"))
    writer = EventFileWriter(str(folder))
    for step in steps:
        writer.add_event(Event(step=step, summary=Summary(value=[Summary.Value(tag="loss", simple_value=step / 7)])))
    writer.close()
    (path,) = set(folder.glob("events*")) - before
    return path


def _steps(path: Path) -> list[int]:
    return [event.step for event in EventFileLoader(str(path)).Load() if event.HasField("summary")]


def test_later_events_go_and_the_others_stay_as_they_are(tmp_path):
    first = _write(tmp_path, range(10))
    kept = first.read_bytes()
    second = tmp_path / first.name.replace("tfevents.", "tfevents.9")
    (tmp_path / "elsewhere").mkdir()
    _write(tmp_path / "elsewhere", range(10, 20)).rename(second)
    trim_event_files(epath.Path(tmp_path), 14)
    assert first.read_bytes() == kept
    assert _steps(second) == [10, 11, 12, 13, 14]
    trim_event_files(epath.Path(tmp_path), 9)
    assert first.read_bytes() == kept
    assert not second.exists(), "a file without events goes"
    assert sorted(path.name for path in tmp_path.glob("*")) == ["elsewhere", first.name]


@pytest.mark.parametrize("cut", [1, 5, 13, 20])
def test_a_record_cut_short_by_a_kill_goes_too(tmp_path, cut):
    path = _write(tmp_path, range(5))
    path.write_bytes(path.read_bytes()[:-cut])
    trim_event_files(epath.Path(tmp_path), 100)
    assert _steps(path) == [0, 1, 2, 3]
    # whole again: what is appended can be read
    whole = path.read_bytes()
    trim_event_files(epath.Path(tmp_path), 100)
    assert path.read_bytes() == whole


def test_zeros_at_the_end_after_a_power_failure_go_too(tmp_path):
    path = _write(tmp_path, range(5))
    path.write_bytes(path.read_bytes() + bytes(4096))
    trim_event_files(epath.Path(tmp_path), 100)
    assert _steps(path) == [0, 1, 2, 3, 4]


def test_a_fresh_start_leaves_none(tmp_path):
    _write(tmp_path, range(3))
    (tmp_path / "events.out.tfevents.1.empty.v2").touch()
    (tmp_path / "notes.txt").write_text("mine")
    trim_event_files(epath.Path(tmp_path), -1)
    assert [path.name for path in tmp_path.glob("*")] == ["notes.txt"]
