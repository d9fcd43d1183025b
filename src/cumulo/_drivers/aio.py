"""Runs plans on the running event loop, asyncio's or uvloop's. One future a call; no task, no thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from cumulo._native import call_future, loop_queue

from . import background, pool
from .effects import END, Plan
from .runner import Done, Heir, Runner, tell

if TYPE_CHECKING:
    from cumulo._types import CallFuture
else:
    CallFuture = call_future()

T = TypeVar("T")


def run(plan: Plan[T]) -> CallFuture[T]:
    """A future of the plan's result. Cancelling it stops the transfer on the wire.

    Where no event loop is running it is a coroutine that begins when it is awaited, as for `asyncio.run`.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return _later(plan)  # type: ignore[return-value]
    future: PlanFuture[T] = PlanFuture(loop=loop)
    host = _LoopHost(loop, future)
    host.begin(Runner(plan, host))
    return future


async def _later(plan: Plan[T]) -> T:
    return await run(plan)


class PlanFuture(CallFuture[T]):
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
    __slots__ = ("_future", "_loop", "_pulling", "_runner", "calling", "queue")

    def __init__(self, loop: asyncio.AbstractEventLoop, future: PlanFuture[Any]) -> None:
        self._loop = loop
        self._future = future
        self._pulling: asyncio.Task[Any] | Future[Any] | None = None
        self._runner: Runner | None = None
        self.calling: Future[Any] | None = None
        self.queue = loop_queue(loop)

    def begin(self, runner: Runner) -> None:
        """Start the call. What the loop does not live to see the end of is told so: see `Runner.leave`."""
        self._runner = self._future.runner = runner
        self.queue.calls.add(runner)
        runner.start()

    def _ended(self) -> None:
        self._future.runner = None
        self.queue.calls.discard(self._runner)
        self._runner = None

    def enter(self, job: Callable[[], None]) -> None:
        if asyncio._get_running_loop() is self._loop:
            job()
        else:
            self._post(job)

    def resolve(self, value: Any) -> None:
        if not self._future.done():
            self._future.set_result(value)
        self._ended()

    def fail(self, error: BaseException) -> None:
        self._ended()
        if self._future.done():
            return
        if isinstance(error, asyncio.CancelledError):  # an iterator's task was cancelled, along with all of the loop's
            self._future.cancel()
            return
        if isinstance(error, StopIteration):
            error = RuntimeError("an iterator raised StopIteration")
        self._future.set_exception(error)

    def call(self, function: Callable[..., Any], arguments: tuple[Any, ...], done: Done) -> None:
        self.calling = self._tell(pool.submit(function, *arguments), done)

    def _tell(self, inner: Future[Any], done: Done) -> Future[Any]:
        # Not `run_in_executor`: what is awaited when the loop is closed would be left pending, and say so.
        context = copy_context()
        inner.add_done_callback(lambda f: self._post(lambda: tell(f, done), context))
        return inner

    def _post(self, job: Callable[[], None], context: Context | None = None) -> None:
        try:
            self._loop.call_soon_threadsafe(job, context=context)
        except RuntimeError:  # the loop is closed: nobody waits
            runner = self._runner
            if runner is not None and runner in self.queue.calls:
                runner.leave()

    def pull(self, source: Any, done: Done) -> None:
        if hasattr(source, "__anext__"):
            self._pulling = self._loop.create_task(_next_of(source))
            self._when_done(self._pulling, done)
        else:
            self._pulling = self._tell(pool.for_callers().submit(next, source, END), done)

    def stop_pulling(self) -> None:
        if isinstance(self._pulling, asyncio.Task):  # a thread can't be stopped
            self._pulling.cancel()

    def close(self, source: Any, done: Done) -> None:
        if hasattr(source, "aclose"):
            self._when_done(self._loop.create_task(self._close(source)), done)
        else:
            self._tell(pool.for_callers().submit(_close_after, self._pulling, source), done)

    async def _close(self, source: Any) -> None:
        if isinstance(self._pulling, asyncio.Task):
            await asyncio.wait([self._pulling])
        await source.aclose()

    def heir(self) -> Heir:
        heir = background.heir(self._close_from_afar)
        self._ended()
        return heir

    def _close_from_afar(self, source: Any) -> None:
        if hasattr(source, "aclose"):  # a loop that is closed has ended its generators itself (`shutdown_asyncgens`)
            self._post(lambda: self.close(source, _nothing))
        else:
            pool.for_callers().submit(_close_after, self._pulling, source)

    def _when_done(self, awaited: asyncio.Future[Any], done: Done) -> None:
        def on_done(future: asyncio.Future[Any]) -> None:
            if future.cancelled():
                done(None, asyncio.CancelledError())
            else:
                error = future.exception()
                done(None if error is not None else future.result(), error)

        awaited.add_done_callback(on_done)


def _nothing(_value: Any, _error: BaseException | None) -> None:
    pass


def _close_after(pulling: Future[Any] | None, source: Any) -> None:
    if pulling is not None:
        wait_for([pulling])
    source.close()


async def _next_of(source: Any) -> Any:
    try:
        return await source.__anext__()
    except StopAsyncIteration:
        return END
