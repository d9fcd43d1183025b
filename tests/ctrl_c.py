"""Ctrl-C in the test run's own process: pressed at a moment of the test's choice, and never outside of the call."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

LOOK_EVERY_S = 0.005
A_MOMENT_S = 0.3


@contextlib.contextmanager
def ctrl_c_when(
    condition: Callable[[], object],
    *,
    again_after_s: float | None = None,
    afterwards: Callable[[], object] = lambda: None,
) -> Iterator[Callable[[threading.Event], None]]:
    """What runs in here has to end with KeyboardInterrupt: Ctrl-C is pressed once the condition holds.

    And once more so many seconds later, if asked for. `afterwards` is called by another thread, a moment later still,
    if the call has not ended by then. Python runs the signal's handler between any two instructions of
    the main thread, also of a callback of the garbage collector (hypothesis has one) or of a finalizer, where whatever
    is raised is lost. So no garbage is collected meanwhile. A press that comes too late does nothing.

    Gives a function that presses at once, unless it has been pressed already; it sets the event if it does.
    """
    over, once = threading.Event(), threading.Lock()

    def press(event: threading.Event) -> None:
        if once.acquire(blocking=False):
            event.set()
            os.kill(os.getpid(), signal.SIGINT)

    def watch() -> None:
        while not over.wait(LOOK_EVERY_S):
            # Twice: a server may only now come to what was given up before, for a moment.
            if condition() and not over.wait(LOOK_EVERY_S) and condition():
                press(threading.Event())
                if again_after_s is not None and not over.wait(again_after_s):
                    os.kill(os.getpid(), signal.SIGINT)
                if not over.wait(A_MOMENT_S):
                    afterwards()
                return

    def on_signal(number: int, frame: FrameType | None) -> None:
        if not over.is_set():
            signal.default_int_handler(number, frame)

    watcher = threading.Thread(target=watch, name="ctrl-c", daemon=True)
    with _no_collecting(), _handling(signal.SIGINT, on_signal):
        try:
            with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - all of it may be where it is raised
                watcher.start()
                yield press
        finally:
            over.set()
            watcher.join()


@contextlib.contextmanager
def _no_collecting() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextlib.contextmanager
def _handling(number: signal.Signals, handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)
