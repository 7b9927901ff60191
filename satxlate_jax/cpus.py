"""Count the CPUs available to a job, often fewer than its machine has."""

import math
import os
from collections.abc import Iterator
from pathlib import Path


def count_cpus(root: Path = Path("/")) -> int:
    """CPUs that this process may use: those it is bound to, or fewer where its control group has a quota."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([bound, *(math.ceil(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """The limits, in CPUs, of the control groups around this process."""
    for mount, group, is_unified in _hierarchies(root):
        for level in (mount / group, *(mount / group).parents):  # a limit holds for all groups below
            if is_unified:  # such as 'max 100000' or '400000 100000', microseconds
                words = " ".join(_lines(level / "cpu.max")).split()
            else:
                words = [line for name in ("quota", "period") for line in _lines(level / f"cpu.cfs_{name}_us")]
            if len(words) == 2 and all(word.isdecimal() and int(word) for word in words):  # not 'max', nor v1's -1
                yield int(words[0]) / int(words[1])
            if level == mount:
                break


def _hierarchies(root: Path) -> Iterator[tuple[Path, str, bool]]:
    """Mount point, this process's group below it, and whether it is version 2, of each hierarchy that limits CPUs."""
    groups = {}
    for line in _lines(root / "proc/self/cgroup"):  # such as 4:cpu,cpuacct:/slurm/job_7 (v1) or 0::/job_7 (v2)
        number, controllers, group = (line.split(":", 2) + ["", ""])[:3]
        if "cpu" in controllers.split(",") or (number == "0" and not controllers):
            groups[not controllers] = group
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        is_unified = kind[0] == "cgroup2"
        if is_unified in groups and (is_unified or (kind[0] == "cgroup" and "cpu" in kind[2].split(","))):
            group = os.path.relpath(groups[is_unified], fields[3])  # a container is shown its own group as the root
            yield root / fields[4].lstrip("/"), "" if group.startswith("..") or group == "." else group, is_unified


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
