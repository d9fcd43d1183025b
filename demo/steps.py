"""What the demo does with cumulo, each step as a user would write it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import as_completed
from pathlib import Path

from cumulo.store import AzureStore, S3Store

CHUNK = 1024 * 1024
HEADER_BYTES = 16 * 1024
IN_FLIGHT = 64

Store = S3Store | AzureStore
"""The steps ask nothing of a store that any store can't do."""

Span = tuple[str, int, int]
"""A key, and a range in it."""


async def upload(store: Store, directory: Path, names: Iterable[str]) -> None:
    """All files at once; each in parts, several at a time."""
    attributes = {"Content-Type": "image/tiff"}
    await asyncio.gather(*(store.put_async(name, directory / name, attributes=attributes) for name in names))


async def download(store: Store, directory: Path, names: Iterable[str]) -> None:
    """All objects at once, each as a stream into its file."""

    async def one(name: str) -> None:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        result = await store.get_async(name)
        with path.open("wb") as file:
            async for chunk in result.stream(CHUNK):
                file.write(chunk)

    await asyncio.gather(*(one(name) for name in names))


def download_by_command(endpoint: str, keys: dict[str, str], bucket: str, directory: Path) -> None:
    """The same with the `cumulo` command."""
    command = [sys.executable, "-m", "cumulo.cli", "cp", "--recursive", "--endpoint-url", endpoint]
    subprocess.run([*command, f"s3://{bucket}", str(directory)], check=True, env={**os.environ, **keys})


async def headers(store: Store, names: Iterable[str]) -> dict[str, bytes]:
    """The first bytes of every object."""
    wanted = list(names)
    found = await asyncio.gather(*(store.get_range_async(name, start=0, length=HEADER_BYTES) for name in wanted))
    return {name: bytes(content) for name, content in zip(wanted, found, strict=True)}


async def tiles(store: Store, spans: list[Span]) -> dict[Span, bytes]:
    """Tiles one by one, a number of them in flight."""
    read: dict[Span, bytes] = {}
    waiting = iter(spans)

    async def worker() -> None:
        for name, start, end in waiting:
            read[name, start, end] = bytes(await store.get_range_async(name, start=start, end=end))

    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    return read


async def tiles_together(store: Store, spans: list[Span]) -> dict[Span, bytes]:
    """The tiles of each object in one call, which merges neighbours into one request."""
    names = sorted({name for name, _, _ in spans})
    wanted = [[span for span in spans if span[0] == name] for name in names]
    answers = await asyncio.gather(
        *(
            store.get_ranges_async(name, starts=[start for _, start, _ in each], ends=[end for _, _, end in each])
            for name, each in zip(names, wanted, strict=True)
        )
    )
    pairs = zip(wanted, answers, strict=True)
    return {span: bytes(content) for each, found in pairs for span, content in zip(each, found, strict=True)}


def tiles_by_futures(store: Store, spans: list[Span]) -> dict[Span, bytes]:
    """Tiles as `concurrent.futures`: no event loop, no threads of one's own."""
    pending = {store.futures.get_range(name, start=start, end=end): (name, start, end) for name, start, end in spans}
    return {pending[future]: bytes(future.result()) for future in as_completed(pending)}


def digest(path: Path) -> str:
    """A file's SHA-256."""
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while content := file.read(CHUNK):
            sha256.update(content)
    return sha256.hexdigest()
