"""One HTTP exchange with a source of credentials, on the native engine. Called on threads that may block."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from cumulo._config import proxy_for
from cumulo._native import Client, Credentials, Request, thread_queue

from .keys import CredentialsError, Keys

_ANSWER_BYTES = 1 << 20
_IDLE_TIMEOUT_MS = 1000


class Answer(NamedTuple):
    """A response of any status."""

    status: int
    body: bytes
    headers: dict[str, str]
    """By names in lower case; of several of a name, one a line."""


class NoAnswerError(CredentialsError):
    """The server gave no response at all."""


class Limits(NamedTuple):
    """How long an exchange may take, and how often a failed request is sent again."""

    connect_s: float = 5
    total_s: float = 20
    retries: int = 3


_USUAL_LIMITS = Limits()


class Signer(NamedTuple):
    """What a request is signed for, and with."""

    keys: Keys
    service: str
    region: str


def exchange(
    method: str,
    url: str,
    *,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes | None = None,
    limits: Limits = _USUAL_LIMITS,
    direct: bool = False,
    signer: Signer | None = None,
) -> Answer:
    """Send a request, and again while it helps; `direct` goes past any proxy. No redirect is followed."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CredentialsError(f"not an http or https URL: {url!r}")
    client = _client(parts, limits, direct=direct, signer=signer)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    request = Request(
        client, method, path.encode(), list(headers), body=body, unsigned=signer is None, collect_limit=_ANSWER_BYTES
    )
    request.submit(thread_queue())
    request.wait()
    if request.error is None:
        status, answered, _, _ = request.response
        return Answer(status, bytes(request.take_body()), answered)
    if request.error == "status":
        (status, answered, _, _), text = request.failure
        return Answer(status, text, answered)
    why = request.crt_error or request.error.replace("_", " ")
    raise NoAnswerError(f"no answer from {parts.hostname}: {why}")


def _client(parts: SplitResult, limits: Limits, *, direct: bool, signer: Signer | None) -> Client:
    host, tls = parts.hostname or "", parts.scheme == "https"
    shown = f"[{host}]" if ":" in host else host
    connection: dict[str, Any] = {
        "host": host,
        "port": _port(parts),
        "tls": tls,
        "ca_pem": _ca_bundle() if tls else None,
        "connect_timeout_ms": int(limits.connect_s * 1000),
        **({} if direct else _proxy(parts)),
    }
    return Client(
        # Clients of one key share connections, and with them all that a connection is made with.
        key=hashlib.sha256(f"credentials {connection}".encode()).hexdigest(),
        **connection,
        host_header=f"{shown}:{parts.port}" if parts.port else shown,
        max_connections=4,
        idle_timeout_ms=_IDLE_TIMEOUT_MS,
        stall_timeout_ms=0,
        total_timeout_ms=int(limits.total_s * 1000),
        max_retries=limits.retries,
        retry_timeout_ms=int(limits.total_s * 1000),
        backoff_init_ms=100,
        backoff_max_ms=2000,
        backoff_base=2.0,
        **_signing(signer),
    )


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _signing(signer: Signer | None) -> dict[str, Any]:
    if signer is None:
        return {}
    credentials = Credentials()
    credentials.publish(signer.keys.access_key_id, signer.keys.secret_access_key, signer.keys.session_token)
    return {"credentials": credentials, "service": signer.service, "region": signer.region, "sign_payload": True}


def _ca_bundle() -> bytes | None:
    """The AWS tools' own variable for what to trust instead of the system's authorities."""
    name = os.environ.get("AWS_CA_BUNDLE")
    if not name:
        return None
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise CredentialsError(f"AWS_CA_BUNDLE: {error}") from None


def _proxy(parts: SplitResult) -> dict[str, Any]:
    """HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, as for stores."""
    proxy = proxy_for(parts.scheme, parts.hostname or "", _port(parts))
    return {} if proxy is None else {f"proxy_{name}": value for name, value in vars(proxy).items()}
