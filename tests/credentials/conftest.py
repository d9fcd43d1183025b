from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cumulo._credentials import refresher
from tests.faults import FaultServer

from .support import Origin


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No credentials but a test's own: no AWS variable, an empty home, nobody's metadata service."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (tmp_path / ".aws").mkdir()
    yield
    refresher._state.recent.clear()


@pytest.fixture
def aws(tmp_path: Path) -> Path:
    """The folder of the AWS tools' files."""
    return tmp_path / ".aws"


@pytest.fixture
def origin(fault_server: FaultServer) -> Origin:
    return Origin(fault_server)
