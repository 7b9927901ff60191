"""How XLA compiles networks: its options, and the cache of compiled programs that the next process finds."""

import functools
import glob
import os
from pathlib import Path
from typing import Any

import jax

# XLA gives convolutions on CPUs to YNNPACK where it can. That is slower than XLA itself: three times for the gradient
# with respect to the weights (3x3, 64 to 64 channels: 30 against 94 G/s on one core), five times for the spectral
# flow's network of 24 channels (jaxlib 0.10.2).
_CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}
# Half of the time of compiling, and no slower programs where these were measured: spectral flows on small patches.
_COMPILED_SOON = {"xla_backend_optimization_level": 1, "xla_llvm_disable_expensive_passes": True}

SIZE = 4 * 2**30  # bytes; the least recently used are evicted


@functools.cache
def _knows_options() -> bool:
    try:
        jax.jit(lambda x: x, compiler_options=_CPU_OPTIONS | _COMPILED_SOON).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def compiler_options(platform: str, *, seldom: bool = False) -> dict[str, Any]:
    """The options of XLA to compile networks with for devices of a platform, 'cpu', 'gpu' or 'tpu'.

    A program that runs `seldom` is better compiled soon than well. {} where the platform needs none, or XLA does not
    know them.
    """
    if platform != "cpu" or not _knows_options():
        return {}
    return _CPU_OPTIONS | (_COMPILED_SOON if seldom else {})


def use_program_cache() -> None:
    """Set JAX's cache of compiled programs, in the user's cache folder; JAX_COMPILATION_CACHE_DIR names another.

    JAX writes an entry in place: a process that is killed meanwhile, or a full disk, leaves one that no run can read
    and none replaces. With a limit of size JAX notes the time of use beside each entry that it has written whole, so
    those without that note are the damaged ones, and are removed.
    """
    if jax.config.jax_compilation_cache_dir is not None:  # the user's, or set by an earlier call
        return
    try:
        import filelock  # here, because steps are timed without it as well

        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        cache = home / "satxlate_jax" / "programs"
        if glob.escape(str(cache)) != str(cache):
            return  # JAX would take the path for a pattern, see no entry and never evict one
        cache.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(cache / ".lockfile", timeout=10):  # the one that JAX takes to write
            for entry in cache.glob("*-cache"):
                if not entry.with_name(entry.name.removesuffix("-cache") + "-atime").exists():
                    entry.unlink(missing_ok=True)
    except (OSError, RuntimeError, ImportError):  # filelock.Timeout is an OSError
        return  # no home that can be written, or no lock: each run compiles for itself
    jax.config.update("jax_compilation_cache_max_size", SIZE)
    jax.config.update("jax_compilation_cache_dir", str(cache))
