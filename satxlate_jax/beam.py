"""Do the parts of a command on Apache Beam's workers, on one machine or many, and merge what they give."""

import copy
import pickle
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions


def run_parts(
    do: Callable[[tuple[int, int]], Any], count: int, merge: Callable[[Any, Any], Any], options: str, folder: Path
) -> Any:
    """Do parts 1 to `count` of a job and merge their results, in any order.

    Args:
      do: from (number, count) to the part's result; both can be pickled.
      count: of parts, at least 1.
      merge: adds the second result to the first, which it may alter and returns.
      options: of the pipeline as `tfds build --beam_pipeline_options` takes them, such as 'runner=FnApiRunner'.
      folder: that this process and the workers can reach; the merged result passes through it.
    """
    path = folder / "merged.pickle"
    flags = [f"--{option}" for option in options.split(",")]
    with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
        _ = (
            pipeline
            | "Parts" >> beam.Create([(number, count) for number in range(1, count + 1)])
            | "Share" >> beam.Reshuffle()
            | "Do" >> beam.Map(do)
            | "Merge" >> beam.CombineGlobally(_Merge(merge))
            | "Keep" >> beam.Map(partial(_write, path))
        )
    merged = pickle.loads(path.read_bytes())
    path.unlink()
    return merged


def _write(path: Path, merged: Any) -> None:
    path.write_bytes(pickle.dumps(merged))


class _Merge(beam.CombineFn):
    def __init__(self, merge: Callable[[Any, Any], Any]):
        self._merge = merge

    def create_accumulator(self) -> Any:
        return None

    def add_input(self, merged: Any, result: Any) -> Any:
        return copy.deepcopy(result) if merged is None else self._merge(merged, result)

    def merge_accumulators(self, merged: Iterable[Any]) -> Any:
        total = None
        for each in merged:
            total = each if total is None else total if each is None else self._merge(total, each)
        return total

    def extract_output(self, merged: Any) -> Any:
        return merged
