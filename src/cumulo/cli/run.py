"""Runs many transfers: a bounded number at a time, while the rest is still being listed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

from cumulo.exceptions import BaseError

from .plan import Move, Refusal
from .progress import Reporter
from .text import reason

LISTED_AHEAD = 10_000
TICK_S = 0.1
FAILURES = (BaseError, OSError, ValueError)
"""What one object may fail with while the others go on."""

Queue: TypeAlias = "asyncio.Queue[Move | None]"


async def run_all(
    moves: AsyncIterator[Move | Refusal],
    transfer: Callable[[Move], Awaitable[None]],
    concurrency: int,
    report: Reporter,
) -> None:
    """Run them all. What fails is told to `report`, and the rest goes on; a cancel stops everything at once."""
    queue: Queue = asyncio.Queue(LISTED_AHEAD)
    tasks = [asyncio.ensure_future(_work(queue, transfer, report)) for _ in range(concurrency)]
    tasks.append(asyncio.ensure_future(_list(moves, queue, concurrency, report)))
    ticker = asyncio.ensure_future(_tick(report))
    try:
        # Not gather: it would cancel the tasks a first time, and what follows a second, in the midst of their clean-up.
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in ended:
            task.result()
    finally:
        for task in (*tasks, ticker):
            task.cancel()
        await asyncio.gather(*tasks, ticker, return_exceptions=True)


async def _list(moves: AsyncIterator[Move | Refusal], queue: Queue, concurrency: int, report: Reporter) -> None:
    try:
        async for move in moves:
            if isinstance(move, Refusal):
                report.failed(move.label, move.reason)
            else:
                report.found(move.size)
                await queue.put(move)
    except FAILURES as error:
        if report.total == 0:
            raise
        report.failed("the listing broke off", reason(error))
    for _ in range(concurrency):
        await queue.put(None)


async def _work(queue: Queue, transfer: Callable[[Move], Awaitable[None]], report: Reporter) -> None:
    while (move := await queue.get()) is not None:
        try:
            await transfer(move)
        except FAILURES as error:
            report.failed(str(move.source), reason(error))
        else:
            report.done(f"{move.source} -> {move.target}", move.size)


async def _tick(report: Reporter) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        report.tick()
