"""Bulk jobs of aws-c-s3 where a process ends, forks, or cancels: what can't be seen of a single transfer."""

from __future__ import annotations

import gc
import os
import time
from collections import deque

import pytest

from cumulo import _native as native
from tests.faults import FaultServer, Faulty, Object, Response, Stall, Trickle, Upload

from .bulk_programs import SIZE, bulk_get, bulk_put
from .support import CHILD_S, PATH, Dispatcher, error_of, in_child, make_client, run_program

PROGRAMS = ["exit_in_gets", "exit_in_puts", "exit_in_a_loop", "exit_after_work"]
DATA = os.urandom(SIZE)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.timeout(180)
def test_an_interpreter_that_ends(fault_server: FaultServer, name: str) -> None:
    slow = name in ("exit_in_gets", "exit_in_a_loop")
    fault_server.script(PATH, Faulty(Object(DATA), Trickle(5e6)) if slow else Object(DATA))
    fault_server.script("/bucket/upload", Faulty(Upload(), read_rate=5e6))
    for _ in range(6):
        began = time.monotonic()
        assert run_program(name, fault_server.url, module="bulk_programs") == (3, "", "")
        assert time.monotonic() - began < 30


def test_uploads_are_aborted_at_exit(fault_server: FaultServer) -> None:
    upload = Upload()

    def step(request: object) -> Response:
        if "partNumber" in getattr(request, "query", {}):
            return Response.never()
        return upload(request)  # type: ignore[arg-type]

    fault_server.script("/bucket/upload", step)
    for _ in range(3):
        assert run_program("exit_in_puts", fault_server.url, module="bulk_programs") == (3, "", "")
        fault_server.wait_for(lambda: not upload.parts)


def test_a_forked_child_starts_afresh(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Object(DATA))
    url = fault_server.url
    assert bulk_get(client).perform().take_target() == DATA

    def child() -> None:
        assert bulk_get(make_client(url)).perform().take_target() == DATA

    in_child(child)
    assert bulk_get(client).perform().take_target() == DATA


def test_what_is_under_way_belongs_to_the_parent(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, [Object(DATA), Faulty(Object(DATA), Stall(1000))])
    with Dispatcher() as dispatcher:
        got = bulk_get(client)
        done = dispatcher.submit(got)
        fault_server.wait_for(lambda: fault_server.stalled)

        def child() -> None:
            assert got.error == "forked"
            got.cancel()
            assert error_of(bulk_get(client).perform).error == "forked"

        in_child(child)
        got.cancel()
        assert done.wait(CHILD_S)
    assert got.error == "cancelled"


def test_threads_and_memory_are_given_back(fault_server: FaultServer) -> None:
    """A client of aws-c-s3 goes with the last of ours that reaches its endpoint alike."""
    fault_server.script(PATH, Object(DATA))

    def threads() -> int:
        return len(os.listdir("/proc/self/task"))

    bulk_get(make_client(fault_server.url)).perform()
    before = threads()
    for number in range(8):
        bulk_get(make_client(fault_server.url, idle_timeout_ms=30_000 + number)).perform()
    fault_server.wait_for(lambda: threads() <= before + 8)


def test_nothing_is_written_after_a_cancel(fault_server: FaultServer, client: native.Client) -> None:
    """Into memory of the caller's, at any moment of a transfer."""
    fault_server.script(PATH, Faulty(Object(b"x" * SIZE), Trickle(100e6)))
    for number in range(20):
        with Dispatcher() as dispatcher:
            got = bulk_get(client, foreign=True)
            memory = next(each for each in gc.get_referents(got) if isinstance(each, deque))[0]
            done = dispatcher.submit(got)
            time.sleep(number * 0.005)
            got.cancel()
            before = bytearray(memory)
            time.sleep(0.02)
            assert bytearray(memory) == before
            assert done.wait(CHILD_S)


def test_a_cancel_before_anything_has_begun(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Response.never())
    for _ in range(20):
        with Dispatcher() as dispatcher:
            got = bulk_get(client)
            done = dispatcher.submit(got)
            got.cancel()
            assert done.wait(CHILD_S)
            assert got.error == "cancelled"


def test_parts_stay_within_the_budget(fault_server: FaultServer, client: native.Client) -> None:
    upload = Upload()
    fault_server.script("/bucket/upload", upload)
    native.configure(memory_bytes=12 << 20)
    try:
        bulk_put(client, DATA * 4).perform()
    finally:
        native.configure(memory_bytes=1 << 30)
    assert upload.object.data == DATA * 4


def test_no_server() -> None:
    nowhere = make_client("http://127.0.0.1:1", max_retries=1)
    assert error_of(lambda: bulk_get(nowhere).perform()).error == "connect"
