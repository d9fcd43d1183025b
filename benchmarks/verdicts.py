"""Compares the first library with a peer: ratios of medians, and whether they reach the project's targets.

Ratios are peer/first: above 1 the first library is better. ``near`` says that less than five per cent is missing, which
is within what two runs of the same library differ by.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from .measure import Measurement
from .runner import CaseResult, SeatResult

COMPARED = ("wall", "cpu", "peak")
_NEAR = 0.95
_FIGURES: dict[str, Callable[[Measurement], float | None]] = {
    "wall": lambda run: run.wall_s,
    "cpu": lambda run: run.cpu_s,
    "peak": lambda run: run.peak_mib,
    "growth": lambda run: run.growth_mib,
    "origin": lambda run: None if run.origin_cpu_s is None else run.origin_cpu_s / run.wall_s,
}


@dataclass(frozen=True)
class Verdict:
    """One figure of one case against one peer; ``met`` is empty where nothing is wanted or known."""

    figure: str
    ratio: float | None
    wanted: float | None
    met: str


def values(result: SeatResult, figure: str) -> list[float]:
    """A figure of every run that has it."""
    found = map(_FIGURES[figure], result.runs)
    return [value for value in found if value is not None]


def median(result: SeatResult, figure: str) -> float | None:
    """The median over the rounds, or None where nothing was measured."""
    found = values(result, figure)
    return statistics.median(found) if found else None


def verdicts(result: CaseResult, peer: SeatResult, budget_mib: float | None) -> list[Verdict]:
    """Wall, CPU and peak against one peer. A peak within the stated budget is as good as one below the peer's."""
    wanted = asdict(result.case.target) if _has_targets(result) else {}
    found = [_verdict(result, peer, figure, wanted.get(figure)) for figure in COMPARED]
    peak = median(result.seats[0], "peak")
    if found[-1].met in {"no", "near"} and budget_mib is not None and peak is not None:
        allowed = result.case.asked_mib + budget_mib
        found[-1] = Verdict("peak", found[-1].ratio, found[-1].wanted, "budget" if peak <= allowed else found[-1].met)
    return found


def growth_met(result: CaseResult, seat: SeatResult) -> str:
    """Whether what stayed in memory is within what the case allows."""
    growth = median(seat, "growth")
    if growth is None or result.case.max_growth_mib is None:
        return ""
    return "yes" if growth <= result.case.max_growth_mib else "no"


def missed(results: Sequence[CaseResult], budget_mib: float | None) -> list[str]:
    """Targets that were measured and not met, as ``case figure``."""
    found: list[str] = []
    for result in results:
        for peer in result.seats[1:]:
            judged = verdicts(result, peer, budget_mib)
            found.extend(f"{result.case.name} {verdict.figure}" for verdict in judged if verdict.met == "no")
        if growth_met(result, result.seats[0]) == "no":
            found.append(f"{result.case.name} growth")
    return found


def _verdict(result: CaseResult, peer: SeatResult, figure: str, wanted: float | None) -> Verdict:
    first, other = median(result.seats[0], figure), median(peer, figure)
    if first is None or other is None or first <= 0:
        return Verdict(figure, None, wanted, "")
    ratio = other / first
    if wanted is None:
        return Verdict(figure, ratio, None, "")
    met = "yes" if ratio >= wanted else "near" if ratio >= wanted * _NEAR else "no"
    return Verdict(figure, ratio, wanted, met)


def _has_targets(result: CaseResult) -> bool:
    return not result.case.extra and not result.case.libraries and result.case.max_growth_mib is None
