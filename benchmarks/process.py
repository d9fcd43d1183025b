"""What the operating system says of this process: CPU time of all its threads, resident memory now and at its highest;
and of the origin's workers: CPU time.

Only Linux has the figures this suite wants (a peak that can be reset); elsewhere memory reads as None and only time is
compared.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path

from .content import KIB

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
_PARENT, _USER_TICKS, _SYSTEM_TICKS = 1, 11, 12  # in /proc/<pid>/stat, behind the program's name


def cpu_s() -> float:
    """User and system time of this process so far, ended threads included."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def children_cpu_s() -> float:
    """User and system time of the child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def workers_cpu_s(parent: int) -> float | None:
    """User and system time so far of the processes that ``parent`` has started and that still run."""
    if not _STATUS.exists():
        return None
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it may end meanwhile
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[_PARENT]) == parent:
                ticks += int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_bytes() -> int | None:
    """Resident memory now."""
    return _field("VmRSS")


def peak_bytes() -> int | None:
    """The highest resident memory since `reset_peak`."""
    return _field("VmHWM")


def reset_peak() -> None:
    """Let `peak_bytes` start anew from what is resident now."""
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK)
    except OSError:
        # Not Linux, or not allowed: the peak then includes the warm-up, for every library alike.
        return


def _field(name: str) -> int | None:
    if not _STATUS.exists():
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * KIB
    return None
