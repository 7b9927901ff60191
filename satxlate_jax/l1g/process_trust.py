"""Whether what a C library says in this process can still be believed.

After a damaged file the HDF4 library may fail on sound ones (seen: it lists none of their data sets). Who reads says so
here; `isolated_worker` then asks a new process.
"""

_is_distrusted = False


def distrust_process() -> None:
    """A library met something here that may have left it broken."""
    global _is_distrusted
    _is_distrusted = True


def is_distrusted() -> bool:
    """Whether `distrust_process` was called in this process."""
    return _is_distrusted
