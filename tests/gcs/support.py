"""Stores for these tests."""

from __future__ import annotations

from typing import Any

from cumulo.store import GCSStore
from tests.faults import FaultServer
from tests.servers.gcs import GCSServer
from tests.servers.gcs_objects import Bucket

MIB = 1024 * 1024
PATH = "/bucket/key"
TOKEN = "t0ken-that-must-not-show"
FAST_RETRY: dict[str, Any] = {
    "max_retries": 3,
    "retry_timeout": 20,
    "backoff": {"init_backoff": 0.01, "max_backoff": 0.02},
}


def make_store(url: str, bucket: str, **options: Any) -> GCSStore:
    """A store without credentials, unless some are given."""
    who = ("bearer_token", "credential_provider", "service_account_key", "service_account", "application_credentials")
    if not any(name in options for name in who):
        options.setdefault("skip_signature", True)
    options.setdefault("retry_config", FAST_RETRY)
    return GCSStore(bucket, base_url=url, client_options={"allow_http": True}, **options)


def gcs_store(server: GCSServer, *, bucket: dict[str, bool] | None = None, **options: Any) -> GCSStore:
    """A store on a fresh bucket of the stand-in; `bucket` says what kind."""
    server.seen.clear()
    return make_store(server.url, server.new_bucket(**(bucket or {})), **options)


def fault_store(server: FaultServer, **options: Any) -> GCSStore:
    """A store on the fault server's bucket `bucket`."""
    return make_store(server.url, "bucket", **options)


def bucket_of(server: GCSServer, store: GCSStore) -> Bucket:
    """What the stand-in keeps for a store."""
    return server.buckets[store.config["bucket"]]


def methods(server: GCSServer) -> list[str]:
    """The methods of the requests so far."""
    return [method for method, _, _ in server.seen]


def headers_of(server: GCSServer, method: str) -> list[dict[str, str]]:
    """The headers of the requests so far of one method."""
    return [headers for seen, _, headers in server.seen if seen == method]
