"""Runs a plan without blocking: each outcome steps the generator on, in whatever context hands out the news.

`Runner` is one logic for two hosts, which say where news is drained, how a result is delivered, and where blocking
calls go: `aio.py` (an event loop) and `background.py` (one dispatcher thread).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any, Protocol

from cumulo._native import Queue, Request, generation
from cumulo.exceptions import ForkedError

from .effects import Begin, Call, Close, Plan, Pull, Receive, Start, Unbroken, Until, told


class Host(Protocol):
    """Where a runner runs."""

    queue: Queue
    calling: Future[Any] | None
    """What a thread does for it, or did last."""

    def enter(self, job: Callable[[], None]) -> None:
        """Run a job in this host's context: at once where that is here."""
        ...

    def resolve(self, value: Any) -> None: ...
    def fail(self, error: BaseException) -> None: ...
    def call(self, function: Callable[..., Any], arguments: tuple[Any, ...], done: Done) -> None: ...
    def pull(self, source: Any, done: Done) -> None: ...
    def stop_pulling(self) -> None: ...
    def close(self, source: Any, done: Done) -> None: ...
    def heir(self) -> Heir: ...


class Heir(Host, Protocol):
    """A host that outlives all others."""

    def post(self, job: Callable[[], None]) -> None:
        """Run a job in this host's context."""
        ...


Done = Callable[[Any, BaseException | None], None]


def tell(future: Future[Any], done: Done) -> None:
    """What a thread's call has come to."""
    error = future.exception()
    done(None if error is not None else future.result(), error)


class Runner:
    """One plan under way. All methods run in the host's context, which a cancel can change: see `Host.heir`."""

    __slots__ = ("_cancelled", "_host", "_plan", "_waiting")

    def __init__(self, plan: Plan[Any], host: Host) -> None:
        self._plan = plan
        self._host = host
        self._waiting: Any = None
        self._cancelled = False

    def start(self) -> None:
        """Run to the first effect that waits."""
        self._step(None, None)

    def cancel(self, error: BaseException) -> None:
        """Stop what is under way, let the plan clean up. Effects it yields from here on are not cancelled."""
        if self._cancelled:
            return
        self._cancelled = True
        effect, self._waiting = self._waiting, None
        request = _request_of(effect)
        if request is not None:
            request.waiter = None
            if not isinstance(effect, Unbroken):
                request.cancel()
        if isinstance(effect, Unbroken):
            # An event loop may be closed long before the request has ended: the rest happens where that is no matter.
            self._host = heir = self._host.heir()
            heir.post(lambda: self._throw_after(effect.request, error))
            return
        if isinstance(effect, Pull):
            self._host.stop_pulling()
        self._step(None, error)

    def leave(self) -> None:
        """The host's context is gone, and nobody waits any more: clean up, or go on with that, where another is."""
        effect, calling = self._waiting, self._host.calling
        request = _request_of(effect)
        with suppress(RuntimeError):  # no thread to be had
            self._host = heir = self._host.heir()
            if not self._cancelled:
                heir.post(lambda: self.cancel(CancelledError()))
            elif request is not None:
                heir.post(lambda: self._go_on(request))
            elif isinstance(effect, Call) and calling is not None:
                done = self._done_of(effect)
                calling.add_done_callback(lambda ended: heir.post(lambda: tell(ended, done)))

    def _go_on(self, request: Request) -> None:
        request.retarget(self._host.queue)
        request.waiter = self._on_request
        self._on_request(request)

    def _throw_after(self, request: Request, error: BaseException) -> None:
        def on_news(_: Request) -> None:
            if request.finished:
                request.waiter = None
                self._step(None, error)

        request.waiter = on_news
        request.retarget(self._host.queue)
        if request.finished and request.waiter is not None:
            on_news(request)

    def _step(self, value: Any, error: BaseException | None) -> None:
        while True:
            try:
                effect = self._plan.throw(told(error)) if error is not None else self._plan.send(value)
            except StopIteration as stop:
                self._host.resolve(stop.value)
                return
            except BaseException as failure:
                self._host.fail(failure)
                return
            try:
                ready, value, error = self._begin(effect)
            except BaseException as failure:
                ready, value, error = True, None, failure
            if not ready:
                return

    def _begin(self, effect: Any) -> tuple[bool, Any, BaseException | None]:
        """Begin an effect: (True, outcome, error) when it needs no waiting."""
        if isinstance(effect, Request):
            effect.waiter = self._on_request
            self._waiting = effect
            effect.submit(self._host.queue)
            return False, None, None
        if isinstance(effect, Start):
            effect.request.submit(self._host.queue)
            return True, effect.request, None
        if isinstance(effect, Unbroken):
            effect.request.submit(self._host.queue)
        if isinstance(effect, Until):
            return self._begin_wait(effect)
        if isinstance(effect, Receive):
            return self._begin_receive(effect)
        if isinstance(effect, Begin):
            mailbox, key = effect.mailbox, effect.key
            self._begin_elsewhere(effect.effect, lambda value, error: mailbox.put((key, value, error)))
            return True, self._host.stop_pulling if isinstance(effect.effect, Pull) else None, None
        self._waiting = effect
        self._begin_elsewhere(effect, self._done_of(effect))
        return False, None, None

    def _begin_elsewhere(self, effect: Any, done: Done) -> None:
        if self._host.queue.generation != generation():
            raise ForkedError("the call belongs to the parent process: nothing is cleaned up in its child")
        if isinstance(effect, Pull):
            self._host.pull(effect.source, done)
        elif isinstance(effect, Close):
            self._host.close(effect.source, done)
        elif isinstance(effect, Call):
            self._host.call(effect.function, effect.arguments, done)
        else:
            raise TypeError(f"not an effect: {effect!r}")

    def _begin_receive(self, effect: Receive) -> tuple[bool, Any, BaseException | None]:
        mailbox = effect.mailbox
        mailbox.come_to(self._host.queue)
        if mailbox.notes or not effect.wait:
            return True, None, None
        self._waiting = effect
        done = self._done_of(effect)
        mailbox.wake = lambda: self._host.enter(lambda: done(None, None))
        if not mailbox.notes:
            return False, None, None
        # Another thread has left one meanwhile, perhaps too early to see whom to wake.
        self._waiting = mailbox.wake = None
        return True, None, None

    def _begin_wait(self, effect: Until) -> tuple[bool, Any, BaseException | None]:
        request = effect.request
        request.retarget(self._host.queue)  # first: on a queue that nobody reads any more it would lose its waiter
        request.waiter = self._on_request
        self._waiting = effect
        if not effect.holds():
            return False, None, None
        self._let_go(request)
        return (True, *_outcome(request))

    def _on_request(self, request: Request) -> None:
        effect = self._waiting
        if _request_of(effect) is not request:
            return
        if effect.holds() if isinstance(effect, Until) else request.finished:
            self._let_go(request)
            self._step(*_outcome(request))

    def _let_go(self, request: Request) -> None:
        # A request under way would keep its waiter, and by it the result that is to stop it when nobody wants it.
        self._waiting = None
        request.waiter = None

    def _done_of(self, effect: Any) -> Done:
        def done(value: Any, error: BaseException | None) -> None:
            if self._waiting is effect:
                self._waiting = None
                self._step(value, error)

        return done


def _request_of(effect: Any) -> Request | None:
    if isinstance(effect, Request):
        return effect
    return effect.request if isinstance(effect, Until) else None


def _outcome(request: Request) -> tuple[Any, BaseException | None]:
    try:
        request.raise_if_failed()
    except BaseException as error:
        return None, error
    return request, None
