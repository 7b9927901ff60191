"""Compiled programs are kept on disk from run to run, and a program that was written in part is forgotten.

JAX writes an entry in place: a process that is killed meanwhile, or a full disk, leaves one that no run can read and
none replaces. With a limit of size JAX notes the time of use beside each entry that it has written whole, so those
without that note are the damaged ones.
"""

import glob
import os
from pathlib import Path

import jax

SIZE = 4 * 2**30  # bytes; what was used longest ago makes room
_ENTRY, _NOTE = "-cache", "-atime"
_ours: str | None = None  # the folder set in this process


def use_program_cache() -> None:
    """Sets JAX's cache of compiled programs, in the user's cache folder; JAX_COMPILATION_CACHE_DIR says where else."""
    global _ours
    given = jax.config.jax_compilation_cache_dir
    if given not in (None, _ours):
        return
    try:
        import filelock  # here, because steps are timed without it as well

        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        cache = Path(given) if given else home / "satxlate_jax" / "programs"
        if glob.escape(str(cache)) != str(cache):
            return  # JAX would take the path for a pattern, see no entry and never make room
        cache.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(cache / ".lockfile", timeout=10):  # the one that JAX takes to write
            _forget_damaged(cache)
    except (OSError, RuntimeError, ImportError):  # filelock.Timeout is an OSError
        return  # no home that can be written, or no lock: each run compiles for itself
    _ours = str(cache)
    jax.config.update("jax_compilation_cache_max_size", SIZE)
    jax.config.update("jax_compilation_cache_dir", _ours)


def _forget_damaged(cache: Path) -> None:
    for entry in cache.glob(f"*{_ENTRY}"):
        if not entry.with_name(entry.name.removesuffix(_ENTRY) + _NOTE).exists():
            entry.unlink(missing_ok=True)
