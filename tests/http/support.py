"""Stores for these tests."""

from __future__ import annotations

import asyncio
from typing import Any

from cumulo.store import HTTPStore
from tests.faults import FaultServer, Object, Response

MIB = 1024 * 1024
FAST_RETRY: dict[str, Any] = {
    "max_retries": 3,
    "retry_timeout": 20,
    "backoff": {"init_backoff": 0.01, "max_backoff": 0.02},
}


def web_store(url: str, *, client_options: dict[str, Any] | None = None, **options: Any) -> HTTPStore:
    """A store that may speak plain HTTP."""
    given: dict[str, Any] = {"retry_config": FAST_RETRY, **options}
    return HTTPStore(url, client_options={"allow_http": True, **(client_options or {})}, **given)


def bare(data: bytes, *headers: tuple[str, str], framing: Any = "length") -> Response:
    """What a server sends that knows neither ranges nor ETags nor dates."""
    return Response(200, data, tuple(headers), framing=framing)


def redirects(server: FaultServer, data: bytes, status: int = 302, host: str = "127.0.0.2") -> str:
    """`/data/key` redirects to a signed URL on another host, where `data` is: that host's URL."""
    other = server.url_at(host)
    server.script("/data/key", Response.redirect(f"{other}/signed/key?X-Signature=s3cr3t", status))
    server.script("/signed/key", Object(data))
    return other


async def _whole_async(store: Any) -> Any:
    return await (await store.get_async("key")).bytes_async()


async def _range_async(store: Any) -> Any:
    return await store.get_range_async("key", start=10, end=5000)


def _ranges(store: Any, data: bytes, *, coalesce: int) -> bool:
    starts, ends = [500, 0, 900], [600, 5, 1000]
    found = store.get_ranges("key", starts=starts, ends=ends, coalesce=coalesce)
    return [bytes(part) for part in found] == [data[s:e] for s, e in zip(starts, ends, strict=True)]


def _into(store: Any, data: bytes) -> bool:
    target = bytearray(len(data))
    return store.get_into("key", target) == len(data) and target == data


def _range_into(store: Any, data: bytes) -> bool:
    target = bytearray(300)
    return store.get_range_into("key", target, start=20) == 300 and target == data[20:320]


READS = {
    "get": lambda store, data: store.get("key").bytes() == data,
    "get async": lambda store, data: asyncio.run(_whole_async(store)) == data,
    "many": lambda store, data: [each.bytes for each in store.get_many(["key", "key"])] == [data, data],
    "stream": lambda store, data: b"".join(store.get("key").stream(100_000)) == data,
    "part": lambda store, data: store.get("key", options={"range": (3, 4000)}).bytes() == data[3:4000],
    "offset": lambda store, data: store.get("key", options={"range": {"offset": 77}}).bytes() == data[77:],
    "suffix": lambda store, data: store.get("key", options={"range": {"suffix": 99}}).bytes() == data[-99:],
    "range": lambda store, data: store.get_range("key", start=10, end=5000) == data[10:5000],
    "range async": lambda store, data: asyncio.run(_range_async(store)) == data[10:5000],
    "range future": lambda store, data: store.futures.get_range("key", start=9, length=8).result(60) == data[9:17],
    "ranges": lambda store, data: _ranges(store, data, coalesce=0),
    "coalesced": lambda store, data: _ranges(store, data, coalesce=1 << 20),
    "into": _into,
    "range into": _range_into,
    "head": lambda store, data: store.head("key")["size"] == len(data),
}
