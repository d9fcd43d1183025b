"""Bodies that go to a file: what the binding adds to `tests/native/test_engine_file.c`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from cumulo import _native as native
from tests.faults import FaultServer, Object

from .support import PATH, request


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
