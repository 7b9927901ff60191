"""Keep compiled programs for the next process: most of the time that one tile takes is compiling."""

import glob
import os
from pathlib import Path

import jax

SIZE = 4 * 2**30  # bytes; the least recently used are evicted
_cache: str | None = None  # the folder that this process has set


def use_program_cache() -> None:
    """Set JAX's cache of compiled programs, in the user's cache folder; JAX_COMPILATION_CACHE_DIR names another.

    JAX writes an entry in place: a process that is killed meanwhile, or a full disk, leaves one that no run can read
    and none replaces. With a limit of size JAX notes the time of use beside each entry that it has written whole, so
    those without that note are the damaged ones, and are removed.
    """
    global _cache
    given = jax.config.jax_compilation_cache_dir
    if given not in (None, _cache):
        return
    try:
        import filelock  # here, because steps are timed without it as well

        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        cache = Path(given) if given else home / "satxlate_jax" / "programs"
        if glob.escape(str(cache)) != str(cache):
            return  # JAX would take the path for a pattern, see no entry and never evict one
        cache.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(cache / ".lockfile", timeout=10):  # the one that JAX takes to write
            for entry in cache.glob("*-cache"):
                if not entry.with_name(entry.name.removesuffix("-cache") + "-atime").exists():
                    entry.unlink(missing_ok=True)
    except (OSError, RuntimeError, ImportError):  # filelock.Timeout is an OSError
        return  # no home that can be written, or no lock: each run compiles for itself
    _cache = str(cache)
    jax.config.update("jax_compilation_cache_max_size", SIZE)
    jax.config.update("jax_compilation_cache_dir", _cache)
