"""`server` and `s3`: each of the S3 servers that these tests run on; `s3` is an empty store there."""

from __future__ import annotations

import pytest

from cumulo.store import S3Store
from tests.faults import FaultServer
from tests.servers import S3Server

from .support import fault_store, server_store

SERVERS = ("ministack", "moto", "swift")


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> S3Server:
    """Each real server in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def s3(server: S3Server) -> S3Store:
    """An empty store on a real server."""
    return server_store(server)


@pytest.fixture
def faulty(fault_server: FaultServer) -> S3Store:
    """A store on the fault server."""
    return fault_store(fault_server)
