"""What a thread is using when the process forks: an error in the child, and nothing to the parent."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable

import pytest

import cumulo as obs
from cumulo.exceptions import GenericError
from cumulo.store import S3Store
from tests.faults import FaultServer, Object, Request, Response
from tests.s3.support import fault_store, list_page

DATA = b"0123456789" * 1000


def _reading(store: S3Store) -> tuple[Callable[[], object], object]:
    reader = obs.open_reader(store, "object", size=len(DATA))
    return lambda: reader.read(100), DATA[:100]


def _listing(store: S3Store) -> tuple[Callable[[], object], object]:
    listing = store.list()
    return listing.collect, []


@pytest.mark.parametrize("use", [_reading, _listing])
def test_a_child_does_not_wait_for_a_thread_of_its_parents(
    fault_server: FaultServer, use: Callable[[S3Store], tuple[Callable[[], object], object]]
) -> None:
    arrived, go_on = threading.Event(), threading.Event()
    content = Object(DATA)

    def answer(request: Request) -> Response:
        arrived.set()
        go_on.wait(20)
        return list_page() if "list-type" in request.query else content(request)

    fault_server.script("/bucket", answer)
    fault_server.script("/bucket/object", answer)
    call, expected = use(fault_store(fault_server))
    outcome: list[object] = []
    thread = threading.Thread(target=lambda: outcome.append(call()))
    thread.start()
    assert arrived.wait(20)
    child = os.fork()
    if child == 0:
        os._exit(_refused(call))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    go_on.set()
    thread.join()
    assert outcome == [expected]


def _refused(call: Callable[[], object]) -> int:
    """0 where the child is told; the parent's stack is not to be run on."""
    try:
        with pytest.raises(GenericError, match="when the process forked"):
            call()
    except BaseException:
        traceback.print_exc()
        return 1
    return 0
