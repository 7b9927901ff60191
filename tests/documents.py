"""The commands that the documents tell a user to type, and a place to run them in, with small numbers."""

import argparse
import ast
import contextlib
import os
import re
import shlex
import subprocess
import warnings
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import Any

import pytest

from satxlate_jax.__main__ import SUBCOMMANDS, main, run_subcommand
from satxlate_jax.cli import CommandParser
from tests.tiny_run import once

PROJECT = Path(__file__).resolve().parent.parent
DOCUMENTS = {
    str(path.relative_to(PROJECT)): path.read_text()
    for path in [
        *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "datasets/geonex_l1g/README.md")),
        *sorted((PROJECT / "docs").glob("*.md")),
    ]
}
NARROW = ["--config.generator.dim=4", "--config.discriminator.dim=4", "--config.generator.n_res=1"]
QUIET = ["--config.image_every=0", "--config.histogram_every=0", "--config.validate_every=0"]
# subcommand -> words that make it small; they come last, where they win over the document's
SMALLER = {
    "simulate": ["--tiles=1", "--times=3", "--workers=1"],
    "train": ["--config.steps=2", *NARROW, *QUIET],
    "translate": ["--workers=1"],
    "evaluate": ["--pictures=0", "--max_files=1", "--baselines=band_copy,linear"],
}

# what a text puts in the place of a name -> a name
_PLACEHOLDERS = {"satellite": "G16", "origin": "G16", "most": "G16", "step": "7", "steps": "7"}
_COMMAND = re.compile(r"(?:python -m satxlate_jax|(?<=`)satxlate|tfds(?= build )) +[^\n`]+")
_PROSE = re.compile(r"( # |; |;$| && | \| |, | to |\)(?=[.:,]|$)| and | or | as | in ).*$")


def _strings(source: str) -> Iterator[str]:
    """The texts in a Python file; what an f-string puts in is a name."""
    inside_others = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            parts = []
            for part in node.values:
                inside_others.add(id(part))
                if isinstance(part, ast.Constant):
                    parts.append(str(part.value))
                else:
                    expression = ast.unparse(part.value)
                    names = [name for name in _PLACEHOLDERS if re.search(rf"\b{name}\b", expression)]
                    parts.append(_PLACEHOLDERS[names[0]] if names else "NAME")
            yield "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside_others:
            yield node.value


def texts() -> dict[str, str]:
    """Whatever a user may read: documents, scripts, and the docstrings, help and messages of the code."""
    found = dict(DOCUMENTS)
    for pattern in ("launch/*", "notebooks/*.ipynb"):
        found |= {str(path.relative_to(PROJECT)): path.read_text() for path in sorted(PROJECT.glob(pattern))}
    for folder in ("satxlate_jax", "datasets", "configs"):
        for path in sorted((PROJECT / folder).rglob("*.py")):
            if not path.name.endswith("_test.py"):
                found[str(path.relative_to(PROJECT))] = "\n".join(_strings(path.read_text()))
    return {name: text.replace("\\\n", " ") for name, text in found.items()}


def named_commands() -> list[tuple[str, str]]:
    """Every command with words of its own that a text names, with the text's name."""
    found = []
    for name, text in texts().items():
        for command in _COMMAND.findall(text):
            if "'" not in command:  # what is quoted is JSON, with nothing behind it
                command = _PROSE.sub("", re.sub(r"\[.*?\]|\(and .*", "", command)).replace("...", "").rstrip('",)')
            command = " ".join(command.split())
            words = command.removeprefix("python -m satxlate_jax").removeprefix("satxlate").split()
            subcommand = words[0] if words else ""
            if (
                " -" in command.removeprefix("python -m")
                and "$(" not in command
                and subcommand in {*SUBCOMMANDS, "tfds"}
            ):
                found.append((name, command))
    return found


def named_overrides() -> list[tuple[str, str]]:
    """Every --config.FIELD=VALUE that a text names, with the text's name."""
    found = []
    for name, text in texts().items():
        found += [(name, word) for word in re.findall(r"--config\.[\w.]+=(?:\([^)]*\)|[^\s`'\"\\;,)\]]+)", text)]
    return [(name, word.rstrip(".:")) for name, word in found if "FIELD" not in word]


class Parsed(Exception):
    """What a subcommand's own parser made of its words: it went no further."""

    def __init__(self, parser: CommandParser, options: argparse.Namespace, others: list[str]):
        self.parser, self.options, self.others = parser, options, others


def parse(words: Sequence[str]) -> Parsed:
    """What `satxlate WORDS` is taken for: options, and words for a configuration.

    Raises:
      InputError: as the subcommand itself would say.
    """
    ordinary = CommandParser.parse_known_args

    def and_stop(parser: Any, args: Any = None, namespace: Any = None) -> Any:
        options, others = ordinary(parser, args, namespace)
        raise Parsed(parser, options, others)

    def all_and_stop(parser: Any, args: Any = None) -> Any:
        options, others = ordinary(parser, args)
        if others:
            parser.error(f"unrecognized arguments: {' '.join(others)}")
        raise Parsed(parser, options, others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CommandParser, "parse_known_args", and_stop)
        patch.setattr(CommandParser, "parse_args", all_and_stop)
        subcommand, *arguments = words
        try:
            run_subcommand(subcommand, arguments)
        except Parsed as parsed:
            return parsed
    raise AssertionError(f"{words} was not parsed")


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


def tutorial() -> Path:
    """A folder in which the commands of docs/tutorial.md ran one after the other, made once."""

    def make(folder: Path) -> None:
        folder.mkdir()
        with inside(folder):
            for command in commands("docs/tutorial.md"):
                if not command.startswith("tensorboard"):
                    assert perform(command) == 0, command

    return once("tutorial", make)
