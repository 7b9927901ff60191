"""What the user handed in cannot be used: the exception that says so, and the parser of words that raises it."""

import argparse
from collections.abc import Callable
from typing import NoReturn


class InputError(ValueError):
    """A mistake in what was handed in (path, option, file, configuration).

    Its message is one line that says what is wrong, where, and what to do. The command line prints it
    without a traceback and exits with code 2; Python users can catch it.
    """


class CommandParser(argparse.ArgumentParser):
    """argparse's parser, whose complaint is one line too: without the page of usage before it."""

    def error(self, message: str) -> NoReturn:
        """Raises InputError with argparse's own words."""
        raise InputError(f"{message}; `{self.prog} --help` lists the options")


def at_least(smallest: int) -> Callable[[str], int]:
    """The type of an option that is a whole number not below `smallest`, for `add_argument(type=...)`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = smallest - 1
        if number < smallest:
            raise argparse.ArgumentTypeError(f"'{text}' is no whole number from {smallest} up")
        return number

    return parse
