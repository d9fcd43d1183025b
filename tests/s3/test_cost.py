"""What an end of one of many requests under way costs: the same, however many others there are."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import cumulo
from cumulo.store import S3Store
from tests.faults import FaultServer, Object, Upload

from .support import PATH, fault_store

KIB = 1024
DATA = os.urandom(12 * 1024 * KIB)
PART = 64 * KIB
SOURCES = str(Path(cumulo.__file__).parent)


def lines_run(work: Callable[[], object]) -> int:
    """How many lines of ours a call runs on this thread: each turn of a loop counts, whatever the machine's speed."""
    count = 0

    def on_event(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.startswith(SOURCES):
            return None
        count += event == "line"
        return on_event

    before = sys.gettrace()
    sys.settrace(on_event)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def _whole(store: S3Store, most: int) -> None:
    assert store.get("key", part_size=PART, max_concurrency=most).bytes() == DATA


def _streamed(store: S3Store, most: int) -> None:
    chunks = store.get("key", part_size=PART, max_concurrency=most).stream(PART)
    assert sum(map(len, chunks)) == len(DATA)


def _into(store: S3Store, most: int) -> None:
    assert store.get_into("key", bytearray(len(DATA)), part_size=PART, max_concurrency=most) == len(DATA)


@pytest.mark.parametrize("read", [_whole, _streamed, _into])
def test_parts(fault_server: FaultServer, read: Callable[[S3Store, int], None]) -> None:
    fault_server.script(PATH, Object(DATA))
    store = fault_store(fault_server, skip_signature=True)
    few, many = (lines_run(lambda most=most: read(store, most)) for most in (4, 160))
    assert many <= 1.5 * few


def test_parts_of_an_upload(fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from cumulo._providers.s3 import S3Provider

    monkeypatch.setattr(S3Provider, "min_part_bytes", PART)
    fault_server.script(PATH, Upload())
    store = fault_store(fault_server, skip_signature=True)
    few, many = (
        lines_run(lambda most=most: store.put("key", DATA, chunk_size=PART, max_concurrency=most)) for most in (4, 160)
    )
    assert many <= 1.5 * few
