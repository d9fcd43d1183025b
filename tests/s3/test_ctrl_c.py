"""Ctrl-C between any two lines of the driver: wherever the signal's handler runs, the transfer is stopped."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from cumulo import runtime
from cumulo._drivers import sync
from cumulo.store import S3Store
from tests.ctrl_c import ctrl_c_when
from tests.faults import FaultServer, Faulty, Object, Response, Stall, Upload

from .support import MIB, PATH, fault_store

DATA = bytes(12 * MIB)
CALLS: dict[str, Callable[[S3Store, Path], Any]] = {
    "get": lambda store, _: store.get("key").bytes(),
    "get in parts": lambda store, _: store.get("key", part_size=MIB).bytes(),
    "get_ranges": lambda store, _: store.get_ranges("key", starts=[0, 6 * MIB], ends=[MIB, 7 * MIB]),
    "get_into": lambda store, _: store.get_into("key", bytearray(len(DATA)), part_size=MIB),
    "get_many": lambda store, _: list(store.get_many(["key"] * 2)),
    "download": lambda store, file: store.download("key", file, part_size=MIB),
    "put": lambda store, _: store.put("to", DATA),
    "put of an iterator": lambda store, _: store.put("to", (bytes(6 * MIB) for _ in range(2))),
    "put_many": lambda store, _: list(store.put_many([("to", DATA)])),
}


@contextlib.contextmanager
def _after(lines: int, press: Callable[[], object]) -> Iterator[None]:
    """Press once so many lines of the driver have run."""
    left = lines

    def on_event(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename != sync.__file__:
            return None
        if event == "line":
            left -= 1
            if left == -1:
                press()
        return on_event

    before = sys.gettrace()
    sys.settrace(on_event)
    try:
        yield
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("client", ["engine", "crt"])
@pytest.mark.parametrize("call", CALLS)
def test_nothing_goes_on(fault_server: FaultServer, tmp_path: Path, client: str, call: str) -> None:
    """From the first line until it waits for a server that has begun to answer and then stalls."""
    store = fault_store(fault_server, bulk_client=client)
    fault_server.script(PATH, Faulty(Object(DATA), Stall(100)))
    early = threading.Event()  # the lines had run before it waited
    for lines in itertools.count():
        upload = Upload()
        fault_server.script("/bucket/to", upload)
        fault_server.script("/bucket/to?partNumber", Response.never(), method="PUT")
        early.clear()
        with ctrl_c_when(lambda: fault_server.stalled) as press, _after(lines, lambda: press(early)):
            CALLS[call](store, tmp_path / "file")
        fault_server.wait_for(lambda: runtime.stats()["in_flight"] == 0 and not fault_server.stalled)
        assert upload.parts == {}
        if not early.is_set():
            break
    assert lines > 5
