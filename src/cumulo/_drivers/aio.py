"""Runs plans on the running event loop, asyncio's or uvloop's. One future a call; no task, no thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from cumulo._native import loop_queue

from . import pool
from .effects import END, Plan
from .runner import Done, Runner

T = TypeVar("T")


def run(plan: Plan[T]) -> asyncio.Future[T]:
    """A future of the plan's result. Cancelling it stops the transfer on the wire."""
    loop = asyncio.get_running_loop()
    future: PlanFuture[T] = PlanFuture(loop=loop)
    runner = Runner(plan, _LoopHost(loop, future))
    future.runner = runner
    runner.start()
    return future


class PlanFuture(asyncio.Future[T]):
    """A future whose cancel reaches the plan."""

    runner: Runner | None = None

    def cancel(self, msg: Any | None = None) -> bool:
        if not super().cancel(msg):
            return False
        runner, self.runner = self.runner, None
        if runner is not None:
            runner.cancel(asyncio.CancelledError())
        return True


class _LoopHost:
    __slots__ = ("_future", "_loop", "queue")

    def __init__(self, loop: asyncio.AbstractEventLoop, future: PlanFuture[Any]) -> None:
        self._loop = loop
        self._future = future
        self.queue = loop_queue(loop)

    def resolve(self, value: Any) -> None:
        if not self._future.done():
            self._future.set_result(value)
        self._future.runner = None

    def fail(self, error: BaseException) -> None:
        if not self._future.done():
            if isinstance(error, StopIteration):
                error = RuntimeError("an iterator raised StopIteration")
            self._future.set_exception(error)
        self._future.runner = None

    def call(self, function: Callable[..., Any], arguments: tuple[Any, ...], done: Done) -> None:
        self._when_done(self._loop.run_in_executor(pool.executor(), function, *arguments), done)

    def pull(self, source: Any, done: Done) -> None:
        if hasattr(source, "__anext__"):
            self._when_done(self._loop.create_task(_next_of(source)), done)
        else:
            self.call(next, (source, END), done)

    def _when_done(self, awaited: asyncio.Future[Any], done: Done) -> None:
        def on_done(future: asyncio.Future[Any]) -> None:
            if future.cancelled():
                done(None, asyncio.CancelledError())
            else:
                error = future.exception()
                done(None if error is not None else future.result(), error)

        awaited.add_done_callback(on_done)


async def _next_of(source: Any) -> Any:
    try:
        return await source.__anext__()
    except StopAsyncIteration:
        return END
