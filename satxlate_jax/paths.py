"""A path as the user means it: `~` is the home folder, and `[ ] * ?` are letters, as in any other name."""

import glob
import os
from collections.abc import Iterator

from etils.epath.gpath import PosixGPath

from satxlate_jax.errors import InputError


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


class PlainPath(PosixGPath):
    """etils' path, on disk or in a bucket, whose `glob` takes only the pattern for one.

    etils' own looks for `path / pattern` as a whole, and so does every library that is handed such a path: Orbax then
    finds nothing in a folder called 'a[1]'. Paths made from this one are of its kind.
    """

    def glob(self, pattern: str) -> Iterator["PlainPath"]:
        """The files below this folder that match."""
        return PosixGPath.glob(type(self)(glob.escape(os.fspath(self))), pattern)
