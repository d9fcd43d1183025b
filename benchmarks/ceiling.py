"""The loopback limit: what this machine and this origin give to plain C clients, wrk and curl, in the same run.

A library's figure near the limit says that the origin, and not the library, is what was measured. wrk has as many
connections as the cases have requests in flight. curl has one: several connections may get past it.
"""

from __future__ import annotations

import fnmatch
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import content
from .content import GIB, KIB, MIB
from .loops import IN_FLIGHT
from .nginx import LIMIT_RATE_MIB
from .origin import Origin
from .process import children_cpu_s

_WRK_S = 2
_CURL_RUNS = 3  # the best counts: the first also warms what nginx and the kernel keep
_DEFAULT_CONCURRENCY = 16  # cumulo's max_concurrency
_PUT_SCRIPT = f"""wrk.method = "PUT"
wrk.path = "/{content.SINK_BUCKET}/raw"
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
_OBJECT_SCRIPT = f"""math.randomseed(7)
function request()
  return wrk.format("GET", string.format("/{content.BUCKET}/objects/%03d.bin", math.random(0, {content.OBJECTS - 1})))
end
"""
_WRK_SUMMARY = """
function done(summary)
  io.write("SUMMARY ", summary.requests, " ", summary.duration, "\\n")
end
"""


@dataclass(frozen=True)
class Ceiling:
    """One raw figure; ``cases`` are patterns of the names of those that it bounds."""

    title: str
    tool: str
    wall_s: float
    cpu_s: float | None
    operations: int
    bytes: int
    cases: tuple[str, ...]


@dataclass(frozen=True)
class _Figure:
    title: str
    tool: str
    measure: Callable[[], tuple[float, float | None, int, int]]
    cases: tuple[str, ...]


def measure_ceilings(origin: Origin, names: Sequence[str]) -> list[Ceiling]:
    """What bounds any of the cases, as far as the tools for it are installed."""
    return [
        Ceiling(figure.title, figure.tool, *figure.measure(), figure.cases)
        for figure in _figures(origin)
        if any(_bounds(figure.cases, name) for name in names)
    ]


def ceiling_of(ceilings: Sequence[Ceiling], name: str) -> Ceiling | None:
    """The one that bounds the case, if there is one."""
    return next((ceiling for ceiling in ceilings if _bounds(ceiling.cases, name)), None)


def _bounds(patterns: Sequence[str], name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _figures(origin: Origin) -> list[_Figure]:
    """More special ones first: a case is bounded by the first that names it."""
    figures = [_Figure(f"{_DEFAULT_CONCURRENCY} capped connections", "nginx", _capped, ("*-capped",))]
    if shutil.which("wrk"):
        wrk = partial(_wrk, origin.url)
        if origin.tls_url:
            tls = partial(_wrk, origin.tls_url, _RANGE_SCRIPT, 16 * KIB)
            figures.append(_Figure("16 KiB ranges over TLS", "wrk", tls, ("ranges-tls",)))
        figures += [
            _Figure("16 KiB ranges", "wrk", partial(wrk, _RANGE_SCRIPT, 16 * KIB), ("ranges-*", "*-ranges")),
            _Figure("1 MiB objects", "wrk", partial(wrk, _OBJECT_SCRIPT, MIB), ("objects-*",)),
            _Figure("put 16 KiB", "wrk", partial(wrk, _PUT_SCRIPT, 16 * KIB), ("put-16kib*", "*-put-16kib")),
        ]
    if shutil.which("curl"):
        if origin.tls_url:
            figures += _curls(origin, origin.tls_url, " over TLS", "*-tls")
        figures += _curls(origin, origin.url, "", "*")
    return figures


def _curls(origin: Origin, url: str, how: str, rest: str) -> list[_Figure]:
    big = f"{url}/{content.BUCKET}/{content.BIG_KEY}"
    copy = str(Path(origin.files).parent / "curl.copy")
    send = ["-T", str(origin.path(content.BIG_KEY)), f"{url}/{content.SINK_BUCKET}/raw"]
    return [
        _Figure(f"download 1 GiB{how}", "curl", partial(_curl, ["-o", copy, big]), (f"download-1gib{rest}",)),
        _Figure(
            f"get 1 GiB{how}",
            "curl",
            partial(_curl, ["-o", "/dev/null", big]),
            (f"get-1gib{rest}", f"stream-1gib{rest}", f"reader-1gib{rest}", f"*-get-1gib{rest}"),
        ),
        _Figure(
            f"put 1 GiB from a file{how}",
            "curl",
            partial(_curl, send),
            (f"put-1gib-file{rest}", f"put-512mib{rest}", f"put-iterator{rest}"),
        ),
    ]


def _capped() -> tuple[float, float | None, int, int]:
    return 1.0, None, 1, _DEFAULT_CONCURRENCY * LIMIT_RATE_MIB * MIB


def _wrk(url: str, script: str, size: int) -> tuple[float, float, int, int]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "script.lua"
        path.write_text(script + _WRK_SUMMARY)
        cpu = children_cpu_s()
        command = ["wrk", "-t1", f"-c{IN_FLIGHT}", f"-d{_WRK_S}s", "-s", str(path), f"{url}/"]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    requests, microseconds = map(int, output.split("SUMMARY")[1].split()[:2])
    return microseconds / 1e6, children_cpu_s() - cpu, requests, requests * size


def _curl(arguments: list[str]) -> tuple[float, float, int, int]:
    runs: list[tuple[float, float]] = []
    for _ in range(_CURL_RUNS):
        cpu, start = children_cpu_s(), time.perf_counter()
        subprocess.run(["curl", "-sSfk", *arguments], check=True)
        runs.append((time.perf_counter() - start, children_cpu_s() - cpu))
    return *min(runs), 1, GIB
