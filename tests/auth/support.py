"""How these tests read through a store, and what they say of whom a request came from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.faults import Request

READS: dict[str, Callable[[Any, str], bytes]] = {
    "sync": lambda store, path: store.get(path).bytes().to_bytes(),
    "async": lambda store, path: asyncio.run(_read(store, path)),
    "futures": lambda store, path: store.futures.get_range(path, start=0, end=7).result().to_bytes(),
}
"""Each reads the seven bytes of `content`."""


async def _read(store: Any, path: str) -> bytes:
    result = await store.get_async(path)
    return (await result.bytes_async()).to_bytes()


def signer(request: Request) -> str:
    """Access key id, and region, of a request's signature."""
    parts = (request.header("authorization") or "").partition("Credential=")[2].split("/")
    return f"{parts[0]} {parts[2]}"
