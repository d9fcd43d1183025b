"""What a thread is using when the process forks: an error in the child, and nothing to the parent."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

import cumulo as obs
from cumulo.exceptions import ForkedError, GenericError
from cumulo.store import S3Store
from tests.engine.support import in_child, join_child
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
    in_child(lambda: _is_refused(call))
    go_on.set()
    thread.join()
    assert outcome == [expected]


def _is_refused(call: Callable[[], object]) -> None:
    with pytest.raises(GenericError, match="when the process forked"):
        call()


def test_futures_end_in_a_child_whatever_its_parents_threads_were_at(fault_server: FaultServer) -> None:
    fault_server.script("/bucket/object", Object(DATA))
    fault_server.script("/bucket/never", Response.never())
    fault_server.script("/bucket/written", Response.of(b""))
    store = fault_store(fault_server)
    go_on, calls = threading.Event(), list[object]()

    def waiting() -> Iterator[bytes]:
        go_on.wait(20)
        yield DATA

    finished, never, reading = (
        store.futures.get_range("object", start=0, end=10),
        store.futures.get("never"),
        store.futures.put("written", waiting()),
    )
    assert finished.result(20) == DATA[:10]
    never.add_done_callback(calls.append)
    fault_server.wait_for(lambda: fault_server.seen("/bucket/never"))

    def child() -> None:
        assert finished.result(0) == DATA[:10]
        for future in (never, reading):
            assert isinstance(future.exception(0), ForkedError)
        assert not calls, "what the parent was to call was called in the child"
        assert store.futures.get_range("object", start=0, end=10).result(20) == DATA[:10]

    with _each_in_use(finished, never, reading):
        in_child(child)
    go_on.set()
    reading.result(20)
    never.cancel()


def test_futures_of_many_go_on_in_a_child(fault_server: FaultServer) -> None:
    fault_server.script("/bucket/object", Object(DATA))
    fault_server.script("/bucket/never", Response.never())
    many = fault_store(fault_server).futures.get_many(["never", "object"], max_concurrency=1)
    never = next(many)
    in_child(lambda: next(many).result(20))
    never.cancel()


@contextmanager
def _each_in_use(*futures: Future[Any]) -> Generator[None]:
    """Another thread is inside of all of these, as who asks `done` is for a moment."""
    inside, leave = threading.Event(), threading.Event()

    def use() -> None:
        with ExitStack() as stack:
            for future in futures:
                stack.enter_context(future._condition)
            inside.set()
            leave.wait(20)

    thread = threading.Thread(target=use)
    thread.start()
    assert inside.wait(20)
    yield
    leave.set()
    thread.join()


def test_a_call_whose_content_forks(fault_server: FaultServer) -> None:
    """The call is the parent's; the child, which finds itself in it, is told so."""
    stored = Object(None)
    fault_server.script("/bucket/object", stored)
    store = fault_store(fault_server)
    parent = os.getpid()
    children: list[int] = []

    def content() -> Iterator[bytes]:
        yield DATA
        if child := os.fork():
            children.append(child)
        yield DATA

    error: BaseException | None = None
    try:
        store.put("object", content())
    except BaseException as raised:
        error = raised
    finally:
        if os.getpid() != parent:
            os._exit(0 if isinstance(error, ForkedError) else 1)
    join_child(children[0])
    assert error is None
    assert stored.data == 2 * DATA


def test_a_child_that_drops_its_parents_puts(fault_server: FaultServer) -> None:
    """It takes nothing back of them, and its own budget is whole."""
    stored, hold = Object(None), threading.Event()

    def held(request: Request) -> Response:
        hold.wait(20)
        return stored(request)

    fault_server.script("/bucket/first", Object(None))
    fault_server.script("/bucket/second", held)
    puts = fault_store(fault_server).put_many([("first", DATA), ("second", DATA)])
    next(puts)
    in_child(puts.close)
    assert all(request.method == "PUT" for request in fault_server.requests)
    hold.set()
    assert [result.path for result in puts] == ["second"]
    assert stored.data == DATA
