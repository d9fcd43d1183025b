"""Ctrl-C in a synchronous call: KeyboardInterrupt at once, the transfer stopped, the engine still of use."""

from __future__ import annotations

import signal
import time

import pytest

from tests.faults import FaultServer, Faulty, Object, Response, Stall

from .support import PATH, STREAM, program

AT_ONCE_S = 10.0
"""Less than any timeout of what is interrupted, and long even for a busy machine."""
PROGRAMS = ["interrupted_get", "interrupted_stream", "interrupted_put", "interrupted_loop"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_ctrl_c(fault_server: FaultServer, name: str) -> None:
    fault_server.script("/bucket/stalls", Faulty(Object(b"x" * STREAM), Stall(300_000)))
    fault_server.script("/bucket/stalls", Response(read_stall=0), method="PUT")
    fault_server.script(PATH, Response.of(b"data"))
    with program(name, fault_server.url) as process:
        fault_server.wait_for(lambda: fault_server.stalled == 1)
        time.sleep(0.1)
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert float(out) - sent < AT_ONCE_S
    left = fault_server.connections.all[0]
    if name == "interrupted_put":
        # The end of the connection comes behind what is still in the socket's buffers, which nobody reads.
        fault_server.release()
        fault_server.wait_for(lambda: left.closed_by == "peer")
        assert fault_server.requests[0].body_length < 64 << 20
    else:
        fault_server.wait_for(lambda: left.closed_by == "peer")
        assert left.closed is not None
        assert left.closed - sent < AT_ONCE_S
