"""Runs a plan on the calling thread. Ctrl-C is noticed within 100 ms, whatever is being waited for.

But for an `Unbroken` request, which has another second after it, unless Ctrl-C comes again.
"""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from cumulo._native import Request, thread_queue

from .effects import END, Begin, Call, Close, Mailbox, Plan, Pull, Receive, Start, Unbroken, Until, told

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")

_TICK_MS = 50
_AFTER_CTRL_C_S = 1.0


def run(plan: Plan[T]) -> T:
    """The plan's result; raises what it raises."""
    try:
        return _drive(plan, None)
    except BaseException as error:
        if getattr(plan, "gi_frame", None) is None:  # it has ended
            raise
        return _drive(plan, error)  # Ctrl-C between two effects: the plan cleans up, as after one within


def _drive(plan: Plan[T], error: BaseException | None) -> T:
    try:
        effect = next(plan) if error is None else plan.throw(told(error))
        while True:
            try:
                outcome = _perform(effect)
            except BaseException as failure:  # Ctrl-C too: the plan cleans up and raises it again
                effect = plan.throw(told(failure))
            else:
                effect = plan.send(outcome)
    except StopIteration as stop:
        return stop.value
    finally:
        del error  # its traceback has this frame: no cycle


def _perform(effect: Any) -> Any:
    if isinstance(effect, Pull):
        return _pull(effect.source)
    if isinstance(effect, Close):
        # What has no such method is an async iterator, of which nothing was taken.
        return effect.source.close() if hasattr(effect.source, "close") else None
    if isinstance(effect, Call):
        return effect.function(*effect.arguments)
    if isinstance(effect, Begin):
        return _begin(effect)
    if isinstance(effect, Receive):
        return _receive(effect)
    return _perform_request(effect)


def _perform_request(effect: Any) -> Request:
    if isinstance(effect, Request):
        return effect.perform()
    if isinstance(effect, Start):
        effect.request.submit(thread_queue())
        return effect.request
    if isinstance(effect, Unbroken):
        return _perform_unbroken(effect.request)
    if isinstance(effect, Until):
        effect.request.wait(effect.headers, effect.pieces)
        effect.request.raise_if_failed()
        return effect.request
    raise TypeError(f"not an effect: {effect!r}")


def _perform_unbroken(request: Request) -> Request:
    try:
        request.submit(thread_queue())
        _wait_for_end(request)
    except BaseException:
        try:
            _wait_for_end(request, _AFTER_CTRL_C_S if request.submitted else 0)
        finally:
            request.cancel()
        raise
    request.raise_if_failed()
    return request


def _wait_for_end(request: Request, most_s: float = inf) -> None:
    queue = thread_queue()
    until = monotonic() + most_s
    while not request.finished and monotonic() < until:
        queue.wait_and_drain(_TICK_MS)


def _pull(source: Any) -> Any:
    if not hasattr(source, "__next__"):
        raise TypeError("an async iterator needs an async call, such as put_async")
    return next(source, END)


def _begin(effect: Begin) -> None:
    """A call goes to the pool's threads; an iterator is the caller's, and is read on the caller's thread."""
    mailbox, key, begun = effect.mailbox, effect.key, effect.effect
    if isinstance(begun, Pull):
        try:
            mailbox.notes.append((key, _pull(begun.source), None))
        except Exception as error:
            mailbox.notes.append((key, None, error))
        return
    from . import pool

    future = pool.submit(begun.function, *begun.arguments)
    future.add_done_callback(lambda ended: _tell(mailbox, key, ended))


def _tell(mailbox: Mailbox, key: Any, future: Future[Any]) -> None:
    # On a thread of the pool: nobody is woken but the thread that sleeps on the queue.
    error = future.exception()
    mailbox.notes.append((key, None if error is not None else future.result(), error))
    if (queue := mailbox.queue) is not None:
        queue.poke()


def _receive(effect: Receive) -> None:
    mailbox, queue = effect.mailbox, thread_queue()
    mailbox.come_to(queue)
    if not effect.wait:
        queue.drain()
    while effect.wait and not mailbox.notes:
        queue.wait_and_drain(_TICK_MS)
