"""`python -m satxlate_jax VERB ...`, the same program as the console script `satxlate`."""

import errno
import logging
import os
import sys
import warnings
from importlib import import_module

from satxlate_jax import __version__
from satxlate_jax.cli import InputError

# verb -> (module with main(argv), what it does). A module is imported only when its verb is used.
VERBS = {
    "simulate": ("satxlate_jax.simulator.simulate", "write L1G files of scenes as several satellites see them"),
    "catalog": ("satxlate_jax.archive.command", "list what an archive of L1G files holds and lacks"),
    "statistics": ("satxlate_jax.dataset.statistics_command", "what prepared data sets hold per band"),
    "train": ("satxlate_jax.training.loop", "train a translator, or continue a run"),
    "compile": ("satxlate_jax.benchmarks.compile", "what a training step costs on TPU chips that need not be there"),
    "translate": ("satxlate_jax.translation.command", "turn one satellite's tiles into another's"),
    "evaluate": ("satxlate_jax.evaluation.evaluate", "score translations against coincident observations"),
    "pool": ("satxlate_jax.evaluation.pool", "the tables of an evaluation that was made in parts"),
    "compare": ("satxlate_jax.evaluation.compare", "the scores of many evaluations in one table"),
    "quicklook": ("satxlate_jax.evaluation.quicklook", "draw tiles: true colour, infrared, water vapour, differences"),
    "animate": ("satxlate_jax.evaluation.animate", "a GIF or MP4 of translated tiles, observed beside synthetic"),
    "bench": ("satxlate_jax.benchmarks.bench", "how fast this machine builds data sets and feeds training"),
    "demo": ("satxlate_jax.demo", "all of it on simulated tiles, in minutes"),
    "import-torch": ("satxlate_jax.training.import_torch", "turn a checkpoint of the PyTorch release into a run"),
}


# What a place on disk may refuse -> what to do. Any other OSError is our mistake and keeps its traceback.
_OF_THE_PLACE = {
    errno.ENOSPC: "free some space, or choose another folder",
    errno.EDQUOT: "free some space, or choose another folder",
    errno.EFBIG: "free some space, or raise the limit of file sizes (ulimit -f)",
    errno.EACCES: "choose a folder that you may write to, files that you may read",
    errno.EPERM: "choose a folder that you may write to, files that you may read",
    errno.EROFS: "choose a folder that can be written to",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path: a file stands where a folder is needed",
    errno.EISDIR: "check the path: a folder stands where a file is needed",
    errno.ENAMETOOLONG: "choose a shorter path",
}


def _place(error: OSError) -> str:
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return f"cannot use '{names[-1]}'" if names else "cannot read or write"


def _finds_no_device(error: Exception) -> bool:
    """Whether JAX looked for its devices in vain: it says so, or (cuda without its plugin) fails an assertion."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = trace.tb_frame.f_code if trace else None
    return "initialize backend" in str(error) or (where is not None and where.co_filename.endswith("xla_bridge.py"))


def _usage() -> str:
    lines = [f"satxlate_jax {__version__}: {__doc__}", "", "verbs (each has --help):"]
    lines += [f"  {verb:<13} {text}" for verb, (_, text) in VERBS.items()]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Runs one verb.

    Args:
      argv: the words after the program's name; default `sys.argv[1:]`.

    Returns:
      Exit code: 0 done, 2 a mistake in what was handed in or a machine that cannot (one line on stderr), 130
      interrupted, 141 the reader of the output went away.
    """
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(_usage())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(__version__)
        return 0
    verb, *arguments = argv
    if verb not in VERBS:
        print(f"satxlate: unknown verb '{verb}'; there are {', '.join(VERBS)}", file=sys.stderr)
        return 2
    try:
        return import_module(VERBS[verb][0]).main(arguments) or 0
    except InputError as error:
        complaint, code = str(error), 2
    except KeyboardInterrupt:
        complaint, code = "interrupted", 130
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno not in _OF_THE_PLACE:
            raise
        complaint, code = f"{_place(error)}: {os.strerror(error.errno)}; {_OF_THE_PLACE[error.errno]}", 2
    except (RuntimeError, AssertionError) as error:
        if not _finds_no_device(error):
            raise
        platforms, reason = os.environ.get("JAX_PLATFORMS", ""), " ".join(str(error).split())[:200]
        advice = "unset it, set it to cpu, or install the extra `gpu` or `tpu` where there is one"
        complaint, code = f"no device of JAX_PLATFORMS={platforms} ({reason or 'no plugin for it'}); {advice}", 2
    print(f"satxlate {verb}: {complaint}", file=sys.stderr)
    return code


def run() -> int:
    """The program `satxlate`: `main`, and silence when who reads its output, such as `head`, has had enough."""
    try:
        code = main()
        sys.stdout.flush()
        if code:  # why was said in one line; what background threads of a failed run still have to say adds nothing
            logging.disable()
            sys.unraisablehook = lambda _: None
            warnings.simplefilter("ignore")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its exit
        return 141  # as of a program that SIGPIPE ended
    return code


if __name__ == "__main__":
    sys.exit(run())
