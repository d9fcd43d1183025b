"""Runs plans for `concurrent.futures.Future`s: one daemon thread hands out the news of all of them.

A callback of a future runs on that thread. When it waits for another future of ours, it hands out news itself
meanwhile, so that it can't wait for ever for what only it could deliver. Calls of event loops that were cancelled while
they must not be cut short are brought to their end here too (see `heir`).
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures import wait as wait_for
from contextlib import suppress
from time import monotonic
from typing import Any, TypeVar
from weakref import WeakSet

from cumulo._native import Queue, after_fork, leave_loops
from cumulo.exceptions import ForkedError

from . import pool
from .effects import END, Plan
from .runner import Done, Heir, Runner, tell

T = TypeVar("T")

_TICK_MS = 200
_EXIT_WAITS_S = 1.0
_lock = threading.RLock()
_dispatcher: _Dispatcher | None = None
_inherited: set[Future[Any]] = set()
"""What heirs have not ended yet."""
_futures: WeakSet[PlanFuture[Any]] = WeakSet()
"""All there are."""


class _Dispatcher:
    """The thread, its queue, and what other threads ask it to do."""

    def __init__(self) -> None:
        self.queue = Queue()
        self._jobs: list[Callable[[], None]] = []
        self.thread = threading.Thread(target=self._run, name="cumulo-futures", daemon=True)
        self.thread.start()

    def post(self, job: Callable[[], None]) -> None:
        """Run a job on the dispatcher's thread."""
        with _lock:
            self._jobs.append(job)
        self.queue.poke()

    def turn(self, timeout_ms: int) -> None:
        """Wait for news or jobs, and see to them."""
        self.queue.wait_and_drain(timeout_ms)
        while True:
            with _lock:
                jobs, self._jobs = self._jobs, []
            if not jobs:
                return
            for job in jobs:
                job()

    def _run(self) -> None:
        while True:
            self.turn(_TICK_MS)


def _the_dispatcher() -> _Dispatcher:
    global _dispatcher
    with _lock:
        if _dispatcher is None:
            _dispatcher = _Dispatcher()
        return _dispatcher


def run(plan: Plan[T]) -> Future[T]:
    """A future of the plan's result. Cancelling it stops the transfer on the wire."""
    dispatcher = _the_dispatcher()
    future: PlanFuture[T] = PlanFuture()
    future.set_running_or_notify_cancel()
    runner = Runner(plan, _BackgroundHost(dispatcher, future))
    future.bind(runner, dispatcher)
    dispatcher.post(runner.start)
    return future


def acquire(slots: threading.Semaphore) -> None:
    """Acquire what callbacks of futures release; on the dispatcher's own thread, hand out news meanwhile."""
    dispatcher = _dispatcher
    if dispatcher is None or threading.current_thread() is not dispatcher.thread:
        slots.acquire()
        return
    while not slots.acquire(blocking=False):
        dispatcher.turn(50)


class PlanFuture(Future[T]):
    """A future that can be cancelled while it runs, and waited for on the dispatcher's own thread."""

    def __init__(self) -> None:
        super().__init__()
        self._runner: Runner | None = None
        self._dispatcher: _Dispatcher | None = None
        self._asked_to_cancel = False
        _futures.add(self)

    def bind(self, runner: Runner, dispatcher: _Dispatcher) -> None:
        """Say what a cancel has to stop."""
        self._runner = runner
        self._dispatcher = dispatcher

    def unbind(self) -> None:
        """The call has ended: let go of what ran it, which holds this future and its result."""
        self._runner = None

    def inherit(self) -> None:
        """In a forked child: nobody is left to end the call, nor to leave a lock that somebody was in. What waited for
        it and what it was to call is the parent's.
        """
        self._condition = threading.Condition()
        self._waiters = []
        self._done_callbacks = []
        self._runner = self._dispatcher = None
        if not self.done():
            self.set_exception(ForkedError("the call belongs to the parent process, from before the fork"))

    def cancel(self) -> bool:
        """Stop the transfer. True unless the call has already ended; `result` then raises `CancelledError`."""
        runner, dispatcher = self._runner, self._dispatcher
        if self.done() or runner is None or dispatcher is None:
            return self.cancelled()
        self._asked_to_cancel = True
        dispatcher.post(lambda: runner.cancel(CancelledError()))
        return True

    def cancelled(self) -> bool:
        if super().cancelled():
            return True
        return self.done() and self._asked_to_cancel and isinstance(super().exception(0), CancelledError)

    def result(self, timeout: float | None = None) -> T:
        self._help_along(timeout)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._help_along(timeout)
        return super().exception(timeout)

    def _help_along(self, timeout: float | None) -> None:
        dispatcher = self._dispatcher
        if dispatcher is None or threading.current_thread() is not dispatcher.thread:
            return
        deadline = None if timeout is None else monotonic() + timeout
        while not self.done():
            if deadline is not None and monotonic() >= deadline:
                raise FutureTimeoutError
            dispatcher.turn(50)


class _BackgroundHost:
    __slots__ = ("_dispatcher", "_future", "_pulling", "calling", "queue")

    def __init__(self, dispatcher: _Dispatcher, future: PlanFuture[Any]) -> None:
        self._dispatcher = dispatcher
        self._future = future
        self._pulling: Future[Any] | None = None
        self.calling: Future[Any] | None = None
        self.queue = dispatcher.queue

    def enter(self, job: Callable[[], None]) -> None:
        if threading.current_thread() is self._dispatcher.thread:
            job()
        else:
            self._dispatcher.post(job)

    def resolve(self, value: Any) -> None:
        self._future.unbind()
        if not self._future.done():
            self._future.set_result(value)

    def fail(self, error: BaseException) -> None:
        self._future.unbind()
        if not self._future.done():
            self._future.set_exception(error)

    def call(self, function: Callable[..., Any], arguments: tuple[Any, ...], done: Done) -> None:
        self.calling = self._tell(pool.submit(function, *arguments), done)

    def _tell(self, inner: Future[Any], done: Done) -> Future[Any]:
        inner.add_done_callback(lambda f: self._dispatcher.post(lambda: tell(f, done)))
        return inner

    def pull(self, source: Any, done: Done) -> None:
        if not hasattr(source, "__next__"):
            raise TypeError("an async iterator needs an async call, such as put_async")
        self._pulling = self._tell(pool.for_callers().submit(next, source, END), done)

    def stop_pulling(self) -> None:
        pass  # a thread can't be stopped

    def close(self, source: Any, done: Done) -> None:
        if not hasattr(source, "close"):  # an async iterator, of which nothing was taken
            done(None, None)
        elif self._pulling is None or self._pulling.done():
            self._tell(pool.for_callers().submit(source.close), done)
        else:  # the call was cancelled, and does not wait for what may take long
            self._pulling.add_done_callback(lambda _: _close_quietly(source))
            done(None, None)

    def post(self, job: Callable[[], None]) -> None:
        self._dispatcher.post(job)

    def heir(self) -> Heir:
        return self


def heir(close: Callable[[Any], None]) -> Heir:
    """Where the rest of a cancelled call can run for an event loop, which may be closed before it has ended."""
    dispatcher = _the_dispatcher()
    future: PlanFuture[Any] = PlanFuture()
    _inherited.add(future)
    future.add_done_callback(_inherited.discard)
    return _LoopsHeir(dispatcher, future, close)


class _LoopsHeir(_BackgroundHost):
    """Nobody waits for what comes of it, but an exit."""

    __slots__ = ("_close",)

    def __init__(self, dispatcher: _Dispatcher, future: PlanFuture[Any], close: Callable[[Any], None]) -> None:
        super().__init__(dispatcher, future)
        self._close = close

    def close(self, source: Any, done: Done) -> None:
        self._close(source)
        done(None, None)


def _close_quietly(source: Any) -> None:
    with suppress(Exception):  # the call has failed already, and said why
        source.close()


def _after_fork() -> None:
    global _dispatcher, _lock
    _dispatcher = None  # its thread is the parent's
    _inherited.clear()
    _lock = threading.RLock()
    for future in list(_futures):
        future.inherit()


def _wait_for_heirs() -> None:
    leave_loops()
    wait_for(list(_inherited), _EXIT_WAITS_S)


after_fork(_after_fork)
atexit.register(_wait_for_heirs)  # before the engine's own, which was registered earlier
