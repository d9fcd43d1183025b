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
    """A lock: `with turns.mine():`."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._lock = threading.Lock()
        self._is_lost = False
        _all.add(self)

    def mine(self) -> threading.Lock:
        """The lock to wait for. Itself, since Ctrl-C may come in any method that took it, but not within its own.

        Raises:
            GenericError: in a forked child, where a thread of the parent's has it.
        """
        if self._is_lost:
            told = f"another thread was using this {self._what} when the process forked: open it anew"
            raise GenericError(told)
        return self._lock

    def _after_fork(self) -> None:
        self._is_lost = self._lock.locked()


def _after_fork() -> None:
    for turns in list(_all):
        turns._after_fork()


after_fork(_after_fork)
