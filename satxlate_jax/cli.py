"""Command-line options that subcommands share, and the one-line error for a mistake of the user."""

import argparse
import difflib
import os
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, NoReturn


class InputError(ValueError, argparse.ArgumentTypeError):
    """A mistake in a path, an option, a file or a configuration.

    Its message is one line that says what is wrong, where, and what to do. The command line prints it without a
    traceback and exits with code 2; Python users can catch it. Raised by an option's type, argparse passes it on.
    """


def one_line(error: BaseException) -> str:
    """An exception's kind and message, without line breaks."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def list_some(names: Sequence[str], all_in: str, most: int = 8) -> str:
    """The first names of a list, how many more there are, and where all of them stand."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more ({all_in})" if len(names) > most else "")


class CommandParser(argparse.ArgumentParser):
    """A parser that raises InputError, and names a misspelt option before what is then missing."""

    takes_config = False
    _words: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Remember the words; every way of parsing goes through here."""
        self._words = list(args or ())
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise InputError in place of a page of usage."""
        raise InputError(f"{self._misspelt() or message}; `{self.prog} --help` lists the options")

    def _misspelt(self) -> str:
        """Complain of the first option that does not exist; --config... is for another parser."""
        known = [option for action in self._actions for option in action.option_strings]
        for name in (word.partition("=")[0] for word in self._words):
            is_option = name.startswith("--") and not name.startswith("--config")
            if is_option and not any(option.startswith(name) for option in known):
                close = difflib.get_close_matches(name, known, n=1)
                return f"there is no option {name}" + (f", is {close[0]} meant?" if close else "")
        return ""


def parse_names(text: str) -> list[str]:
    """Names separated by commas; InputError where there is none."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise InputError(f"'{text}' names nothing; write names separated by commas, or leave the option out")
    return names


def parse_numbers(text: str) -> tuple[int, ...]:
    """Numbers and ranges, such as '32-53,60', in ascending order without repetition; InputError for another text."""
    numbers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,6})\s*(?:-\s*(\d{1,6})\s*)?", part, re.ASCII)
        if match is None:
            raise InputError(f"'{text}' is not a list of numbers; write such as 32-53,60")
        low, high = int(match[1]), int(match[2] or match[1])
        if low > high:
            raise InputError(f"the range {low}-{high} in '{text}' runs backwards; write {high}-{low}")
        numbers.update(range(low, high + 1))
    return tuple(sorted(numbers))


def at_least(smallest: int) -> Callable[[str], int]:
    """The type of an option that is a whole number of 64 bits not below `smallest`."""

    def parse(text: str) -> int:
        if re.fullmatch(r"\s*[+-]?\d{1,18}\s*", text) is None or int(text) < smallest:
            raise InputError(f"'{text}' is not a whole number from {smallest} up")
        return int(text)

    return parse


def minutes(text: str) -> timedelta:
    """A tolerance in minutes; InputError for another text."""
    if re.fullmatch(r"\d{1,6}(\.\d*)?|\.\d+", text.strip(), re.ASCII) is None:
        raise InputError(f"'{text}' is not a number of minutes, such as 2.5")
    return timedelta(minutes=float(text))


def user_path(text: str) -> str:
    """A path with `~` and `~user` replaced, in `--option=~/x` too, where no shell does it.

    InputError where it is empty, or there is no such user.
    """
    if not text:  # as of an unset variable of a shell
        raise InputError("the path is empty; name a file or folder ('.' is the current folder)")
    path = os.path.expanduser(text)
    if path.startswith("~"):
        raise InputError(f"'{text}' begins with a home folder that is not there; './{text}' would be such a name")
    return path


def take_config(parser: CommandParser) -> None:
    """Leave the words that the parser does not know to a training configuration."""
    parser.takes_config, parser.allow_abbrev = True, False
    parser.epilog = "--config=FILE.py names the configuration; --config.FIELD=VALUE overrides any field of it, for "
    parser.epilog += "example --config.data.dir=DATA --config.steps=1000 (configs/default.py lists and explains them)."


def add_archive_filters(parser: Any) -> None:
    """Add --tiles, --year, --days and --hours to a parser or group; `archive_filters` reads them."""
    add = parser.add_argument
    add("--tiles", type=parse_names, metavar="h09v03,...", help="only these tiles (default: all)")
    add("--year", type=parse_numbers, metavar="2018-2020", help="only these years (default: all)")
    add("--years", type=parse_numbers, dest="year", help=argparse.SUPPRESS)  # its former name
    add("--days", type=parse_numbers, metavar="32-53,60", help="only these days of the year (default: all)")
    add("--hours", type=parse_numbers, metavar="0,12-18", help="only these hours, UTC (default: all)")


def archive_filters(options: argparse.Namespace) -> dict[str, Any]:
    """The filters of `archive.catalog.find_tiles`, which checks them; None is all."""
    return {"tiles": options.tiles, "years": options.year, "days": options.days, "hours": options.hours}


def parse_part(text: str, first: int = 1) -> tuple[int, int]:
    """A part of a job, 'K/N' with K counted from `first`, as K counted from 1 and N; InputError for another text."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and first <= int(number) < int(count) + first):
        raise InputError(f"'{text}' is not a part K/N with K from {first}; of 8 parts the first is {first}/8")
    return int(number) + 1 - first, int(count)


def add_part(group: Any, meaning: str) -> None:
    """Add --part K/N to a parser or one of its groups; its value is (K, N)."""
    group.add_argument("--part", type=parse_part, metavar="K/N", help=f"{meaning}, 1/N to N/N")


def add_beam(group: Any) -> None:
    """Add --beam_pipeline_options and --beam_parts to a parser or one of its groups."""
    words = "do it on Apache Beam's workers, such as runner=FlinkRunner,flink_master=HOST:8081 (launch/README.md)"
    group.add_argument("--beam_pipeline_options", default="", metavar="KEY=VALUE,...", help=words)
    group.add_argument("--beam_parts", type=at_least(1), default=8, metavar="N", help="in how many parts (8)")


def part_arguments(argv: Sequence[str], part: tuple[int, int]) -> list[str]:
    """The command line with which a worker of Beam does one part of a command."""
    place = argv.index("--") if "--" in argv else len(argv)
    return [*argv[:place], "--beam_pipeline_options=", f"--part={part[0]}/{part[1]}", *argv[place:]]
