"""Do the parts of a command on Apache Beam's workers, on one machine or many, and merge what they give."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions


def run_parts(
    do: Callable[[tuple[int, int]], Any],
    count: int,
    merge: Callable[[Any, Any], Any],
    keep: Callable[[Any], None],
    options: str,
) -> None:
    """Do parts 1 to `count` of a job and merge their results, in any order.

    Args:
      do: from (number, count) to the part's result; both go from one process to another.
      count: of parts, at least 1.
      merge: adds the second result to the first, which it may alter and returns.
      keep: what a worker does with the merged result, such as writing it where all can read it.
      options: of the pipeline as `tfds build --beam_pipeline_options` takes them, such as 'runner=FnApiRunner'.
    """
    with beam.Pipeline(options=PipelineOptions([f"--{option}" for option in options.split(",")])) as pipeline:
        _ = (
            pipeline
            | "Parts" >> beam.Create([(number, count) for number in range(1, count + 1)])
            | "Share" >> beam.Reshuffle()
            | "Do" >> beam.Map(do)
            | "Merge" >> beam.CombineGlobally(_Merge(merge))
            | "Keep" >> beam.Map(keep)
        )


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
