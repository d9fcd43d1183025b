"""Bodies that go to a file: what the binding adds to `tests/native/test_engine_file.c`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from cumulo import _native as native
from tests.faults import FaultServer, Object, Response, Stall

from .support import PATH, Dispatcher, in_child, request


async def test_a_short_body_that_has_come_already(
    fault_server: FaultServer, client: native.Client, tmp_path: Path
) -> None:
    """Its request had ended, and is under way once more until all is written."""
    fault_server.script(PATH, Object(b"0123456789"))
    loop = asyncio.get_running_loop()
    ends = asyncio.Queue[bool]()
    stream = request(client, sink="stream", announce_headers=True)
    stream.waiter = lambda each: ends.put_nowait(each.finished)
    stream.submit(native.loop_queue(loop))
    while not await ends.get():
        pass
    with (tmp_path / "file").open("w+b") as file:
        stream.feed_file(file, 3, 10)
        while not await ends.get():
            pass
        stream.raise_if_failed()
        assert (tmp_path / "file").read_bytes() == b"\0\0\x000123456789"


def _pipes() -> set[str]:
    found: set[str] = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:  # what listed them
            continue
    return {name for name in found if name.startswith("pipe:")}


@pytest.mark.skipif(sys.platform != "linux", reason="there are no pipes elsewhere")
def test_a_child_keeps_no_pipe_of_its_parents(fault_server: FaultServer, client: native.Client, tmp_path: Path) -> None:
    """What its parent has dropped would stay in memory for as long as the child lives."""
    data = os.urandom(1 << 20)
    fault_server.script(PATH, Response.of(data).having(Stall(300_000)))
    before = _pipes()
    with Dispatcher() as dispatcher, (tmp_path / "file").open("w+b") as file:
        stalled = request(client, sink="stream")
        stalled.feed_file(file, 0, len(data))
        done = dispatcher.submit(stalled)
        # Not at the moment when a pipe has been made and the request does not have it yet.
        fault_server.wait_for(lambda: stalled.progress[3] > 250_000 and _pipes() - before)

        def child() -> None:
            assert _pipes() <= before

        in_child(child)
        fault_server.release()
        assert done.wait(10)
        stalled.raise_if_failed()
    assert (tmp_path / "file").read_bytes() == data
    assert _pipes() <= before
