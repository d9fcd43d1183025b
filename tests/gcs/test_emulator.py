"""What the emulator has of our requests: puts (XML), rewrites and batches of deletes (JSON)."""

from __future__ import annotations

import pytest

from cumulo import transfer
from cumulo.exceptions import NotFoundError
from tests.servers.gcs_emulator import Emulator

from .support import make_store


def test_copies_from_bucket_to_bucket(gcs_emulator: Emulator) -> None:
    source, target = (make_store(gcs_emulator.url, gcs_emulator.new_bucket()) for _ in range(2))
    source.put("a/é", b"content")
    transfer.copy(source, "a/é", target, "to b")
    assert gcs_emulator.objects(target.config["bucket"]) == {"to b": b"content"}
    assert source.stats()["bytes_received"] < 7  # by the server


def test_puts_copies_and_deletes(gcs_emulator: Emulator) -> None:
    bucket = gcs_emulator.new_bucket()
    store = make_store(gcs_emulator.url, bucket)
    for path in ("a", "b/c", "d e"):
        store.put(path, path.encode())
    store.copy("b/c", "copy/of é")
    store.rename("d e", "renamed")
    assert gcs_emulator.objects(bucket) == {"a": b"a", "b/c": b"b/c", "copy/of é": b"b/c", "renamed": b"d e"}
    store.delete(["a", "b/c", "copy/of é"])
    assert gcs_emulator.objects(bucket) == {"renamed": b"d e"}
    with pytest.raises(NotFoundError):
        store.delete(["a", "renamed"])
    assert gcs_emulator.objects(bucket) == {}
