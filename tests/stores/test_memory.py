"""`MemoryStore`: what it has of its own."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from typing import Any

import pytest

from cumulo import Bytes
from cumulo.exceptions import PreconditionError
from cumulo.store import MemoryStore


def test_bytes_are_kept_as_they_are() -> None:
    store, content = MemoryStore(), b"x" * 1000
    store.put("x", content)
    assert bytes(store.get("x").bytes()) is content
    ours = Bytes(b"ours")
    store.put("y", ours)
    assert store.get("y").bytes().to_bytes() is ours.to_bytes()


def test_etags_count() -> None:
    store = MemoryStore()
    assert [store.put("x", b"")["e_tag"] for _ in range(3)] == ['"0"', '"1"', '"2"']
    store.copy("x", "y")
    assert store.head("y")["e_tag"] == '"3"'
    assert store.head("x")["e_tag"] == '"2"'


def test_update() -> None:
    store = MemoryStore()
    first = store.put("x", b"1")
    second = store.put("x", b"2", mode=first)
    with pytest.raises(PreconditionError):
        store.put("x", b"3", mode=first)
    with pytest.raises(PreconditionError):
        store.put("missing", b"", mode=second)
    assert store.get("x").bytes() == b"2"
    assert [meta["path"] for meta in store.list().collect()] == ["x"]


def test_one_of_many_updates_wins() -> None:
    store = MemoryStore()
    store.put("x", b"0")
    counted = []

    def add() -> None:
        for _ in range(50):
            while True:
                result = store.get("x")
                try:
                    store.put("x", b"%d" % (int(bytes(result.bytes())) + 1), mode={"e_tag": result.meta["e_tag"]})
                except PreconditionError:
                    continue
                counted.append(1)
                break

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert int(bytes(store.get("x").bytes())) == len(counted) == 400


def test_attributes() -> None:
    store = MemoryStore()
    store.put("x", b"", attributes={"content-type": "text/plain", "CACHE-CONTROL": "no-store", "mine": "1"})
    store.copy("x", "y")
    store.rename("y", "z")
    for path in ("x", "z"):
        found = store.get(path).attributes
        assert found == {"Content-Type": "text/plain", "Cache-Control": "no-store", "mine": "1"}
        found["mine"] = "changed"
        assert store.get(path).attributes["mine"] == "1"
    store.put("x", b"", tags={"a": "b"})
    assert store.get("x").attributes == {}
    with pytest.raises(ValueError, match="control"):
        store.put("x", b"", attributes={"a": "b\r\nc"})


@pytest.mark.parametrize("path", ["a//b", "./x", "x/..", "a\nb", "\0", "a%2Fb", "x#?", "é", "a\\b", "x" * 3000, "//x"])
def test_odd_keys(path: str) -> None:
    store = MemoryStore()
    store.put(path, b"1")
    stored = path.removeprefix("/")
    assert [meta["path"] for meta in store.list().collect()] == [stored]
    assert store.head(path)["path"] == stored
    store.delete(path)
    assert store.list().collect() == []


def test_delete_of_nothing() -> None:
    store = MemoryStore()
    store.delete("nothing")
    store.delete(["nothing", "either"])


def test_a_listing_is_a_snapshot() -> None:
    store = MemoryStore()
    for n in range(2500):
        store.put(f"{n:04}", b"")
    stream = store.list(chunk_size=1)
    first = next(stream)
    for n in range(2500):
        store.delete(f"{n:04}")
    assert len(first) + len(stream.collect()) == 2500


def test_identity() -> None:
    store: Any = MemoryStore()
    assert store == store  # noqa: PLR0124
    assert store != MemoryStore()
    assert repr(store) == "MemoryStore()"
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot pickle 'MemoryStore'"):
            attempt(store)


def test_fork() -> None:
    store = MemoryStore()
    store.put("x", b"parent")
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            store.put("y", b"1")

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                store.put("x", b"child")
                os._exit(0 if store.get("x").bytes() == b"child" else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        thread.join()
    assert store.get("x").bytes() == b"parent"
