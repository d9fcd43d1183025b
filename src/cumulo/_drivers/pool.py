"""The threads that blocking calls run in, made on first use and anew in a forked child.

Code of the caller's (iterators, files) has threads of its own: it may wait for other calls of ours, which must not wait
for its thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from time import sleep
from typing import TYPE_CHECKING, Any, TypeVar

from cumulo._native import after_fork

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")

_THREADS = 16
_CALLERS_THREADS = 256
"""As many iterators and files are read at a time, unless they hold each other up."""
_STUCK_S = 0.5
_MORE_THREADS = 64
_IDLE_S = 5.0
_executor: ThreadPoolExecutor | None = None
_callers: CallersThreads | None = None


class CallersThreads(Executor):
    """Threads for what may wait for others of its kind: when all of them have been waiting for a while, there are more.

    Always true: each job has a thread that is looking for one, or all threads are busy and `_watch` looks after it.
    Threads are daemons: code of the caller's that never returns does not keep a program from ending.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self._taken = 0
        self._threads = 0
        self._looking = 0
        self._is_watched = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **_: Any) -> Future[T]:
        """A future of `fn(*args)`. Raises `RuntimeError` where the system has no thread to run it."""
        future: Future[T] = Future()
        with self._changed:
            self._jobs.append((future, fn, args))
            if self._looking >= len(self._jobs):
                self._changed.notify()
            elif self._threads < _CALLERS_THREADS and self._has_begun(self._work):
                self._threads += 1
            elif self._threads == 0:
                self._jobs.pop()
                raise RuntimeError("no thread can be started for an iterator or a file")
            elif not self._is_watched:
                self._is_watched = self._has_begun(self._watch)
        return future

    def _has_begun(self, work: Callable[[], None]) -> bool:
        try:
            threading.Thread(target=work, name="cumulo-reading", daemon=True).start()
        except RuntimeError:  # the system has no more
            return False
        return True

    def _work(self) -> None:
        while self._run_one():
            pass

    def _run_one(self) -> bool:
        with self._changed:
            self._looking += 1
            while not self._jobs and self._changed.wait(_IDLE_S):
                pass
            self._looking -= 1
            if not self._jobs:
                self._threads -= 1
                return False
            future, function, arguments = self._jobs.popleft()
            self._taken += 1
        if future.set_running_or_notify_cancel():
            try:
                result = function(*arguments)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
        return True

    def _watch(self) -> None:
        taken = -1
        while True:
            sleep(_STUCK_S)
            with self._changed:
                if not self._jobs:
                    self._is_watched = False
                    return
                if taken == self._taken:
                    for _ in range(min(len(self._jobs), _MORE_THREADS)):
                        self._threads += self._has_begun(self._work)
                taken = self._taken


def executor() -> ThreadPoolExecutor:
    """The process's pool for blocking calls of ours."""
    global _executor
    if _executor is None:
        from concurrent.futures import ThreadPoolExecutor  # here: an error once the main thread has ended

        _executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="cumulo-blocking")
    return _executor


def submit(function: Callable[..., T], *arguments: Any) -> Future[T]:
    """A future of a blocking call of ours."""
    try:
        return executor().submit(function, *arguments)
    except RuntimeError as error:
        # The main thread has ended, and with it what Python has of pools. Other threads and exit handlers go on.
        if "shutdown" not in str(error):
            raise
        return for_callers().submit(function, *arguments)


def for_callers() -> CallersThreads:
    """The process's pool for iterators and files of callers."""
    global _callers
    if _callers is None:
        _callers = CallersThreads()
    return _callers


def _after_fork() -> None:
    global _executor, _callers
    _executor = _callers = None  # their threads are the parent's


after_fork(_after_fork)
