"""What README.md tells a user to type is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
README = (PROJECT / "README.md").read_text()
COMMANDS = re.findall(r"^(?:\S+/)?python -m satxlate_jax (\S+)(.*)$", README, re.MULTILINE)
COMMANDS += re.findall(r"&& \S+python -m satxlate_jax (\S+)(.*)$", README, re.MULTILINE)


def run(*words, **options):
    return subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, **options)


def test_there_are_commands():
    assert {verb for verb, _ in COMMANDS} >= {"train", "translate", "evaluate", "demo", "import-torch"}


@pytest.mark.parametrize(("verb", "words"), COMMANDS, ids=[verb for verb, _ in COMMANDS])
def test_every_option_of_every_command_exists(verb, words):
    if verb == "--help":
        return
    help_text = run(sys.executable, "-m", "satxlate_jax", verb, "--help", check=True).stdout
    for option in re.findall(r"(--[a-z0-9_-]+)(?=[ =]|$)", words.partition("#")[0]):
        assert option in help_text, option


def test_every_file_named_exists():
    for path in re.findall(r"\]\(((?!http|#)[^)]+)\)", README):
        assert (PROJECT / path).exists(), path
    for path in re.findall(r"configs/\w+\.py", README):
        assert (PROJECT / path).exists(), path


def test_every_verb_named_exists():
    verbs = run(sys.executable, "-m", "satxlate_jax", "--help", check=True).stdout
    for verb in re.findall(r"`([a-z-]+)`", README.partition("lists the other verbs (")[2].partition(")")[0]):
        assert f"  {verb} " in verbs, verb


def test_ci_runs_the_readmes_test_command():
    """`.ci/run` finds the command in the README; it is shown here, not run."""
    script = (PROJECT / ".ci" / "run").read_text().replace('eval "$command"', "")
    found = run("bash", "-c", script, PROJECT / ".ci" / "run").stdout
    assert found.strip().removeprefix("+ ") in README.splitlines()
    assert "pytest" in found


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [([], 2, "verbs"), (["--help"], 0, "verbs"), (["--version"], 0, "0."), (["tarin"], 2, "unknown verb 'tarin'")],
)
def test_the_program_itself(words, code, text):
    done = run(sys.executable, "-m", "satxlate_jax", *words)
    assert done.returncode == code
    assert text in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
