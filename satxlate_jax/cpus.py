"""How many CPUs a job may use, which is often fewer than its machine has."""

import math
import os
from collections.abc import Iterator
from pathlib import Path


def count_cpus(root: Path = Path("/")) -> int:
    """CPUs that this process may use: those it is bound to, or fewer where its control group has a quota of time.

    Args:
      root: where /proc and /sys are.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [math.ceil(quota) for quota in _quotas(root)]
    return max(1, min([bound, *quotas]))


def _quotas(root: Path) -> Iterator[float]:
    """CPUs' worth of time that each control group around this process allows, of those that set a limit."""
    for mount, group, is_unified in _cpu_hierarchies(root):
        folder = mount / group.lstrip("/")
        for level in (folder, *folder.parents):  # a limit holds for all groups below
            quota = _read_quota(level, is_unified)
            if quota is not None:
                yield quota
            if level == mount:
                break


def _cpu_hierarchies(root: Path) -> Iterator[tuple[Path, str, bool]]:
    """Where each hierarchy that can limit CPUs is mounted, this process's group below it, and whether it is v2."""
    groups = {}
    for line in _lines(root / "proc/self/cgroup"):  # such as 4:cpu,cpuacct:/slurm/job_7 (v1) or 0::/job_7 (v2)
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if "cpu" in controllers.split(",") or (number == "0" and not controllers):
            groups[not controllers] = group
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        is_unified = kind[0] == "cgroup2"
        if is_unified in groups and (is_unified or (kind[0] == "cgroup" and "cpu" in kind[2].split(","))):
            shown, mount = fields[3], fields[4]  # a container is shown its own group as the root of all
            group = os.path.relpath(groups[is_unified], shown)
            yield root / mount.lstrip("/"), "" if group.startswith("..") or group == "." else group, is_unified


def _read_quota(folder: Path, is_unified: bool) -> float | None:
    """A group's limit in CPUs, None where it sets none."""
    if is_unified:
        words = " ".join(_lines(folder / "cpu.max")).split()  # such as 'max 100000' or '400000 100000', microseconds
    else:
        words = [line for name in ("quota", "period") for line in _lines(folder / f"cpu.cfs_{name}_us")]
    try:
        quota, period = map(int, words)
    except ValueError:  # 'max', or no such file
        return None
    return quota / period if quota > 0 and period > 0 else None  # v1 says -1 for none


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
