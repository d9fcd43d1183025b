"""Stores for these tests."""

from __future__ import annotations

import base64
import json
import time
from datetime import datetime, timedelta, timezone
from typing import Any

from cumulo.store import AzureStore
from tests.faults import FaultServer, Response
from tests.servers.azurite import KEY, AzureServer

MIB = 1024 * 1024
FAST_RETRY: dict[str, Any] = {
    "max_retries": 3,
    "retry_timeout": 20,
    "backoff": {"init_backoff": 0.01, "max_backoff": 0.02},
}
PATH = "/container/key"


def fault_store(server: FaultServer, *, client_options: dict[str, Any] | None = None, **options: Any) -> AzureStore:
    """A store on the fault server's container `container`, by account key unless other credentials are given."""
    given: dict[str, Any] = {"retry_config": FAST_RETRY, "endpoint": server.url, "account_name": "account"}
    known = {"skip_signature", "token", "sas_key", "credential_provider", "use_azure_cli", "msi_endpoint"}
    if not known.intersection(options):
        given["account_key"] = KEY
    return AzureStore("container", client_options={"allow_http": True, **(client_options or {})}, **given, **options)


def container_store(server: AzureServer, container: str | None = None, **options: Any) -> AzureStore:
    """A store on the emulator, on a fresh container unless one is named, with the credentials given."""
    client_options: dict[str, Any] = {"allow_http": True}
    if server.ca_file is not None:
        client_options["root_certificate"] = server.ca_file.read_bytes()
    return AzureStore(
        container or server.new_container(),
        endpoint=server.endpoint,
        account_name=server.account_name,
        client_options=client_options,
        retry_config=FAST_RETRY,
        **options,
    )


def container_sas(server: AzureServer, container: str, permission: str = "racwdl", hours: float = 1) -> str:
    """A container's SAS, by azure-storage-blob."""
    from azure.storage.blob import generate_container_sas

    until = datetime.now(timezone.utc) + timedelta(hours=hours)
    return generate_container_sas(
        server.account_name, container, server.account_key, permission=permission, expiry=until
    )


def blob(data: bytes = b"content", etag: str = '"0x1"', **headers: str) -> Response:
    """The answer to a GET or HEAD of a blob; keywords are more headers, with underscores for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    fixed = {"ETag": etag, "Last-Modified": "Wed, 01 Jan 2025 00:00:00 GMT", "Accept-Ranges": "bytes"}
    return Response(200, data, tuple({**fixed, **named}.items()))


def refused(status: int, code: str) -> Response:
    """The service's error document, as its reference shows it."""
    text = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>No.</Message></Error>'
    return Response.xml(text, status=status).header("x-ms-error-code", code).header("x-ms-request-id", "r-1")


def delegation_key() -> Response:
    """The document as the reference shows it, under "Get User Delegation Key"."""
    fields = {
        "SignedOid": "o", "SignedTid": "t", "SignedStart": "2030-01-01T00:00:00Z",
        "SignedExpiry": "2030-01-02T00:00:00Z", "SignedService": "b", "SignedVersion": "2025-01-05",
        "Value": "c2VjcmV0",
    }  # fmt: skip
    text = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    return Response.xml(f"<UserDelegationKey>{text}</UserDelegationKey>")


def jwt(audience: str) -> str:
    """A token that the emulator takes: it looks at these claims, not at the signature."""
    now = int(time.time())
    claims = {
        "aud": audience, "iss": "https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/", "iat": now - 60,
        "nbf": now - 60, "exp": now + 3600, "oid": "of-a-user", "tid": "of-a-directory",
    }  # fmt: skip
    parts = ({"typ": "JWT", "alg": "RS256"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "c2ln"])
