"""The threads that blocking calls run in, made on first use and anew in a forked child."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

_THREADS = 16
_executor: ThreadPoolExecutor | None = None


def executor() -> ThreadPoolExecutor:
    """The process's pool for blocking calls."""
    global _executor
    if _executor is None:
        _executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="cumulo-blocking")
    return _executor


def _after_fork() -> None:
    global _executor
    _executor = None  # its threads are the parent's


os.register_at_fork(after_in_child=_after_fork)
