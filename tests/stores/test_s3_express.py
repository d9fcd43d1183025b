"""S3 Express: sessions and the header they travel in. No server in the suite has directory buckets: the exchange is
the one in AWS's API reference (CreateSession), played by the fault server."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from cumulo.exceptions import UnauthenticatedError
from cumulo.store import S3Store
from tests.faults import FaultServer, Object, Response

BUCKET = "data--use1-az4--x-s3"


def _session(key: str, lifetime_s: int = 300) -> Response:
    expires = (datetime.now(timezone.utc) + timedelta(seconds=lifetime_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Response.xml(
        f"<CreateSessionResult><Credentials><SessionToken>token-{key}</SessionToken>"
        f"<SecretAccessKey>secret-{key}</SecretAccessKey><AccessKeyId>{key}</AccessKeyId>"
        f"<Expiration>{expires}</Expiration></Credentials></CreateSessionResult>"
    )


def _store(server: FaultServer) -> S3Store:
    return S3Store(
        BUCKET, endpoint=server.url, s3_express=True, access_key_id="BASE", secret_access_key="base-secret",
        client_options={"allow_http": True}, retry_config={"max_retries": 1},
    )  # fmt: skip


def test_requests_carry_a_session(fault_server: FaultServer) -> None:
    fault_server.script(f"/{BUCKET}?session", _session("KEY1"))
    fault_server.script(f"/{BUCKET}/k", Object(b"content"))
    store = _store(fault_server)
    assert store.get("k").bytes() == b"content"
    assert store.get_range("k", start=1, end=3) == b"on"
    asked, first, second = fault_server.requests
    assert "Credential=BASE/" in (asked.header("authorization") or "")
    assert asked.header("x-amz-create-session-mode") == "ReadWrite"
    for request in (first, second):
        assert request.header("x-amz-s3session-token") == "token-KEY1"
        assert request.header("x-amz-security-token") is None
        authorization = request.header("authorization") or ""
        assert "Credential=KEY1/" in authorization
        assert "/s3express/aws4_request" in authorization


def test_a_session_that_is_refused(fault_server: FaultServer) -> None:
    fault_server.script(f"/{BUCKET}?session", Response.error(403, "AccessDenied"))
    with pytest.raises(UnauthenticatedError, match="AccessDenied"):
        _store(fault_server).get("k")
