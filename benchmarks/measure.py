"""One measurement: one case, one library, in this process, which does nothing else and then ends.

Run by `runner` as ``python -m benchmarks.measure CASE LIBRARY ORIGIN.json``; prints one JSON object on stdout.
Peak memory counts from before the library was imported, so that its code and the buffers it keeps from the warm-up are
its own expense.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import process
from .cases import CASES
from .content import MIB
from .origin import Origin
from .workload import Library, Variant, Work, Workload, require


@dataclass(frozen=True)
class Measurement:
    """What one run cost the client process, and the origin. None is what the system doesn't tell."""

    wall_s: float
    cpu_s: float
    operations: int
    bytes: int
    peak_mib: float | None
    growth_mib: float | None
    origin_cpu_s: float | None
    counters: dict[str, float]


def measure(case_name: str, library_name: str, origin: Origin) -> Measurement:
    """Warm up, time one run, then check what it brought."""
    gc.collect()
    before_import = process.resident_bytes()
    case = CASES[case_name]
    library = importlib.import_module(library_name) if case.libraries else _load(library_name)
    workload = case.prepare(library, origin)
    workload.warm_up()
    gc.collect()
    time.sleep(workload.settle_s)
    counters = _live_counters(library)
    resident = process.resident_bytes()
    origin_cpu = process.workers_cpu_s(origin.pid)
    wall, cpu, work = _timed(workload)
    origin_cpu = _difference_of(process.workers_cpu_s(origin.pid), origin_cpu)
    peak = process.peak_bytes()
    require(work == workload.expected, f"{work} instead of {workload.expected}")
    gc.collect()
    time.sleep(workload.settle_s)
    after = process.resident_bytes()
    counters = _difference(_live_counters(library), counters)
    workload.check()
    baseline = None if before_import is None else before_import + workload.harness_bytes
    growth = _mib(after, resident)
    return Measurement(wall, cpu, work.operations, work.bytes, _mib(peak, baseline), growth, origin_cpu, counters)


def _load(name: str) -> Library:
    """A module by its name; with S3 options behind it, as in ``cumulo:bulk_client=crt``, a variant of it."""
    module, *options = name.split(":")
    library = importlib.import_module(module)
    importlib.import_module(f"{module}.store")
    return Variant(library, dict(option.split("=", 1) for option in options)) if options else library


def _timed(workload: Workload) -> tuple[float, float, Work]:
    process.reset_peak()
    cpu = process.cpu_s() + process.children_cpu_s()
    start = time.perf_counter()
    work = workload.run()
    wall = time.perf_counter() - start
    return wall, process.cpu_s() + process.children_cpu_s() - cpu, work


def _mib(value: int | None, baseline: int | None) -> float | None:
    difference = _difference_of(value, baseline)
    return None if difference is None else difference / MIB


def _difference_of(value: float | None, baseline: float | None) -> float | None:
    return None if value is None or baseline is None else value - baseline


def _live_counters(library: Library) -> dict[str, float]:
    """The numbers in ``library.runtime.stats()`` that speak of what is alive now; peers have none."""
    stats = getattr(getattr(library, "runtime", None), "stats", None)
    if stats is None:
        return {}
    numbers = _flatten("", stats())
    return {
        name: value
        for name, value in numbers.items()
        if any(word in name for word in ("live", "in_use", "in_flight", "held"))
    }


def _flatten(prefix: str, value: Any) -> dict[str, float]:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return {prefix: value}
    if not isinstance(value, dict):
        return {}
    found: dict[str, float] = {}
    for name, item in value.items():
        found.update(_flatten(f"{prefix}.{name}".lstrip("."), item))
    return found


def _difference(after: dict[str, float], before: dict[str, float]) -> dict[str, float]:
    changes = {name: value - before.get(name, 0) for name, value in after.items()}
    return {name: change for name, change in changes.items() if change}


def main(arguments: list[str]) -> None:
    """Measure as the command line says and print the result."""
    case, library, origin_file = arguments
    origin = Origin(**json.loads(Path(origin_file).read_text()))
    print(json.dumps(asdict(measure(case, library, origin))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
