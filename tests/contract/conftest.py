"""`store`: each test runs on every store: S3 servers (one by aws-c-s3, too), WebDAV, memory and the local disk.

`call`: in each of the three ways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cumulo import store as stores
from cumulo.store import AzureStore, GCSStore, S3Store
from tests.calls import CALLS
from tests.servers import S3Server
from tests.servers.azurite import AzureServer
from tests.servers.gcs import GCSServer

S3_SERVERS = ("ministack", "moto", "swift")


def s3_store(server: S3Server, **options: Any) -> S3Store:
    """A store on a fresh bucket of a real server, or on `bucket`."""
    return S3Store(
        options.pop("bucket", None) or server.new_bucket(),
        endpoint=server.endpoint,
        region=server.region,
        access_key_id=server.access_key_id,
        secret_access_key=server.secret_access_key,
        client_options={"allow_http": True},
        **options,
    )


def gcs_store(server: GCSServer, **options: Any) -> GCSStore:
    """A store on a fresh bucket of the stand-in."""
    options = {"bucket": server.new_bucket(), "skip_signature": True, **options}
    return GCSStore(base_url=server.url, client_options={"allow_http": True}, **options)


def azure_store(server: AzureServer, **options: Any) -> AzureStore:
    """A store on a fresh container of the emulator."""
    # A range that begins at an object's very end is answered with other bytes: an error each time, and no use to retry.
    options.setdefault("retry_config", {"max_retries": 3})
    return AzureStore(
        server.new_container(),
        endpoint=server.endpoint,
        account_name=server.account_name,
        account_key=server.account_key,
        client_options={"allow_http": True},
        **options,
    )


@pytest.fixture(params=[*S3_SERVERS, "moto-crt", "azurite", "gcs", "webdav", "memory", "local"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """An empty store."""
    if request.param == "memory":
        return stores.MemoryStore()
    if request.param == "webdav":
        url = f"{request.getfixturevalue('webdav')}/{uuid4()}"  # a collection that is not there yet
        return stores.HTTPStore(url, client_options={"allow_http": True})
    if request.param == "local":
        return stores.LocalStore(tmp_path)
    if request.param == "gcs":
        return gcs_store(request.getfixturevalue("gcs"))
    if request.param == "azurite":
        return azure_store(request.getfixturevalue("azurite"))
    server, _, bulk_client = request.param.partition("-")
    return s3_store(request.getfixturevalue(server), bulk_client=bulk_client or "engine")


@pytest.fixture(params=S3_SERVERS)
def s3(request: pytest.FixtureRequest) -> S3Store:
    """An empty store on a real S3 server."""
    return s3_store(request.getfixturevalue(request.param))


@pytest.fixture(params=CALLS.values(), ids=CALLS)
def call(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """`call(store, verb, ...)` in one of the three ways to call a verb."""
    return request.param
