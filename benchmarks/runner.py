"""Runs the measurements: for each case, round after round, each library in turn in a fresh process.

Libraries alternate within a round and take turns at going first, so that what else the machine does falls on all.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .measure import Measurement
from .origin import Origin
from .workload import Case

_TIMEOUT_S = 300


@dataclass(frozen=True)
class Seat:
    """A library under its name in the tables: the same library may sit in both seats, to see the noise."""

    label: str
    library: str


@dataclass
class SeatResult:
    """All runs of one case by one library."""

    seat: Seat
    runs: list[Measurement] = field(default_factory=list)
    error: str | None = None


@dataclass
class CaseResult:
    """One case by every library; the first one is what the others are compared with."""

    case: Case
    seats: list[SeatResult]


def seats_for(libraries: Sequence[str]) -> list[Seat]:
    """One seat a library; a repeated name gets a number."""
    seats: list[Seat] = []
    for position, library in enumerate(libraries):
        repeats = list(libraries[:position]).count(library)
        seats.append(Seat(f"{library} ({repeats + 1})" if repeats else library, library))
    return seats


def run_case(case: Case, seats: Sequence[Seat], rounds: int, origin: Origin, note: Callable[[str], None]) -> CaseResult:
    """All rounds of one case. A library that fails is not run again and doesn't stop the others."""
    results = [SeatResult(seat) for seat in seats]
    for number in range(rounds):
        for result in _in_turn(results, number):
            if result.error is not None:
                continue
            note(f"{case.name}: round {number + 1} of {rounds}, {result.seat.label}")
            _run_once(case, result, origin)
    return CaseResult(case, results)


def _in_turn(results: Sequence[SeatResult], number: int) -> Iterator[SeatResult]:
    shift = number % len(results)
    yield from results[shift:]
    yield from results[:shift]


def _run_once(case: Case, result: SeatResult, origin: Origin) -> None:
    origin_file = Path(origin.files).parent / "origin.json"
    origin_file.write_text(json.dumps(asdict(origin)))
    command = [sys.executable, "-m", "benchmarks.measure", case.name, result.seat.library, str(origin_file)]
    directory = Path(__file__).resolve().parent.parent
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        result.error = f"not finished after {_TIMEOUT_S} s"
        return
    if done.returncode != 0:
        result.error = _last_line(done.stderr) or f"exit status {done.returncode}"
        return
    result.runs.append(Measurement(**json.loads(done.stdout)))


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    # A bar would end the cell of the table that the line goes to.
    return lines[-1].replace("|", "/") if lines else ""
