"""The verb `pool`: the tables of an evaluation that was made in parts, as of one that was made in one go.

`evaluate --part 1/8` scores every eighth file, with baselines fitted as for all; the parts may be computed by as many
jobs. Errors, percentiles, spectra and calibration are sums over pixels and modes, so that what is pooled is the same
but for rounding. Pictures and the report stay with the parts.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from satxlate_jax.cli import CommandParser, InputError, user_path
from satxlate_jax.evaluation.evaluate import write_results
from satxlate_jax.evaluation.results import Results
from satxlate_jax.evaluation.sums import FORMAT, Part, read_sums
from satxlate_jax.evaluation.verdict import headline

_WORDS = {
    "run": "the run (--checkpoint)",
    "step": "the checkpoint (--step)",
    "source": "the satellite that is translated (--source)",
    "target": "the satellite that is made (--target)",
    "truth": "what it was compared with (--truth)",
    "methods": "which baselines there are (--baselines)",
    "samples": "the number of draws (--samples)",
    "fitted_on": "the files that baselines were fitted on (--l1g, --days and the like, --fit_files, --seed)",
}
"""What must be the same in all parts -> how a user knows it."""


def pool(parts: Sequence[Part], names: Sequence[str]) -> Results:
    """Adds up parts.

    Args:
      parts: of one evaluation; the first takes up the others.
      names: what to call them in errors.

    Raises:
      InputError: they are not of one evaluation, two of them scored the same file, or none scored any.
    """
    first, total, seen = parts[0], parts[0].results, dict.fromkeys(parts[0].files, names[0])
    for part, name in zip(parts[1:], names[1:], strict=True):
        different = [key for key, value in first.made_of.items() if part.made_of.get(key) != value]
        if different:
            what = _WORDS.get(different[0], f"{different[0]} of the run")
            raise InputError(f"'{name}' is no part of the same evaluation as '{names[0]}': {what} differs")
        if part.count != first.count:
            raise InputError(f"'{name}' is one of {part.count} parts, '{names[0]}' one of {first.count}")
        if twice := sorted(part.files & seen.keys()):
            raise InputError(f"'{name}' and '{seen[twice[0]]}' both scored {twice[0]}; give each part once")
        seen |= dict.fromkeys(part.files, name)
        for attribute in ("by_group", "histograms", "spectra", "calibration"):
            _add(getattr(total, attribute), getattr(part.results, attribute))
        total.per_file += part.results.per_file
    if not total.scored_bands:
        raise InputError("in none of these parts could a file be scored")
    total.per_file.sort(key=lambda entry: (entry[0].source.time, entry[0].source.tile))
    return total


def _add(sums: dict[Any, Any], others: Mapping[Any, Any]) -> None:
    for key, other in others.items():
        if key in sums:
            sums[key].merge(other)
        else:
            sums[key] = other


def main(argv: list[str]) -> None:
    """The verb `pool`."""
    parser = CommandParser(
        prog="satxlate pool",
        description="Pool evaluations of parts of an archive (evaluate --part K/N): OUT/scores.csv and the other "
        "tables, as if all had been evaluated at once.",
    )
    parser.add_argument(
        "parts", type=user_path, nargs="+", metavar="PART", help="the --output of `evaluate --part K/N`, for each K"
    )
    parser.add_argument("--output", type=user_path, required=True, metavar="OUT", help="folder for the tables")
    options = parser.parse_args(argv)
    parts = [read_sums(folder) for folder in options.parts]
    results = pool(parts, options.parts)
    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    write_results(results, output)
    print(headline(results))
    count = parts[0].count
    print(f"{len(results.per_file)} files of {len(parts)} of {count} parts: {output / 'scores.csv'}")
    if old := [name for name, part in zip(options.parts, parts, strict=True) if part.format < FORMAT]:
        print(
            f"written by an older version, without scores by area and without limits on the baselines' output: "
            f"{', '.join(old)}; evaluate these again to have both"
        )
    if missing := sorted(set(range(1, count + 1)) - {part.number for part in parts}):
        print(f"missing: {', '.join(f'{number}/{count}' for number in missing)}; the figures are those of the others")
