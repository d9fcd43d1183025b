"""`Turns`: one call at a time uses an object, others wait.

Always true: nobody waits for a thread that is not there. What another thread was using at a fork may be half changed,
and that thread does not exist in the child: there, using it is an error.
"""

from __future__ import annotations

import threading
import weakref

from cumulo._native import after_fork
from cumulo.exceptions import GenericError

_all: weakref.WeakSet[Turns] = weakref.WeakSet()


class Turns:
    """A lock; a context manager."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._lock = threading.Lock()
        self._is_lost = False
        _all.add(self)

    def acquire(self, blocking: bool = True) -> bool:
        """Wait for a turn; whether it came.

        Raises:
            GenericError: in a forked child, where a thread of the parent's has it.
        """
        if self._is_lost:
            raise self._lost()
        return self._lock.acquire(blocking)

    def release(self) -> None:
        """End a turn."""
        self._lock.release()

    def __enter__(self) -> None:
        if self._is_lost:
            raise self._lost()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _lost(self) -> GenericError:
        return GenericError(f"another thread was using this {self._what} when the process forked: open it anew")

    def _after_fork(self) -> None:
        self._is_lost = self._lock.locked()


def _after_fork() -> None:
    for turns in list(_all):
        turns._after_fork()


after_fork(_after_fork)
