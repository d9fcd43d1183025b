"""`pool_max_idle_per_host`: how many connections are kept for later."""

from __future__ import annotations

import pytest

from cumulo.store import S3Store
from tests.faults import FaultServer, Object


@pytest.mark.parametrize(("kept", "opened"), [(None, 1), (0, 6), (1, 1)])
def test_idle_connections_are_kept_as_asked(fault_server: FaultServer, kept: int | None, opened: int) -> None:
    fault_server.script("/b/k", Object(b"content"))
    options = {"allow_http": True, **({} if kept is None else {"pool_max_idle_per_host": kept})}
    store = S3Store("b", endpoint=fault_server.url, skip_signature=True, client_options=options)
    for _ in range(6):
        assert store.get_range("k", start=0, end=7) == b"content"
    assert fault_server.connections.accepted == opened
