"""Read tiles with Apache Beam's workers, on one machine or many."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import apache_beam as beam
from etils import epath

from satxlate_jax.archive.catalog import TileFile, parse_name
from satxlate_jax.dataset.manifest import SplitCount
from satxlate_jax.dataset.selection import Selection
from satxlate_jax.dataset.statistics import BandCounts
from satxlate_jax.dataset.tile_patches import Example, TileOutcome, TileReader


class ReadTiles(beam.PTransform):
    """From nothing to a split's (key, example) pairs; the counts of its files are written beside the data.

    The names of files go to the workers through a file: with ten million of them a pipeline's description is too big.
    """

    def __init__(self, split: str, files: Sequence[TileFile], selection: Selection, folder: epath.Path):
        super().__init__()
        self._list, self._counts = map(str, _paths(folder, split))
        self._selection = selection
        epath.Path(self._list).write_text("".join(f"{json.dumps(str(file.path))}\n" for file in files))

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        """Builds the pipeline."""
        counts = self._counts
        outcomes = (
            pbegin
            | "List" >> beam.Create([self._list])
            | "Lines" >> beam.FlatMap(_lines)  # Beam's own readers of files take a path for a pattern
            | "Parse" >> beam.Map(lambda line: parse_name(json.loads(line)))
            | "Share" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(_Read(self._selection)).with_outputs("counts", main="examples")
        )
        _ = (
            outcomes.counts
            | "Count" >> beam.CombineGlobally(_Count(len(self._selection.bands)))
            | "Write" >> beam.Map(lambda count: epath.Path(counts).write_bytes(count.to_bytes()))
        )
        return outcomes.examples


def read_counts(folder: epath.Path, split: str) -> SplitCount:
    """The counts of a split's files, once the pipeline has run; removes what `ReadTiles` left in the folder."""
    listed, counted = _paths(folder, split)
    count = SplitCount.from_bytes(counted.read_bytes())
    listed.unlink()
    counted.unlink()
    return count


def _paths(folder: epath.Path, split: str) -> tuple[epath.Path, epath.Path]:
    return folder / f"files-{split}.jsonl", folder / f"counts-{split}.npz"


def _lines(path: str) -> Iterator[str]:
    with epath.Path(path).open() as file:
        yield from file


class _Read(beam.DoFn):
    def __init__(self, selection: Selection):
        self._selection = selection

    def setup(self) -> None:
        self._reader = TileReader(self._selection, workers=1)

    def process(self, file: TileFile) -> Iterator[tuple[str, Example] | beam.pvalue.TaggedOutput]:
        outcome = self._reader.call(file)
        yield beam.pvalue.TaggedOutput("counts", replace(outcome, examples=()))
        yield from outcome.examples

    def teardown(self) -> None:
        self._reader.close()


class _Count(beam.CombineFn):
    def __init__(self, bands: int):
        self._bands = bands

    def create_accumulator(self) -> SplitCount:
        return SplitCount(BandCounts(self._bands))

    def add_input(self, count: SplitCount, outcome: TileOutcome) -> SplitCount:
        count.add(outcome)
        return count

    def merge_accumulators(self, counts: Iterable[SplitCount]) -> SplitCount:
        merged, *others = counts
        for other in others:
            merged.merge(other)
        return merged

    def extract_output(self, count: SplitCount) -> SplitCount:
        return count
