"""Certificates that are not to be trusted: refused at once, saying why."""

from __future__ import annotations

import time
from typing import Literal

import pytest

from cumulo.exceptions import ConnectionFailedError
from cumulo.store import S3Store
from tests.faults import FaultServer, Object


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("self-signed", "ROOT_CERTIFICATE"), ("expired", "EXPIRED"), ("wrong-host", "HOST_NAME_MISMATCH")],
)
def test_a_certificate_that_is_not_trusted(
    fault_server: FaultServer, kind: Literal["self-signed", "expired", "wrong-host"], reason: str
) -> None:
    fault_server.script("/b/k", Object(b"secret"))
    trusted = {"root_certificate": fault_server.ca_file.read_bytes()}
    store = S3Store("b", endpoint=fault_server.tls_url(kind), skip_signature=True, client_options=trusted)
    started = time.monotonic()
    with pytest.raises(ConnectionFailedError, match=reason) as caught:
        store.get("k")
    assert caught.value.attempts == 1, "no retry can heal it"
    assert time.monotonic() - started < 9, "a failed handshake is not held open to blind the peer (10 to 30 s)"
    assert fault_server.requests == []


def test_a_certificate_that_is(fault_server: FaultServer) -> None:
    fault_server.script("/b/k", Object(b"content"))
    trusted = {"root_certificate": fault_server.ca_file.read_bytes()}
    store = S3Store("b", endpoint=fault_server.tls_url(), skip_signature=True, client_options=trusted)
    assert store.get("k").bytes() == b"content"
