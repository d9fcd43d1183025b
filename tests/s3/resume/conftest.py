"""A file, a store that gives up at once, and where uploads go."""

from __future__ import annotations

from pathlib import Path

import pytest

from cumulo.store import S3Store
from tests.faults import FaultServer, Upload
from tests.s3.support import NO_RETRY, PATH, fault_store

from .support import DATA


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file of seven parts in a folder of its own."""
    file = tmp_path / "folder" / "file"
    file.parent.mkdir()
    file.write_bytes(DATA)
    return file


@pytest.fixture
def plain(fault_server: FaultServer) -> S3Store:
    """A store that gives up at once."""
    return fault_store(fault_server, retry_config=NO_RETRY)


@pytest.fixture
def upload(fault_server: FaultServer) -> Upload:
    """At `key`."""
    made = Upload()
    fault_server.script(PATH, made)
    return made
