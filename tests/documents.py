"""The commands that the documents tell a user to type, and a place to run them in, with small numbers."""

import contextlib
import os
import shlex
import subprocess
import warnings
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import Any

from satxlate_jax.__main__ import main

PROJECT = Path(__file__).resolve().parent.parent
DOCUMENTS = {
    str(path.relative_to(PROJECT)): path.read_text()
    for path in [
        *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "datasets/geonex_l1g/README.md")),
        *sorted((PROJECT / "docs").glob("*.md")),
    ]
}
NARROW = ["--config.generator.dim=4", "--config.discriminator.dim=4", "--config.generator.n_res=1"]
QUIET = ["--config.image_every=1000000", "--config.histogram_every=1000000", "--config.validate_every=0"]
# verb -> words that make it small; they come last, where they win over the document's
SMALLER = {
    "simulate": ["--tiles=1", "--times=3", "--workers=1"],
    "train": ["--config.steps=2", *NARROW, *QUIET],
    "translate": ["--workers=1"],
    "evaluate": ["--pictures=0", "--max_files=1", "--baselines=band_copy,linear"],
}

_made: dict[str, Path] = {}


def commands(document: str) -> list[str]:
    """The commands in a document's fenced blocks, one string each; blocks in a named language hold none."""
    found, language = [], None
    for line in DOCUMENTS[document].replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            language = line[3:] if language is None else None
        elif language == "":
            words = shlex.split(line, comments=True)
            if words and not words[0].startswith("--"):  # what begins with an option is to be added to a command
                found.append(" ".join(line.partition("  # ")[0].split()))
    return found


def perform(command: str, *more: str) -> int:
    """Runs one command of a document in the folder of now, small; `more` words come last. Returns the exit code."""
    settings, words = [], [found for word in shlex.split(command, comments=True) for found in glob(word) or [word]]
    while "=" in words[0]:
        settings.append(words.pop(0).partition("=")[::2])
    if words[0] == "tfds":
        return _build(words)
    if words[:3] == ["python", "-m", "satxlate_jax"]:
        return main([*words[3:], *SMALLER.get(words[3], []), *more])
    return subprocess.run([*words, *more], env=os.environ | dict(settings), capture_output=True).returncode


def _build(words: Sequence[str]) -> int:
    from tensorflow_datasets.scripts.cli.main import _parse_flags
    from tensorflow_datasets.scripts.cli.main import main as tfds

    with contextlib.chdir("."), warnings.catch_warnings():  # tfds changes the folder and asks for what will be renamed
        warnings.simplefilter("ignore", DeprecationWarning)
        tfds(_parse_flags(list(words)))
    return 0


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[Path]:
    """Makes `folder` the current one for a while, and as a checkout looks from its root."""
    for name in ("datasets", "configs", "launch"):
        if not (folder / name).exists():
            (folder / name).symlink_to(PROJECT / name)
    with contextlib.chdir(folder):
        yield folder


def tutorial(tmp_path_factory: Any) -> Path:
    """A folder in which the commands of docs/tutorial.md ran one after the other, made once."""
    if "tutorial" not in _made:
        with inside(tmp_path_factory.mktemp("tutorial")) as folder:
            for command in commands("docs/tutorial.md"):
                if not command.startswith("tensorboard"):
                    assert perform(command) == 0, command
        _made["tutorial"] = folder
    return _made["tutorial"]
