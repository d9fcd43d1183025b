"""Bodies that go to a file: what the binding adds to `tests/native/test_engine_file.c`."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from pathlib import Path

import pytest

from cumulo import _native as native
from tests.faults import FaultServer, Object, Response, Stall

from .support import PATH, Dispatcher, in_child, request

PIPE_BYTES = 1 << 20


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
    """The process's pipes that carry bodies: no others have this size."""
    found: set[str] = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
            if target.startswith("pipe:") and fcntl.fcntl(int(name), fcntl.F_GETPIPE_SZ) == PIPE_BYTES:
                found.add(target)
        except OSError:  # what listed them, or one that has gone since
            continue
    return found


def _keep_no_pipe() -> None:
    assert not _pipes()


@pytest.mark.skipif(sys.platform != "linux", reason="there are no pipes elsewhere")
def test_a_child_keeps_no_pipe_of_its_parents(fault_server: FaultServer, client: native.Client, tmp_path: Path) -> None:
    """What its parent has dropped would stay in memory for as long as the child lives."""
    data = os.urandom(1 << 20)
    fault_server.script(PATH, Response.of(data).having(Stall(300_000)))
    with Dispatcher() as dispatcher, (tmp_path / "file").open("w+b") as file:
        stalled = request(client, sink="stream")
        stalled.feed_file(file, 0, len(data))
        done = dispatcher.submit(stalled)
        fault_server.wait_for(lambda: stalled.progress[3] > 250_000 and _pipes())
        in_child(_keep_no_pipe)
        fault_server.release()
        assert done.wait(10)
        stalled.raise_if_failed()
    assert (tmp_path / "file").read_bytes() == data
    assert not _pipes()


@pytest.mark.skipif(sys.platform != "linux", reason="there are no pipes elsewhere")
def test_no_moment_is_a_wrong_one_to_fork(fault_server: FaultServer, client: native.Client, tmp_path: Path) -> None:
    """Pipes are made and closed all the while."""
    data = os.urandom(1 << 20)
    fault_server.script(PATH, Object(data))
    with Dispatcher() as dispatcher, (tmp_path / "file").open("w+b") as file:
        for _ in range(100):
            download = request(client, sink="stream")
            download.feed_file(file, 0, len(data))
            done = dispatcher.submit(download)
            in_child(_keep_no_pipe)
            assert done.wait(10)
            download.raise_if_failed()
