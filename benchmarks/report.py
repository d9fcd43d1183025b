"""Turns results into Markdown tables for people and into JSON for machines."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from .ceiling import Ceiling, ceiling_of
from .content import MIB
from .origin import Origin
from .runner import CaseResult, SeatResult
from .verdicts import Verdict, growth_met, values, verdicts

# Below this many operations a figure for each says nothing.
_MANY = 100
_FIGURES = ("library", "wall", "speed", "CPU", "peak", "origin")
_RATIOS = ("wall ratio", "CPU ratio", "peak ratio")


def environment(origin: Origin, libraries: Sequence[str], rounds: int, budget_mib: float | None) -> dict[str, Any]:
    """What a reader needs to judge the figures."""
    pinned = "not pinned" if origin.cpu is None else f"pinned to CPU {origin.cpu}"
    return {
        "libraries": {name: _version(name) for name in dict.fromkeys(libraries)},
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "origin": f"{origin.version}, {origin.workers} worker(s), {pinned}, sends by {origin.congestion_control}",
        "rounds": rounds,
        "memory_budget_mib": budget_mib,
    }


def markdown_header(facts: dict[str, Any]) -> str:
    """The conditions, above the tables."""
    libraries = ", ".join(f"{name} {version}" for name, version in facts["libraries"].items())
    return (
        f"{libraries}; Python {facts['python']}, {facts['cpus']} CPUs, load {facts['load_before']:.1f}; "
        f"origin {facts['origin']}; medians of {facts['rounds']} round(s), in brackets the lowest and the highest. "
        "CPU is the client process's, user and system, all threads. Peak is resident memory above what it was before "
        "the library's import. Origin is how much of the time its workers were busy: near 100 % for each, it and not "
        "the library is what was measured. Of limit is the speed over that of the loopback limit for such work. Ratios "
        "are the library's over the first's, then the target.\n"
    )


def markdown_ceilings(ceilings: Sequence[Ceiling]) -> str:
    """The loopback limit."""
    if not ceilings:
        return "Loopback limit: not measured.\n"
    rows = [
        [
            item.title,
            item.tool,
            _speed(item.wall_s, item.operations, item.bytes),
            "" if item.cpu_s is None else _cost(item.cpu_s, item.operations),
        ]
        for item in ceilings
    ]
    return _table(["loopback limit", "tool", "speed", "client CPU"], rows)


def markdown_cases(results: Sequence[CaseResult], ceilings: Sequence[Ceiling], budget_mib: float | None) -> str:
    """One row a case and library: figures, how near to the loopback limit, ratios, targets."""
    rows: list[list[str]] = []
    for result in results:
        if result.case.max_growth_mib is not None:
            continue
        for position, seat in enumerate(result.seats):
            judged = [""] * 3 if position == 0 else [_judgement(each) for each in verdicts(result, seat, budget_mib)]
            near = _of_limit(seat, ceiling_of(ceilings, result.case.name))
            rows.append([result.case.title if position == 0 else "", *_figures(seat), near, *judged])
    return _table(["case", *_FIGURES, "of limit", *_RATIOS], rows)


def markdown_sdks(results: Sequence[CaseResult]) -> str:
    """The providers' SDKs and file systems on the same work: one row a case and library, without targets."""
    rows: list[list[str]] = []
    for result in results:
        for position, seat in enumerate(result.seats):
            ratios = [""] * 3
            if position > 0:
                ratios = [_judgement(each) for each in verdicts(result, seat, None)]
            rows.append([result.case.title if position == 0 else "", *_figures(seat), *ratios])
    return _table(["SDKs", *_FIGURES, *_RATIOS], rows)


def markdown_memory(results: Sequence[CaseResult]) -> str:
    """What stays in memory after the memory cases."""
    rows: list[list[str]] = []
    for result in results:
        if result.case.max_growth_mib is None:
            continue
        for position, seat in enumerate(result.seats):
            title = result.case.title if position == 0 else ""
            growth = f"failed: {seat.error}" if seat.error else _spread(seat, "growth", "MiB")
            limit = f"{result.case.max_growth_mib:g} MiB"
            rows.append([title, seat.seat.label, growth, limit, growth_met(result, seat), _stayed(seat)])
    return _table(["memory", "library", "growth", "allowed", "met", "live counters changed"], rows)


def write_json(path: Path, facts: dict[str, Any], ceilings: Sequence[Ceiling], results: Sequence[CaseResult]) -> None:
    """All runs, not only their medians."""
    cases = [_as_json(result, facts["memory_budget_mib"]) for result in results]
    document = {"environment": facts, "loopback_limit": [asdict(item) for item in ceilings], "cases": cases}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n")


def _as_json(result: CaseResult, budget_mib: float | None) -> dict[str, Any]:
    return {
        "case": result.case.name,
        "seats": [
            {"library": seat.seat.label, "error": seat.error, "runs": [asdict(run) for run in seat.runs]}
            for seat in result.seats
        ],
        "verdicts": {
            peer.seat.label: [asdict(each) for each in verdicts(result, peer, budget_mib)] for peer in result.seats[1:]
        },
    }


def _figures(seat: SeatResult) -> list[str]:
    label = seat.seat.label
    if seat.error is not None or not seat.runs:
        return [label, f"failed: {seat.error}", "", "", "", ""]
    wall, cpu = (statistics.median(values(seat, figure)) for figure in ("wall", "cpu"))
    work = seat.runs[0]
    speed = _speed(wall, work.operations, work.bytes)
    cost = f" = {_cost(cpu, work.operations)}" if work.operations > _MANY else ""
    busy = values(seat, "origin")
    return [
        label,
        _spread(seat, "wall", "s"),
        speed,
        _spread(seat, "cpu", "s") + cost,
        _spread(seat, "peak", "MiB"),
        f"{statistics.median(busy):.0%}" if busy else "",
    ]


def _of_limit(seat: SeatResult, ceiling: Ceiling | None) -> str:
    if ceiling is None or not seat.runs:
        return ""
    speed = seat.runs[0].bytes / statistics.median(values(seat, "wall"))
    return f"{speed / (ceiling.bytes / ceiling.wall_s):.2f}"


def _judgement(verdict: Verdict) -> str:
    if verdict.ratio is None:
        return ""
    if verdict.wanted is None:
        return f"{verdict.ratio:.2f}"
    met = "**no**" if verdict.met == "no" else verdict.met
    return f"{verdict.ratio:.2f} of {verdict.wanted:.2f} {met}"


def _stayed(seat: SeatResult) -> str:
    counters = seat.runs[-1].counters if seat.runs else {}
    return ", ".join(f"{name} {change:+g}" for name, change in counters.items())


def _spread(result: SeatResult, figure: str, unit: str) -> str:
    found = values(result, figure)
    if not found:
        return ""
    digits = 2 if unit == "s" else 0 if max(found) >= _MANY else 1
    middle, low, high = (f"{value:.{digits}f}" for value in (statistics.median(found), min(found), max(found)))
    return f"{middle} {unit} [{low}, {high}]"


def _speed(wall_s: float, operations: int, size: int) -> str:
    if operations > _MANY and size / operations < MIB:
        return f"{operations / wall_s:,.0f}/s"
    return f"{size / wall_s / MIB:,.0f} MiB/s"


def _cost(cpu_s: float, operations: int) -> str:
    return f"{cpu_s / operations * 1e6:,.1f} us each" if operations > _MANY else f"{cpu_s:.2f} s"


def _version(library: str) -> str:
    try:
        return metadata.version(library.partition(":")[0])
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _table(header: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return ""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
