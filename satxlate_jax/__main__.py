"""`python -m satxlate_jax SUBCOMMAND ...`, the same program as the console script `satxlate`."""

import atexit
import contextlib
import errno
import logging
import os
import signal
import sys
import traceback
import warnings
from importlib import import_module
from typing import Any, NoReturn

from satxlate_jax import __version__
from satxlate_jax.cli import InputError
from satxlate_jax.options import parse

# subcommand -> (module with main(options), or module:function, and its description); only what is used is imported
SUBCOMMANDS = {
    "simulate": ("satxlate_jax.simulator.simulate", "write L1G files of scenes as several satellites see them"),
    "tiles": ("satxlate_jax.sources.tiles", "turn public Level-1b granules into L1G tiles"),
    "catalog": ("satxlate_jax.archive.coverage", "list what an archive of L1G files holds and lacks"),
    "statistics": ("satxlate_jax.dataset.statistics", "describe prepared data sets band by band"),
    "train": ("satxlate_jax.training.loop", "train a translator, or continue a run"),
    "compile": ("satxlate_jax.benchmarks.compile", "measure a training step on TPU chips that need not be there"),
    "translate": ("satxlate_jax.translation.translate_archive", "turn one satellite's tiles into another's"),
    "evaluate": ("satxlate_jax.evaluation.evaluate", "score translations against coincident observations"),
    "pool": ("satxlate_jax.evaluation.evaluate:pool", "pool the parts of an evaluation into its tables"),
    "compare": ("satxlate_jax.evaluation.compare", "put the scores of many evaluations into one table"),
    "quicklook": ("satxlate_jax.evaluation.quicklook", "draw tiles: true colour, infrared, water vapour, differences"),
    "animate": ("satxlate_jax.evaluation.animate", "make a GIF or MP4 of translated tiles beside observed ones"),
    "info": ("satxlate_jax.translation.info", "say what a run or a translated file is"),
    "runs": ("satxlate_jax.translation.info:runs", "list the runs that come with the package"),
    "bench": ("satxlate_jax.benchmarks", "measure how fast this machine builds data sets and feeds training"),
    "path": ("satxlate_jax.shipped", "print where a shipped configuration or the TFDS builder lies"),
    "demo": ("satxlate_jax.demo", "run everything on simulated tiles, in minutes"),
    "import-torch": ("satxlate_jax.training.torch_reference", "turn a checkpoint of the PyTorch release into a run"),
}

# Errors of a place on disk -> advice. Any other OSError is a fault of the program and keeps its traceback.
_ADVICE = {
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG): "free some space, raise `ulimit -f`, or choose another folder",
    (errno.EACCES, errno.EPERM, errno.EROFS): "choose a place that you may read from and write to",
    (errno.ENOENT, errno.EISDIR): "check the path",
    (errno.ENOTDIR, errno.EEXIST): "a file is in the place of a folder; name another",
    (errno.ENAMETOOLONG,): "choose a shorter path",
}


def _place_error(error: OSError) -> str:
    """One line for an error of a place on disk; '' for any other."""
    advice = [advice for codes, advice in _ADVICE.items() if error.errno in codes]
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    place = f"cannot use '{names[-1]}'" if names else "cannot read or write"
    return f"{place}: {os.strerror(error.errno or 0)}; {advice[0]}" if advice else ""


def _device_error(error: Exception) -> str:
    """One line where JAX found no device: it says so, or (cuda without its plugin) fails an assertion; '' elsewhere."""
    raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
    if "initialize backend" not in str(error) and not raised_in.endswith("xla_bridge.py"):
        return ""
    platforms, reason = os.environ.get("JAX_PLATFORMS", ""), " ".join(str(error).split())[:200]
    advice = "unset it, set it to cpu, or install the extra `cuda12`, `cuda13` or `tpu` on a machine that has one"
    return f"no device of JAX_PLATFORMS={platforms} ({reason or 'no plugin for it'}); {advice}"


def run_subcommand(name: str, words: list[str]) -> int | None:
    """Run a subcommand: understand its words, then import what does it; the names under `bench` do so themselves."""
    options = words if name == "bench" else parse(name, words)
    module, _, function = SUBCOMMANDS[name][0].partition(":")
    work = getattr(import_module(module), function or "main")
    if signal.getsignal(signal.SIGINT) is _stop_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return work(options)


def _stop_at_once(*_: Any) -> None:
    """End the program while it imports: some libraries catch a KeyboardInterrupt there and go on."""
    print("satxlate: interrupted", file=sys.stderr, flush=True)
    os._exit(130)


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand.

    Args:
      argv: the words after the program's name; default `sys.argv[1:]`.

    Returns:
      Exit code: 0 done, 2 a mistake of the user or a machine that cannot (one line on stderr), 130 interrupted.
    """
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(f"satxlate_jax {__version__}: {__doc__}\n\nsubcommands (each has --help):")
        print("\n".join(f"  {name:<13} {text}" for name, (_, text) in SUBCOMMANDS.items()))
        return 0 if argv else 2
    if argv[0] == "--version":
        print(__version__)
        return 0
    name, *arguments = argv
    if name not in SUBCOMMANDS:
        print(f"satxlate: unknown subcommand '{name}'; there are {', '.join(SUBCOMMANDS)}", file=sys.stderr)
        return 2
    code = 2
    try:
        return run_subcommand(name, arguments) or 0
    except InputError as error:
        complaint = str(error)
    except KeyboardInterrupt:
        complaint, code = "interrupted", 130
    except (OSError, RuntimeError, AssertionError) as error:
        complaint = _place_error(error) if isinstance(error, OSError) else _device_error(error)
        if not complaint:
            raise
    print(f"satxlate {name}: {complaint}", file=sys.stderr)
    return code


def run() -> int:
    """The program `satxlate`: `main`, and exit code 141 in silence when the reader of its output goes away."""
    code = 1  # of an exception
    # registered first, called last: the interpreter would take half a second to take itself apart
    atexit.register(lambda: _end(code))
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop_at_once)
    try:
        try:
            result = main()
        except SystemExit as end:  # argparse has printed --help
            result = int(end.code or 0)
        sys.stdout.flush()
        code = result
        if code:  # the reason is printed; messages of a failed run's background threads add nothing
            logging.disable()
            sys.unraisablehook = lambda _: None
            warnings.simplefilter("ignore")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its exit
        code = 141  # as of a program that SIGPIPE ended
    except OSError as error:
        print(f"satxlate: cannot write its output ({error.strerror or error})", file=sys.stderr)
    return code


def _end(code: int) -> NoReturn:
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(run())
