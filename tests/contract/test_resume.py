"""put with `resume` on every store: what was broken off is gone on with, or just written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cumulo._operations.resume import KeptUpload
from cumulo.store import HTTPStore, LocalStore, MemoryStore

MIB = 1024 * 1024
DATA = os.urandom(16 * MIB + 5)


class _Broken(Exception):
    pass


@pytest.fixture
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of four parts in a folder of its own."""
    file = tmp_path_factory.mktemp("source") / "file"
    file.write_bytes(DATA)
    return file


def test_it_goes_on(store: Any, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that breaks off after two parts, and another."""
    if isinstance(store, (HTTPStore, LocalStore, MemoryStore)):
        store.put("key", source, resume=True)
        assert store.get("key").bytes() == DATA
        return
    take = KeptUpload._take_one

    def breaking(upload: KeptUpload) -> Iterator[Any]:
        yield from take(upload)
        if len(upload._done) == 2:
            raise _Broken

    with monkeypatch.context() as patched:
        patched.setattr(KeptUpload, "_take_one", breaking)
        with pytest.raises(_Broken):
            store.put("key", source, resume=True, max_concurrency=1)
    (token,) = source.parent.glob(".file.cumulo-put-*.json")
    assert sorted(json.loads(json.loads(token.read_text())["state"])["parts"]) == ["1", "2"]
    before = store.stats()
    store.put("key", source, resume=True)
    sent = store.stats()["bytes_sent"] - before["bytes_sent"]
    assert store.stats()["requests"] - before["requests"] == 4  # the listing, two parts, the completion
    assert 6 * MIB <= sent < 8 * MIB
    assert store.get("key").bytes() == DATA
    assert os.listdir(source.parent) == ["file"]


def test_what_does_not_fit_begins_anew(store: Any, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file has changed between two calls."""
    if isinstance(store, (HTTPStore, LocalStore, MemoryStore)):
        return

    def breaking(_: KeptUpload) -> Iterator[Any]:
        yield from ()
        raise _Broken

    with monkeypatch.context() as patched:
        patched.setattr(KeptUpload, "_take_one", breaking)
        with pytest.raises(_Broken):
            store.put("key", source, resume=True, max_concurrency=1)
    source.write_bytes(DATA[::-1])
    store.put("key", source, resume=True)
    assert store.get("key").bytes() == DATA[::-1]
    assert os.listdir(source.parent) == ["file"]
