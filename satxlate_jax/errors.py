"""What the user handed in cannot be used: the exception that says so, and the parser of words that raises it."""

import argparse
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
