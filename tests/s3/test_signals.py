"""What a signal's handler raises in a synchronous call: a time limit of a job queue, say, or a SIGTERM that exits."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from cumulo import runtime
from cumulo._drivers import effects
from cumulo._operations import bundle
from cumulo.store import S3Store
from tests.faults import FaultServer, Faulty, Object, Request, Response, Stall

from .support import MIB, PATH

DATA = os.urandom(12 * MIB)
CALLS: dict[str, Callable[[S3Store], Any]] = {
    "get in parts": lambda store: store.get("key", part_size=MIB).bytes(),
    "get_into": lambda store: store.get_into("key", bytearray(len(DATA)), part_size=MIB),
    "stream": lambda store: list(store.get("key", part_size=MIB).stream(MIB)),
    "get_many": lambda store: list(store.get_many(["key"] * 4)),
}


class TimeIsUpError(Exception):
    """What the handler raises."""


@contextlib.contextmanager
def _signal_in(functions: list[Callable[..., Any]], number: int = 0) -> Iterator[None]:
    """A signal as the news of a request is told, or as one of the next is."""
    codes = {function.__code__ for function in functions}
    left = number

    def on_call(frame: FrameType, event: str, _: Any) -> None:
        nonlocal left
        if event == "call" and frame.f_code in codes:
            left -= 1
            if left == -1:
                signal.raise_signal(signal.SIGUSR1)

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        raise TimeIsUpError

    before, tracer = signal.signal(signal.SIGUSR1, on_signal), sys.gettrace()
    sys.settrace(on_call)
    try:
        yield
    finally:
        sys.settrace(tracer)
        signal.signal(signal.SIGUSR1, before)


_TOLD: list[Callable[..., Any]] = [effects.Mailbox.put, bundle._Child.on_request]


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("call", CALLS)
def test_in_the_callback_of_a_request(fault_server: FaultServer, faulty: S3Store, call: str, number: int) -> None:
    fault_server.script(PATH, Object(DATA))
    with pytest.raises(TimeIsUpError), _signal_in(_TOLD, number):
        CALLS[call](faulty)
    fault_server.wait_for(lambda: runtime.stats()["in_flight"] == 0)
    CALLS[call](faulty)


def test_news_of_another_stream_is_not_lost(fault_server: FaultServer, faulty: S3Store) -> None:
    """Its parts end while the thread waits for a call that the signal ends; it goes on all the same."""
    obj, parts = Object(DATA), itertools.count()

    def step(request: Request) -> Response:
        response = obj(request)
        stalls = request.header("range") is not None and next(parts) < 2
        return response.having(Stall(MIB - 1)) if stalls else response

    fault_server.script(PATH, step)
    fault_server.script("/bucket/other", Faulty(Object(b"other"), Stall(1)))
    stream = iter(faulty.get("key", part_size=MIB, max_concurrency=3).stream(MIB))
    first = next(stream)
    fault_server.wait_for(lambda: fault_server.stalled == 2)
    fault_server.release()
    with pytest.raises(TimeIsUpError), _signal_in(_TOLD):
        faulty.get_range("other", start=0, end=5)
    assert b"".join(itertools.chain([first], stream)) == DATA
