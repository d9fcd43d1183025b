"""The threads that blocking calls run in, made on first use and anew in a forked child.

Code of the caller's (iterators, files) has threads of its own: it may wait for other calls of ours, which must not wait
for its thread.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

_THREADS = 16
_CALLERS_THREADS = 256
"""As many iterators and files can be read at a time; beyond that, one that waits for another could wait for ever."""
_executor: ThreadPoolExecutor | None = None
_callers: ThreadPoolExecutor | None = None


def executor() -> ThreadPoolExecutor:
    """The process's pool for blocking calls of ours."""
    global _executor
    if _executor is None:
        _executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="cumulo-blocking")
    return _executor


def for_callers() -> ThreadPoolExecutor:
    """The process's pool for iterators and files of callers."""
    global _callers
    if _callers is None:
        _callers = ThreadPoolExecutor(_CALLERS_THREADS, thread_name_prefix="cumulo-reading")
    return _callers


def _after_fork() -> None:
    global _executor, _callers
    _executor = _callers = None  # their threads are the parent's


os.register_at_fork(after_in_child=_after_fork)
