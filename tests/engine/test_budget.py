"""One budget a process: connections and memory hold whatever is asked for at once, and nothing waits for ever."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.faults import FaultServer, Object, Request, Response, Upload

from . import budget_parts_programs as parts
from .budget_programs import CONNECTIONS, MEMORY_MIB
from .support import run_program

MIB = 1 << 20
SLACK_MIB = 100
"""The interpreter's own: tasks, requests, what malloc keeps."""


def _object(size: int) -> Object:
    return Object(b"0123456789abcdef" * (size // 16))


CONTENT, LARGE, LARGER = _object(MIB), _object(parts.SIZE), _object(12 * MIB)


def origin(request: Request) -> Response:
    """1 MiB under every name; what is put is forgotten."""
    return Response(200, headers=(("ETag", '"put"'),)) if request.method == "PUT" else CONTENT(request)


@pytest.mark.parametrize(
    ("program", "asked_mib"),
    [
        # asked_mib: what the caller holds, or has asked for and not yet taken.
        pytest.param("ten_thousand_gets", 1024, marks=pytest.mark.slow),
        pytest.param("ten_thousand_ranges", 1536, marks=pytest.mark.slow),
        ("a_thousand_results_unconsumed", 0),
        ("every_buffer_held", 3 * MEMORY_MIB + 2),
        ("gets_into_puts", 2 * 200),
    ],
)
def test_within_the_budget(
    fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch, program: str, asked_mib: int
) -> None:
    fault_server.script("/*", origin)
    monkeypatch.setattr(fault_server, "keep_body", 0)
    status, out, err = run_program(program, fault_server.url, seconds=300, module="budget_programs")
    assert status == 0, err
    found = json.loads(out)
    assert found["connections"] <= CONNECTIONS
    assert fault_server.connections.most_open <= CONNECTIONS
    assert found["grown_mib"] <= MEMORY_MIB + asked_mib + SLACK_MIB


@pytest.mark.parametrize("way", list(parts.WAYS))
@pytest.mark.parametrize(
    ("program", "asked_mib"),
    [
        ("results_unconsumed", 8 * parts.SIZE // MIB),
        ("chunks_held", parts.OBJECTS * parts.PART // MIB),
        ("buffers_held", 4 * parts.MEMORY_MIB + 5 * parts.SIZE // MIB),
        ("pipes", 2 * 5 * parts.PIPES),  # the part that each always gets, and as much on its way to it
        ("uploads", 5 * parts.PIPES),
    ],
)
def test_large_objects_within_the_budget(
    fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch, program: str, asked_mib: int, way: str
) -> None:
    uploads: dict[str, Upload] = {}

    def origin(request: Request) -> Response:
        if "uploads" in request.query or "uploadId" in request.query:
            return uploads.setdefault(request.path, Upload())(request)
        if request.method == "PUT":
            return Response(200, headers=(("ETag", '"put"'),))
        return (LARGER if "/large/" in request.path else LARGE)(request)

    fault_server.script("/*", origin)
    monkeypatch.setattr(fault_server, "keep_body", 8 * MIB)
    status, out, err = run_program(program, fault_server.url, way, seconds=300, module="budget_parts_programs")
    assert status == 0, err
    found = json.loads(out)
    assert found["connections"] <= parts.CONNECTIONS
    assert fault_server.connections.most_open <= parts.CONNECTIONS
    assert found["grown_mib"] <= parts.MEMORY_MIB + asked_mib + SLACK_MIB
    assert all(upload.completed and not upload.parts for upload in uploads.values())
    if program in ("pipes", "uploads"):
        wanted = LARGER.data if program == "pipes" else b"p" * (parts.UPLOAD_PARTS * 5 * MIB)
        assert len(uploads) == parts.PIPES
        assert all(upload.object.data == wanted for upload in uploads.values())


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "2", 1 << 70])
def test_a_budget_that_makes_no_sense(value: Any) -> None:
    """Said at once, and not by the next transfer; nothing of it is taken."""
    program = f"""
import pytest
from cumulo import _native, runtime
for name in ("threads", "connections", "memory_bytes"):
    with pytest.raises(ValueError, match=name):
        runtime.configure(**{{"threads": 3, "memory_bytes": 5 << 20, name: {value!r}}})
print(runtime.stats()["memory_bytes"])
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (found.stderr, found.stdout) == ("", f"{1 << 30}\n")


def test_it_is_too_late(fault_server: FaultServer) -> None:
    """What makes no sense is said first: it is no better before the first transfer."""
    program = f"""
import cumulo
from cumulo.store import S3Store
store = S3Store("bucket", endpoint={fault_server.url!r}, skip_signature=True, client_options={{"allow_http": True}})
cumulo.head(store, "key")
for threads in (2, 0):
    try:
        cumulo.runtime.configure(threads=threads)
    except (RuntimeError, ValueError) as error:
        print(type(error).__name__)
"""
    fault_server.script("/bucket/key", LARGE)
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (found.stderr, found.stdout) == ("", "RuntimeError\nValueError\n")


@pytest.mark.parametrize(("threads", "connections"), [(2, 5), (3, 20), (4, 2), (2, 1)])
def test_connections_are_as_many_as_configured(fault_server: FaultServer, threads: int, connections: int) -> None:
    """However they divide among the event loops."""
    fault_server.script("/*", origin)
    arguments = (fault_server.url, threads, connections)
    status, out, err = run_program("many_connections", *arguments, module="budget_programs")
    assert status == 0, err
    assert json.loads(out)["connections"] == fault_server.connections.most_open == connections
