"""Runs a plan on the calling thread. Ctrl-C is noticed within 100 ms, whatever is being waited for.

But for an `Unbroken` request, which has another second after it, unless Ctrl-C comes again.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from time import monotonic
from typing import Any, TypeVar

from cumulo._native import Request, thread_queue

from .effects import END, AnyOf, Call, Close, Plan, Pull, Start, Unbroken, Until

T = TypeVar("T")

_TICK_MS = 50
_AFTER_CTRL_C_S = 1.0


def run(plan: Plan[T]) -> T:
    """The plan's result; raises what it raises."""
    try:
        effect = next(plan)
        while True:
            try:
                outcome = _perform(effect)
            except BaseException as error:  # Ctrl-C too: the plan cleans up and raises it again
                effect = plan.throw(error)
            else:
                effect = plan.send(outcome)
    except StopIteration as stop:
        return stop.value


def _perform(effect: Any) -> Any:
    if isinstance(effect, Pull):
        return _pull(effect.source)
    if isinstance(effect, Close):
        # What has no such method is an async iterator, of which nothing was taken.
        return effect.source.close() if hasattr(effect.source, "close") else None
    if isinstance(effect, Call):
        return effect.function(*effect.arguments)
    return _perform_request(effect)


def _perform_request(effect: Any) -> Request | None:
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
    if isinstance(effect, AnyOf):
        return _wait_any(effect.requests)
    raise TypeError(f"not an effect: {effect!r}")


def _perform_unbroken(request: Request) -> Request:
    request.submit(thread_queue())
    try:
        _wait_any((request,))
    except BaseException:
        try:
            _wait_any((request,), _AFTER_CTRL_C_S)
        finally:
            request.cancel()
        raise
    request.raise_if_failed()
    return request


def _wait_any(requests: Sequence[Request], most_s: float = inf) -> Request | None:
    queue = thread_queue()
    for request in requests:
        request.retarget(queue)
    until = monotonic() + most_s
    queue.drain()  # also when there is no need to wait: requests hold their content until their end has been drained
    while monotonic() < until:
        for request in requests:
            if request.finished:
                return request
        queue.wait_and_drain(_TICK_MS)
    return None


def _pull(source: Any) -> Any:
    if not hasattr(source, "__next__"):
        raise TypeError("an async iterator needs an async call, such as put_async")
    return next(source, END)
