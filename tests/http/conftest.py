"""`web`: a store on the fault server, below `/data`."""

from __future__ import annotations

import pytest

from cumulo.store import HTTPStore
from tests.faults import FaultServer

from .support import web_store


@pytest.fixture
def web(fault_server: FaultServer) -> HTTPStore:
    return web_store(f"{fault_server.url}/data")
