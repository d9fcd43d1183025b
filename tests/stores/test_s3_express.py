"""S3 Express: sessions and the header they travel in. No server in the suite has directory buckets: the exchange is
the one in AWS's API reference (CreateSession), played by the fault server."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from cumulo.exceptions import UnauthenticatedError
from cumulo.store import S3Store
from tests.faults import FaultServer, Object, Request, Response, Upload

BUCKET = "data--use1-az4--x-s3"


def _session(key: str, lifetime_s: int = 300) -> Response:
    expires = (datetime.now(timezone.utc) + timedelta(seconds=lifetime_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Response.xml(
        f"<CreateSessionResult><Credentials><SessionToken>token-{key}</SessionToken>"
        f"<SecretAccessKey>secret-{key}</SecretAccessKey><AccessKeyId>{key}</AccessKeyId>"
        f"<Expiration>{expires}</Expiration></Credentials></CreateSessionResult>"
    )


def _store(server: FaultServer, **options: Any) -> S3Store:
    return S3Store(
        BUCKET, endpoint=server.url, s3_express=True, access_key_id="BASE", secret_access_key="base-secret",
        client_options={"allow_http": True}, retry_config={"max_retries": 1}, **options,
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


def _of_aws_c_s3(server: FaultServer) -> list[Request]:
    return [request for request in server.requests if "CRTS3" in (request.header("user-agent") or "")]


def _assert_signed_with(request: Request, key: str) -> None:
    assert request.header("x-amz-s3session-token") == f"token-{key}"
    assert request.header("x-amz-security-token") is None
    authorization = request.header("authorization") or ""
    assert f"Credential={key}/" in authorization
    assert "/s3express/aws4_request" in authorization


@pytest.mark.parametrize("bulk_client", ["crt", "engine"])
def test_large_transfers(fault_server: FaultServer, tmp_path: Path, bulk_client: str) -> None:
    """One session for the requests of either client, and no other for aws-c-s3's own."""
    data, upload = os.urandom(12 * 1024 * 1024 + 7), Upload()
    fault_server.script(f"/{BUCKET}?session", _session("KEY1"))
    fault_server.script(f"/{BUCKET}/put", upload)
    fault_server.script(f"/{BUCKET}/get", Object(data))
    store = _store(fault_server, bulk_client=bulk_client)
    store.put("put", data)
    store.put("put", iter([data]))
    assert upload.object.data == data
    assert store.get("get", part_size=1 << 20).bytes() == data
    store.download("get", tmp_path / "file", part_size=1 << 20)
    assert (tmp_path / "file").read_bytes() == data
    asked, *rest = fault_server.requests
    assert "session" in asked.query
    assert all("session" not in request.query for request in rest)
    for request in rest:
        _assert_signed_with(request, "KEY1")
    assert len(_of_aws_c_s3(fault_server)) == (36 if bulk_client == "crt" else 0)


def test_a_session_that_ends_before_a_large_transfer(fault_server: FaultServer) -> None:
    """What is refused for the old keys is tried again with new ones."""
    data = os.urandom(12 * 1024 * 1024)
    content = Object(data)
    fault_server.script(f"/{BUCKET}?session", [_session("KEY1"), _session("KEY2")])

    def step(request: Request) -> Response:
        old = request.header("x-amz-s3session-token") == "token-KEY1"
        return Response.error(400, "ExpiredToken") if old and request.header("range") else content(request)

    fault_server.script(f"/{BUCKET}/k", step)
    result = _store(fault_server, bulk_client="crt").get("k", part_size=1 << 20)
    time.sleep(5.1)  # a session that has just been made is not at fault
    assert result.bytes() == data
    _assert_signed_with(_of_aws_c_s3(fault_server)[0], "KEY1")
    _assert_signed_with(_of_aws_c_s3(fault_server)[-1], "KEY2")
