"""`server`: the stand-in as each test finds it: wanting no token, losing nothing; `store`: an empty one there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cumulo._credentials import refresher
from cumulo.store import GCSStore
from tests.servers.gcs import GCSServer

from .support import gcs_store


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No credentials but a test's own."""
    for name in list(os.environ):
        if name.startswith(("GOOGLE_", "GCE_", "CLOUDSDK_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    yield
    refresher._state.recent.clear()


@pytest.fixture
def server(gcs: GCSServer) -> Iterator[GCSServer]:
    gcs.seen.clear()
    yield gcs
    gcs.token, gcs.rewrite_calls = None, 1
    gcs.lost.clear()
    gcs.busy.clear()


@pytest.fixture
def store(server: GCSServer) -> GCSStore:
    return gcs_store(server)
