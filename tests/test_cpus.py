"""How many CPUs a job may use: the real machine's binding, and folders laid out as Linux shows control groups."""

import os
import subprocess
import sys

import pytest

from satxlate_jax.cpus import count_cpus

BOUND = len(os.sched_getaffinity(0))


def lay_out(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


UNIFIED = {
    "proc/self/cgroup": "0::/system.slice/job_7/step_0\n",
    "proc/self/mountinfo": "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
}
FIRST = {
    "proc/self/cgroup": "5:memory:/slurm/job_7\n4:cpu,cpuacct:/slurm/job_7\n1:name=systemd:/\n0::/\n",
    "proc/self/mountinfo": (
        "32 31 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime master:11 - cgroup cgroup rw,cpu,cpuacct\n"
    ),
}
CONTAINER = {
    "proc/self/cgroup": "4:cpu:/docker/abc\n",
    "proc/self/mountinfo": "33 31 0:30 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n",
}
JOB = "sys/fs/cgroup/system.slice/job_7"
OLD = "sys/fs/cgroup/cpu,cpuacct/slurm"


@pytest.mark.parametrize(
    ("files", "expected"),
    {
        "no control groups": ({}, 64),
        "v2": (UNIFIED | {f"{JOB}/step_0/cpu.max": "400000 100000\n"}, 4),
        "v2, above": (UNIFIED | {f"{JOB}/step_0/cpu.max": "max 100000\n", f"{JOB}/cpu.max": "300000 100000\n"}, 3),
        "v2, tightest": (UNIFIED | {f"{JOB}/step_0/cpu.max": "800000 100000", f"{JOB}/cpu.max": "500000 100000"}, 5),
        "v2, a part of one": (UNIFIED | {f"{JOB}/step_0/cpu.max": "50000 100000\n"}, 1),
        "v2, one and a half": (UNIFIED | {f"{JOB}/step_0/cpu.max": "150000 100000\n"}, 2),
        "v2, none": (UNIFIED | {f"{JOB}/step_0/cpu.max": "max 100000\n"}, 64),
        "v2, more than bound": (UNIFIED | {f"{JOB}/step_0/cpu.max": "12800000 100000\n"}, 64),
        "v2, of another job": (UNIFIED | {"sys/fs/cgroup/system.slice/job_8/cpu.max": "100000 100000\n"}, 64),
        "v1": (FIRST | {f"{OLD}/job_7/cpu.cfs_quota_us": "400000\n", f"{OLD}/job_7/cpu.cfs_period_us": "100000\n"}, 4),
        "v1, above": (FIRST | {f"{OLD}/cpu.cfs_quota_us": "200000\n", f"{OLD}/cpu.cfs_period_us": "100000\n"}, 2),
        "v1, none": (FIRST | {f"{OLD}/job_7/cpu.cfs_quota_us": "-1\n", f"{OLD}/job_7/cpu.cfs_period_us": "1000\n"}, 64),
        "v1 in a container": (
            CONTAINER
            | {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "600000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"},
            6,
        ),
        "nonsense": (UNIFIED | {f"{JOB}/step_0/cpu.max": "what\n"}, 64),
    }.values(),
)
def test_a_quota_of_the_control_group_counts(tmp_path, monkeypatch, files, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    assert count_cpus(lay_out(tmp_path, files)) == expected


def test_a_process_bound_to_one_cpu_starts_one_reader():
    program = (
        "import os; os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])\n"
        "from satxlate_jax.l1g.isolation import IsolatedCalls\n"
        "from satxlate_jax.options import parse\n"
        "words = ['--checkpoint', 'a', '--to', 'G16', '--output', 'b', 'c']\n"
        "print(IsolatedCalls(os.getpid).workers, parse('translate', words).workers)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["1", "1"]


def test_nothing_asks_for_the_machines_cpus():
    """Siblings of the fault: the only question for the machine's CPUs is the one in cpus.py."""
    from tests.test_import_rules import PACKAGE, modules

    for path in modules():
        if path.name != "cpus.py":
            text = path.read_text()
            for word in ("cpu_count", "sched_getaffinity", "ThreadPoolExecutor()", "ProcessPoolExecutor()"):
                assert word not in text, f"{path.relative_to(PACKAGE)}: {word}"


def test_this_machine():
    assert 1 <= count_cpus() <= BOUND
