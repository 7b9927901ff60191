"""Tiles read by Apache Beam's workers, on this machine or on many. The only module that imports apache_beam."""

import json
from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
from etils import epath

from satxlate_jax.archive.catalog import TileFile, parse_name
from satxlate_jax.dataset.examples import Example, TileOutcome, TileReader
from satxlate_jax.dataset.manifest import SplitCount
from satxlate_jax.dataset.selection import Selection
from satxlate_jax.dataset.statistics import BandCounts


class ReadTiles(beam.PTransform):
    """From nothing to a split's (key, example) pairs; what became of the files is written beside the data.

    The files' names go to the workers through a file: of ten million names a pipeline's description is too big.
    """

    def __init__(self, split: str, files: Sequence[TileFile], selection: Selection, folder: epath.Path):
        """Writes the list of files.

        Args:
          split: which split.
          files: its files.
          selection: what to cut from them.
          folder: that this process and the workers can reach; `read_counts` reads from it.
        """
        super().__init__()
        self._split, self._selection, self._folder = split, selection, str(folder)
        _list_path(folder, split).write_text("".join(f"{json.dumps(str(file.path))}\n" for file in files))

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        """Builds the pipeline."""
        split, selection, folder = self._split, self._selection, epath.Path(self._folder)
        outcomes = (
            pbegin
            | "List" >> beam.Create([str(_list_path(folder, split))])
            | "Lines" >> beam.FlatMap(_lines)  # Beam's own readers of files take a path for a pattern
            | "Parse" >> beam.Map(lambda line: parse_name(json.loads(line)))
            | "Share" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(_Read(selection)).with_outputs("counts", main="examples")
        )
        _ = (
            outcomes.counts
            | "Count" >> beam.CombineGlobally(_Count(len(selection.bands)))
            | "Write" >> beam.Map(lambda count: _count_path(folder, split).write_bytes(count.to_bytes()))
        )
        return outcomes.examples


def read_counts(folder: epath.Path, split: str) -> SplitCount:
    """What became of a split's files, once the pipeline has run; removes what `ReadTiles` left in the folder."""
    count = SplitCount.from_bytes(_count_path(folder, split).read_bytes())
    for path in (_count_path(folder, split), _list_path(folder, split)):
        path.unlink()
    return count


def _lines(path: str) -> Iterator[str]:
    with epath.Path(path).open() as file:
        yield from file


def _list_path(folder: epath.Path, split: str) -> epath.Path:
    return folder / f"files-{split}.jsonl"


def _count_path(folder: epath.Path, split: str) -> epath.Path:
    return folder / f"counts-{split}.npz"


class _Read(beam.DoFn):
    def __init__(self, selection: Selection):
        self._selection = selection

    def setup(self) -> None:
        self._reader = TileReader(self._selection, workers=1)

    def process(self, file: TileFile) -> Iterator[tuple[str, Example] | beam.pvalue.TaggedOutput]:
        outcome = self._reader.read(file)
        yield beam.pvalue.TaggedOutput("counts", outcome.without_patches())
        yield from outcome.examples()

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
