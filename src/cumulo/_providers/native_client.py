"""From settings to a native `Client`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from cumulo import __version__
from cumulo._config import milliseconds, proxy_for
from cumulo._digests import sha256
from cumulo._native import Client, Credentials

if TYPE_CHECKING:
    from cumulo._config import ClientSettings, RetrySettings


class Endpoint(Protocol):
    """Where a store's requests go."""

    @property
    def scheme(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def tls(self) -> bool: ...
    @property
    def host_header(self) -> str: ...
    @property
    def base(self) -> bytes: ...


def make_client(
    endpoint: Endpoint,
    client: ClientSettings,
    retry: RetrySettings,
    source: Credentials | None,
    *,
    bucket: str,
    auth: str,
    headers: Sequence[tuple[str, bytes]] = (),
    **signing: Any,
) -> Client:
    """The client of a store. Clients whose connections are alike share them.

    Args:
        endpoint: where requests go.
        client: connections and deadlines.
        retry: retries.
        source: what requests show who they are by; None for anonymous ones.
        bucket: what a server throttles: the bucket or container.
        auth: how they show it: `"sigv4"`, `"s3express"`, `"bearer"`, `"sharedkey"`, `"query"` or `"azure"`; see
            `Client`.
        headers: what goes with every request, but where a request has a header of that name.
        **signing: for SigV4: `region`, `service`, `sign_payload`.
    """
    proxy = proxy_for(endpoint.scheme, endpoint.host, endpoint.port, client, os.environ)
    connection: dict[str, Any] = {
        "host": endpoint.host,
        "port": endpoint.port,
        "tls": endpoint.tls,
        "tls_verify": not client.allow_invalid_certificates,
        "ca_pem": _trusted(client),
        "max_connections": client.max_connections,
        "in_order": not client.randomize_addresses,
        "connect_timeout_ms": milliseconds(client.connect_timeout_s),
        "idle_timeout_ms": milliseconds(client.pool_idle_timeout_s),
    }
    if client.pool_max_idle_per_host is not None:
        connection["max_idle"] = client.pool_max_idle_per_host
    if proxy is not None:
        connection.update(
            proxy_host=proxy.host, proxy_port=proxy.port, proxy_tls=proxy.tls,
            proxy_ca_pem=_with_system_roots(client.proxy_ca_certificate), proxy_user=proxy.user,
            proxy_password=proxy.password,
        )  # fmt: skip
    return Client(
        key=_key_of(connection),
        # What throttles: the bucket, however its requests get there.
        pace_key=f"{endpoint.scheme}://{endpoint.host}:{endpoint.port}/{bucket}",
        **connection,
        host_header=endpoint.host_header,
        base=endpoint.base,
        headers=[*_headers(client), *headers],
        stall_timeout_ms=milliseconds(client.read_timeout_s),
        total_timeout_ms=milliseconds(client.timeout_s),
        hedge=client.hedge,
        max_retries=retry.max_retries,
        retry_timeout_ms=milliseconds(retry.retry_timeout_s),
        backoff_init_ms=milliseconds(retry.init_backoff_s),
        backoff_max_ms=milliseconds(retry.max_backoff_s),
        backoff_base=float(retry.base),
        credentials=source,
        auth=auth,
        **signing,
    )


def _key_of(connection: dict[str, Any]) -> str:
    """What connections with these settings have in common: a digest where they are long, or secret."""
    key = repr(sorted(connection.items()))
    return key if connection["ca_pem"] is None and "proxy_host" not in connection else sha256(key.encode())


def _headers(client: ClientSettings) -> list[tuple[str, bytes]]:
    headers = list(client.default_headers)
    if not any(name.lower() == "user-agent" for name, _ in headers):
        headers.append(("User-Agent", (client.user_agent or f"cumulo/{__version__}").encode()))
    return headers


def _trusted(client: ClientSettings) -> bytes | None:
    """PEM to trust, or None for the system's own. `root_certificate` is added to the system's."""
    if client.ca_bundle is not None:
        with open(client.ca_bundle, "rb") as file:
            base = file.read()
    elif client.root_certificate is None:
        return None
    else:
        return _with_system_roots(client.root_certificate)
    return base + b"\n" + (client.root_certificate or b"")


def _with_system_roots(pem: bytes | None) -> bytes | None:
    return _system_roots() + b"\n" + pem if pem is not None else None


def _system_roots() -> bytes:
    import ssl  # only where a certificate of the user's is added to them

    path = ssl.get_default_verify_paths().cafile
    if path is None:  # pyright: ignore[reportUnnecessaryComparison] - typeshed says it never is
        return b""
    with open(path, "rb") as file:
        return file.read()
