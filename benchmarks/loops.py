"""Event loops and threads as the cases use them: a fixed number of workers that share one sequence of jobs.

Workers and not one task a request: what is measured is the library, and a worker costs the loop least.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

IN_FLIGHT = 64
THREADS = 32

Job = TypeVar("Job")


class Loop:
    """One event loop for the whole process, so that the timed section finds its connections warm."""

    def __init__(self, *, uvloop: bool = False) -> None:
        self._loop = _uvloop() if uvloop else asyncio.new_event_loop()

    def run(self, work: Coroutine[Any, Any, Job]) -> Job:
        """Await it, and give its result."""
        return self._loop.run_until_complete(work)

    def run_each(self, jobs: Sequence[Job], do: Callable[[Job], Awaitable[int]]) -> tuple[int, int]:
        """Await ``do`` on each job, `IN_FLIGHT` at a time: how many jobs were done and the sum of the results."""
        return self._loop.run_until_complete(_run_each(jobs, do))


async def _run_each(jobs: Sequence[Job], do: Callable[[Job], Awaitable[int]]) -> tuple[int, int]:
    queue = iter(jobs)

    async def work() -> tuple[int, int]:
        count = total = 0
        for job in queue:
            total += await do(job)
            count += 1
        return count, total

    return _sum_pairs(await asyncio.gather(*(work() for _ in range(IN_FLIGHT))))


def run_threads(pool: ThreadPoolExecutor, jobs: Sequence[Job], do: Callable[[Job], int]) -> tuple[int, int]:
    """Call ``do`` on each job from `THREADS` threads, each with its own share."""

    def work(first: int) -> tuple[int, int]:
        share = jobs[first::THREADS]
        return len(share), sum(map(do, share))

    return _sum_pairs(list(pool.map(work, range(THREADS))))


def _sum_pairs(pairs: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return sum(count for count, _ in pairs), sum(total for _, total in pairs)


def _uvloop() -> asyncio.AbstractEventLoop:
    # Imported only where it is measured: the other cases run without it.
    import uvloop

    return uvloop.new_event_loop()
