"""One budget a process: connections and memory hold whatever is asked for at once, and nothing waits for ever."""

from __future__ import annotations

import json

import pytest

from tests.faults import FaultServer, Object, Request, Response

from .budget_programs import CONNECTIONS, MEMORY_MIB
from .support import run_program

MIB = 1 << 20
CONTENT = Object(b"0123456789abcdef" * (MIB // 16))


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
    # A server that is busy hears of a close long after its place was given to another connection.
    assert fault_server.connections.most_open <= 5 * CONNECTIONS
    slack_mib = 100  # the interpreter's own: tasks, requests, what malloc keeps
    assert found["grown_mib"] <= MEMORY_MIB + asked_mib + slack_mib
