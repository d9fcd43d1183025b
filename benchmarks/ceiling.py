"""The loopback limit: what this machine and this origin can do at all, measured by wrk and curl in the same run.

A library's figure near the limit says that the origin, and not the library, is what was measured.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from . import content
from .content import KIB
from .loops import IN_FLIGHT
from .origin import Origin
from .process import children_cpu_s

_WRK_S = 2
_PUT_SCRIPT = f"""wrk.method = "PUT"
wrk.body = string.rep("x", {16 * KIB})
"""
# A new offset each request, as the cases do.
_RANGE_SCRIPT = f"""math.randomseed(7)
function request()
  local start = math.random(0, {content.SIZES[content.COG_KEYS[0]] - 16 * KIB})
  return wrk.format("GET", "/{content.BUCKET}/cog/" .. math.random(0, 3) .. ".tif",
    {{["Range"] = "bytes=" .. start .. "-" .. (start + {16 * KIB - 1})}})
end
"""

_WRK_SUMMARY = """
function done(summary)
  io.write("SUMMARY ", summary.requests, " ", summary.duration, "\\n")
end
"""


@dataclass(frozen=True)
class Ceiling:
    """One raw figure; ``cases`` are those that it bounds."""

    title: str
    tool: str
    wall_s: float
    cpu_s: float
    operations: int
    bytes: int
    cases: tuple[str, ...]


def measure_ceilings(origin: Origin) -> list[Ceiling]:
    """All that the installed tools can measure."""
    found: list[Ceiling] = []
    with tempfile.TemporaryDirectory() as directory:
        if shutil.which("wrk"):
            found.append(_wrk(origin, Path(directory), "16 KiB ranges", _RANGE_SCRIPT, ("ranges-",)))
            found.append(_wrk(origin, Path(directory), "put 16 KiB", _PUT_SCRIPT, ("put-16kib",)))
    if shutil.which("curl"):
        big = origin.path(content.BIG_KEY)
        url = f"{origin.url}/{content.BUCKET}/{content.BIG_KEY}"
        found.append(_curl("get 1 GiB", ["-o", "/dev/null", url], content.GIB, ("get-1gib", "stream-1gib")))
        sink = f"{origin.url}/{content.SINK_BUCKET}/raw"
        found.append(
            _curl("put 1 GiB from a file", ["-T", str(big), sink], content.GIB, ("put-1gib-file", "put-512mib"))
        )
    return found


def _wrk(origin: Origin, directory: Path, title: str, script: str, cases: tuple[str, ...]) -> Ceiling:
    path = directory / "script.lua"
    path.write_text(script + _WRK_SUMMARY)
    command = [
        "wrk",
        "-t1",
        f"-c{IN_FLIGHT}",
        f"-d{_WRK_S}s",
        "-s",
        str(path),
        f"{origin.url}/{content.SINK_BUCKET}/raw",
    ]
    cpu = children_cpu_s()
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    requests, microseconds = map(int, output.split("SUMMARY")[1].split()[:2])
    cpu = children_cpu_s() - cpu
    return Ceiling(title, "wrk", microseconds / 1e6, cpu, requests, requests * 16 * KIB, cases)


def _curl(title: str, arguments: list[str], size: int, cases: tuple[str, ...]) -> Ceiling:
    """The best of three: the first also warms what nginx and the kernel keep."""
    runs: list[tuple[float, float]] = []
    for _ in range(3):
        cpu, start = children_cpu_s(), time.perf_counter()
        subprocess.run(["curl", "-sSf", *arguments], check=True)
        runs.append((time.perf_counter() - start, children_cpu_s() - cpu))
    wall, cpu = min(runs)
    return Ceiling(title, "curl", wall, cpu, 1, size, cases)
