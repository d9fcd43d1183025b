"""Stores for these tests."""

from __future__ import annotations

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
