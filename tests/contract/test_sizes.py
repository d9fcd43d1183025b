"""Objects of sizes about the edges of parts, nothing among them: written and read in every way, on every store."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cumulo

PART = 64 * 1024
DATA = os.urandom(2 * PART + 1)
SIZES = [0, 1, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 1]

sizes = pytest.mark.parametrize("size", SIZES)


def _in_pieces(data: bytes) -> Any:
    yield b""
    for at in range(0, len(data), 10_000):
        yield data[at : at + 10_000]
    yield b""


@sizes
def test_written_in_every_way(store: Any, tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    data = DATA[:size]
    file = tmp_path_factory.mktemp("source") / "file"
    file.write_bytes(data)
    for content in (data, file, _in_pieces(data), io.BytesIO(data)):
        store.put("key", content)
        assert store.head("key")["size"] == size
        assert store.get("key").bytes() == data
    store.put("key", data, use_multipart=True)
    store.copy("key", "copy")
    assert store.get("copy").bytes() == data
    with cumulo.open_writer(store, "key") as writer:
        for piece in _in_pieces(data):
            writer.write(piece)
    assert store.get("key").bytes() == data


def _into(store: Any, size: int, **options: Any) -> bytes:
    buffer = bytearray(size)
    assert store.get_into("key", buffer, **options) == size
    return bytes(buffer)


def _downloaded(store: Any, file: Path, **options: Any) -> bytes:
    store.download("key", file, **options)
    return file.read_bytes()


def _read(store: Any) -> bytes:
    with cumulo.open_reader(store, "key") as reader:
        return b"".join(iter(lambda: bytes(reader.read(PART)), b""))


@sizes
def test_read_in_every_way(store: Any, tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    data = DATA[:size]
    store.put("key", data)
    file = tmp_path_factory.mktemp("target") / "file"
    ways: list[Callable[[dict[str, Any]], bytes]] = [
        lambda how: bytes(store.get("key", **how).bytes()),
        lambda how: b"".join(store.get("key", **how).stream(PART + 1)),
        lambda how: _into(store, size, **how),
        lambda how: _downloaded(store, file, **how),
        lambda how: _downloaded(store, file, resume=True, **how),
    ]
    for way in ways:
        assert way({"part_size": PART}) == data
        assert way({"part_size": PART, "max_concurrency": 1}) == data
    assert _read(store) == data
    starts = range(0, size, PART)
    ends = [min(start + PART, size) for start in starts]
    assert b"".join(map(bytes, store.get_ranges("key", starts=list(starts), ends=ends))) == data
