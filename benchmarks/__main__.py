"""``python -m benchmarks``: the command line of the suite.

Markdown goes to stdout, progress to stderr, all runs as JSON to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import fnmatch
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from . import report, verdicts
from .cases import CASES
from .ceiling import measure_ceilings
from .origin import Origin, OriginError, running
from .runner import CaseResult, run_case, seats_for
from .workload import Case

_RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite: 1 when a library failed a case (a missed target only counts with ``--strict``), else 0."""
    options = _parser().parse_args(arguments)
    cases = _chosen(options.case, with_extra=options.extra)
    if options.list or not cases:
        print("\n".join(f"{case.name:22} {case.title}{' (extra)' if case.extra else ''}" for case in CASES.values()))
        return 0 if options.list else 2
    # nginx must not outlive a `kill` of this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _note("preparing the origin")
    try:
        with running(options.origin_workers, options.origin_cpu) as origin:
            return _run(options, cases, origin)
    except OriginError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace, cases: Sequence[Case], origin: Origin) -> int:
    libraries = options.libraries.split(",")
    facts = report.environment(origin, libraries, options.rounds, options.memory_budget)
    ceilings = [] if options.no_limit else measure_ceilings(origin, [case.name for case in cases])
    results: list[CaseResult] = []
    path = options.json or _RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    for case in cases:
        results.append(run_case(case, seats_for(case.libraries or libraries), options.rounds, origin, _note))
        # Written after each case: a run that is stopped keeps what it has.
        report.write_json(path, facts, ceilings, results)
    parts = [report.markdown_header(facts), report.markdown_ceilings(ceilings)]
    own = [result for result in results if not result.case.libraries]
    parts += [report.markdown_cases(own, ceilings, options.memory_budget), report.markdown_memory(results)]
    parts.append(report.markdown_sdks([result for result in results if result.case.libraries]))
    print("\n".join(part for part in parts if part))
    _note(f"all runs: {path}")
    failed = any(seat.error for result in results for seat in result.seats)
    missed = options.strict and verdicts.missed(results, options.memory_budget)
    return 1 if failed or missed else 0


def _chosen(patterns: Sequence[str], *, with_extra: bool) -> list[Case]:
    if not patterns:
        return [case for case in CASES.values() if with_extra or not case.extra]
    return [case for case in CASES.values() if any(fnmatch.fnmatch(case.name, pattern) for pattern in patterns)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure cumulo against its peers on a local nginx."
    )
    parser.add_argument(
        "--case", action="append", default=[], metavar="NAME", help="only this case (repeatable; shell patterns work)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="measurements per case and library (default: 5)")
    parser.add_argument(
        "--libraries",
        default="cumulo,obstore",
        help="comma-separated modules, or variants (cumulo:bulk_client=crt); ratios are the others' over the first's",
    )
    parser.add_argument("--list", action="store_true", help="list the cases and end")
    parser.add_argument("--extra", action="store_true", help="also the cases that have no target (TLS, unsigned puts)")
    parser.add_argument(
        "--origin-workers", type=int, default=1, metavar="N", help="nginx worker processes (default: 1)"
    )
    parser.add_argument(
        "--origin-cpu", type=int, metavar="CPU", help="pin nginx's workers to this CPU (default: not pinned)"
    )
    parser.add_argument(
        "--memory-budget",
        type=float,
        metavar="MIB",
        help="the buffer budget that the first library states: a peak within it is met",
    )
    parser.add_argument("--no-limit", action="store_true", help="don't measure the loopback limit")
    parser.add_argument("--strict", action="store_true", help="exit status 1 also when a target is missed")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write all runs here (default: benchmarks/results/<time>.json)"
    )
    return parser


def _note(text: str) -> None:
    print(f"benchmarks: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
