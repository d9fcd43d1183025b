"""Runs a plan on the calling thread. Ctrl-C is noticed within 100 ms, whatever is being waited for."""

from __future__ import annotations

from typing import Any, TypeVar

from cumulo._native import Request, thread_queue

from .effects import END, AnyOf, Call, Plan, Pull, Start, Until

T = TypeVar("T")

_TICK_MS = 50


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
    if isinstance(effect, Request):
        return effect.perform()
    if isinstance(effect, Start):
        effect.request.submit(thread_queue())
        return effect.request
    if isinstance(effect, Until):
        effect.request.wait(effect.headers, effect.pieces)
        effect.request.raise_if_failed()
        return effect.request
    if isinstance(effect, AnyOf):
        return _wait_any(effect)
    if isinstance(effect, Pull):
        return _pull(effect.source)
    if isinstance(effect, Call):
        return effect.function(*effect.arguments)
    raise TypeError(f"not an effect: {effect!r}")


def _wait_any(effect: AnyOf) -> Request:
    queue = thread_queue()
    for request in effect.requests:
        request.retarget(queue)
    while True:
        for request in effect.requests:
            if request.finished:
                return request
        queue.wait_and_drain(_TICK_MS)


def _pull(source: Any) -> Any:
    if not hasattr(source, "__next__"):
        raise TypeError("an async iterator needs an async call, such as put_async")
    return next(source, END)
