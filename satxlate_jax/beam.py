"""Do the parts of a command on Apache Beam's workers, on one machine or many, and merge what they give."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from satxlate_jax.cli import InputError, one_line


def run_parts(
    do: Callable[[tuple[int, int]], Any],
    count: int,
    merge: Callable[[Any, Any], Any],
    keep: Callable[[Any], None],
    options: str,
) -> None:
    """Do parts 1 to `count` of a job and merge their results, in any order.

    `do` makes of (number, count) the part's result; `merge` adds the second result to the first, which it may alter,
    and returns it; `keep` is what a worker does with the merged one, such as writing it where all can read it.
    `options` are those of --beam_pipeline_options, such as 'runner=FnApiRunner'. InputError where Beam does not take
    them, or a part failed.
    """
    try:
        with beam.Pipeline(options=PipelineOptions([f"--{option}" for option in options.split(",")])) as pipeline:
            _ = (
                pipeline
                | "Parts" >> beam.Create([(number, count) for number in range(1, count + 1)])
                | "Share" >> beam.Reshuffle()
                | "Do" >> beam.Map(do)
                | "Merge" >> beam.CombineGlobally(_Merge(merge))
                | "Keep" >> beam.Map(keep)
            )
    except (RuntimeError, ValueError, SystemExit) as error:  # the last where its parser has told what is wrong
        raise InputError(f"Apache Beam: {one_line(error)[:500]}") from error


class _Merge(beam.CombineFn):
    def __init__(self, merge: Callable[[Any, Any], Any]):
        self._merge = merge

    def create_accumulator(self) -> Any:
        return None

    def add_input(self, merged: Any, result: Any) -> Any:
        own = copy.deepcopy(result)  # what Beam hands out must stay as it is
        return own if merged is None else self._merge(merged, own)

    def merge_accumulators(self, merged: Iterable[Any]) -> Any:
        total = None
        for each in merged:
            total = total if each is None else self.add_input(total, each)
        return total

    def extract_output(self, merged: Any) -> Any:
        return merged
