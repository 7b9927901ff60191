"""The command line: options of a subcommand, and the one-line error for what the user handed in."""

import argparse
import difflib
import os
from collections.abc import Callable, Sequence
from typing import Any, NoReturn


class InputError(ValueError):
    """A mistake in what was handed in (path, option, file, configuration).

    Its message is one line that says what is wrong, where, and what to do. The command line prints it
    without a traceback and exits with code 2; Python users can catch it.
    """


class CommandParser(argparse.ArgumentParser):
    """argparse's parser, whose complaint is one line too: without the page of usage before it.

    A misspelt option is named before what is then missing.
    """

    _words: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, which every other way of parsing goes through."""
        self._words = list(args or ())
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Raises InputError with argparse's own words, or with the option that there is not."""
        raise InputError(f"{self._misspelt() or message}; `{self.prog} --help` lists the options")

    def _misspelt(self) -> str:
        """The first word that is no option, or the beginning of one; not --config..., which another parser reads."""
        known = [option for action in self._actions for option in action.option_strings]
        for word in self._words:
            name = word.partition("=")[0]
            if not name.startswith("--") or name.startswith("--config"):
                continue
            if not any(option.startswith(name) for option in known):
                close = difflib.get_close_matches(name, known, n=1)
                return f"there is no option {name}" + (f", is {close[0]} meant?" if close else "")
        return ""


def parse_names(text: str) -> list[str]:
    """Names separated by commas, with or without spaces.

    Raises:
      InputError: there is none.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise InputError(f"'{text}' names nothing; write names separated by commas, or leave the option out")
    return names


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


def expanded(text: str) -> str:
    """A path with `~` and `~user` replaced, as a shell does where a word begins with them.

    Raises:
      InputError: it is empty (an unset variable of a shell), or there is no such user.
    """
    if not text:
        raise InputError("the path is empty; name a file or folder ('.' is the folder you are in)")
    path = os.path.expanduser(text)
    if path.startswith("~"):
        raise InputError(
            f"'{text}' begins with a home folder that is not there; './{text}' would be a name of that kind"
        )
    return path


def user_path(text: str) -> str:
    """The type of an option that is a path: `~` is the home folder in `--option=~/x` too, where no shell sees it."""
    try:
        return expanded(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
