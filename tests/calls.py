"""The three ways to call a store's verb: `CALLS[way](store, verb, ...)`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


def _sync(store: Any, verb: str, *arguments: Any, **options: Any) -> Any:
    return getattr(store, verb)(*arguments, **options)


def _asyncio(store: Any, verb: str, *arguments: Any, **options: Any) -> Any:
    async def run() -> Any:
        return await getattr(store, verb + "_async")(*arguments, **options)

    return asyncio.run(run())


def _futures(store: Any, verb: str, *arguments: Any, **options: Any) -> Any:
    return getattr(store.futures, verb)(*arguments, **options).result(timeout=60)


CALLS: dict[str, Callable[..., Any]] = {"sync": _sync, "asyncio": _asyncio, "futures": _futures}
