"""Downloads through a store's bulk client, in the three ways, for the tests of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from cumulo._drivers import run_async, run_in_background, sync
from cumulo._drivers.effects import Plan
from cumulo._native import Bytes
from cumulo._operations import bulk
from cumulo._providers.s3_bulk import S3Bulk
from cumulo.store import S3Store

from .support import MIB


def bulk_of(store: S3Store) -> S3Bulk:
    """The bulk client of a store."""
    client = store._use().provider.bulk
    assert client is not None
    return client


def fetch(store: S3Store, etag: str, size: int, **options: Any) -> Plan[Bytes]:
    """The object `key`, whole, in parts of 5 MiB."""
    client = bulk_of(store)
    request = client.get("key", None, etag, (0, size), part_bytes=5 * MIB, most=4, **options)
    request.feed_target(size)
    yield from bulk.perform(client, request)
    return request.take_target()


def run(make: Callable[[], Plan[Any]], how: str) -> Any:
    """The outcome of a plan, run in one of the three ways."""
    if how == "sync":
        return sync.run(make())
    if how == "futures":
        return run_in_background(make()).result(60)

    async def main() -> Any:
        return await run_async(make())

    return asyncio.run(main())


def in_background(plan: Plan[Any]) -> Future[Any]:
    """The plan, started."""
    return run_in_background(plan)
