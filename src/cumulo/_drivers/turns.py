"""`Turns`: one call at a time uses an object, others wait.

Always true: nobody waits for a thread that is not there. What another thread was using at a fork may be half changed,
and that thread does not exist in the child: there, using it is an error.
"""

from __future__ import annotations

import threading
import weakref
from typing import NoReturn

from cumulo._native import after_fork
from cumulo.exceptions import GenericError

_all: weakref.WeakSet[Turns] = weakref.WeakSet()


class Turns:
    """The turns of one object: whoever holds `lock`.

    That is a plain one: a turn costs no more, and Ctrl-C can't come between the taking of it and the `with` block.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self.lock: threading.Lock | _Lost = threading.Lock()
        _all.add(self)

    def _after_fork(self) -> None:
        if self.lock.locked():
            self.lock = _Lost(self._what)


class _Lost:
    """In a forked child, the lock that a thread of the parent's has."""

    def __init__(self, what: str) -> None:
        self._what = what

    def acquire(self, blocking: bool = True) -> NoReturn:
        """Raises `GenericError`."""
        raise GenericError(f"another thread was using this {self._what} when the process forked: open it anew")

    __enter__ = acquire

    def release(self) -> None:
        """Nothing: nobody has got it."""

    def __exit__(self, *_: object) -> None:
        """Nothing: nobody has got it."""

    def locked(self) -> bool:
        """True, for as long as there is this process."""
        return True


def _after_fork() -> None:
    for turns in list(_all):
        turns._after_fork()


after_fork(_after_fork)
