"""What the tests of credentials share: an origin that notes who signed, and clients that sign for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit

from cumulo._config import S3Settings, resolve_s3
from cumulo._native import Client, Credentials, Request, thread_queue
from tests.faults import FaultServer, Object
from tests.faults.records import Request as Seen

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TOKEN = "IQoJb3JpZ2luX2VjEXAMPLETOKEN"


def settings(**options: Any) -> S3Settings:
    """A store's settings with these options and the test's environment."""
    return resolve_s3("bucket", options)


def in_s(seconds: float) -> datetime:
    """A moment that many seconds from now."""
    return datetime.now(timezone.utc) + timedelta(seconds=seconds)


def iso(seconds: float) -> str:
    """The same as text."""
    return in_s(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def credential(key: str, lives_s: float | None = None) -> dict[str, Any]:
    """What a user's provider returns."""
    expires = None if lives_s is None else in_s(lives_s)
    return {"access_key_id": key, "secret_access_key": SECRET, "token": TOKEN, "expires_at": expires}


def document(key: str, lives_s: float = 3600) -> dict[str, Any]:
    """What containers and instance metadata answer."""
    return {
        "Code": "Success", "AccessKeyId": key, "SecretAccessKey": SECRET, "Token": TOKEN, "Expiration": iso(lives_s),
    }  # fmt: skip


def signer_of(request: Seen) -> str:
    """The access key id in a request's Authorization header."""
    return (request.header("authorization") or "").partition("Credential=")[2].partition("/")[0]


class Origin:
    """An object on the fault server, and requests for it."""

    def __init__(self, server: FaultServer) -> None:
        self.server = server
        self.address = urlsplit(server.url)  # now: a forked child cannot ask
        server.script("/bucket/key", Object(b"data"))

    def client(self, source: Credentials | None) -> Client:
        parts = self.address
        return Client(
            key=f"origin {parts.netloc}", host=parts.hostname, port=parts.port, tls=False, host_header=parts.netloc,
            max_connections=64, connect_timeout_ms=5000, idle_timeout_ms=1000, stall_timeout_ms=0, total_timeout_ms=0,
            max_retries=3, retry_timeout_ms=10000, backoff_init_ms=10, backoff_max_ms=100, backoff_base=2.0,
            region="us-east-1", credentials=source,
        )  # fmt: skip

    def get(self, source: Credentials | None, *, timeout_s: float = 10) -> Request:
        """One request, until its end; the caller looks at its `error`."""
        request = Request(self.client(source), "GET", b"/bucket/key", timeout_s=timeout_s)
        request.submit(thread_queue())
        request.wait()
        return request

    def signers(self) -> list[str]:
        """Who signed the requests that the origin has seen."""
        return [signer_of(request) for request in self.server.requests if request.path == "/bucket/key"]


class Provider:
    """A sync provider that counts its calls; `answer` may be changed, and may be an exception or a callable."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.calls = 0
        self.threads: set[str] = set()

    def __call__(self) -> Any:
        self.calls += 1
        self.threads.add(threading.current_thread().name)
        answer = self.answer() if callable(self.answer) else self.answer
        if isinstance(answer, BaseException):
            raise answer
        return answer


def eventually(condition: Callable[[], Any], within_s: float = 30) -> None:
    """Wait until a condition holds."""
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, "not in time"
        time.sleep(0.01)
