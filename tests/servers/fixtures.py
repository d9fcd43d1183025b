"""The servers as session fixtures: each starts when a test first asks for it.

`s3_server` runs a test on every one of them; `@pytest.mark.needs("put_if_match")` leaves out those that
lack the feature. The single ones (`ministack`, `ministack_tls`, `moto`, `swift`, `rclone`) are for tests that
want one in particular. Names come into the suite by tests/conftest.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import FaultServer

from . import azurite as azurite_server
from . import gcs as gcs_server
from . import gcs_emulator as emulator
from . import ministack as ministack_server
from . import moto as moto_server
from . import rclone as rclone_server
from . import swift as swift_server
from . import webdav as webdav_server
from .azurite import AzureServer
from .gcs import GCSServer
from .gcs_emulator import Emulator
from .s3server import S3Server

SERVERS = {"ministack": ministack_server, "moto": moto_server, "swift": swift_server, "rclone": rclone_server}
FIXTURES = frozenset(
    {*SERVERS, "azurite", "azurite_tls", "gcs", "gcs_emulator", "ministack_tls", "s3_server", "webdav"}
)


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """ministack over HTTP: the main S3 server."""
    with ministack_server.serve(tmp_path_factory.mktemp("ministack")) as server:
        yield server


@pytest.fixture(scope="session")
def ministack_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """ministack over TLS; trust its `ca_file`."""
    with ministack_server.serve(tmp_path_factory.mktemp("ministack-tls"), tls=True) as server:
        yield server


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """moto's server."""
    with moto_server.serve(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """OpenStack Swift with s3api."""
    with swift_server.serve(tmp_path_factory.mktemp("swift")) as server:
        yield server


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Rclone's S3 server."""
    with rclone_server.serve(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture(scope="session")
def gcs() -> Iterator[GCSServer]:
    """The stand-in for Cloud Storage."""
    with gcs_server.serve() as server:
        yield server


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureServer]:
    """Azurite over HTTP."""
    with azurite_server.serve(tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture(scope="session")
def azurite_tls(session_fault_server: FaultServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureServer]:
    """Azurite over TLS, which takes bearer tokens."""
    authority = session_fault_server.authority
    certificate: tuple[Path, Path, Path] = (authority.ca_file, *authority.files("valid"))
    with azurite_server.serve(tmp_path_factory.mktemp("azurite-tls"), certificate) as server:
        yield server


@pytest.fixture(scope="session")
def gcs_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """gcp-storage-emulator."""
    with emulator.serve(tmp_path_factory.mktemp("gcs-emulator")) as server:
        yield server


@pytest.fixture(scope="session")
def webdav(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """wsgidav's URL."""
    with webdav_server.serve(tmp_path_factory.mktemp("webdav")) as (url, _):
        yield url


@pytest.fixture
def s3_server(request: pytest.FixtureRequest) -> S3Server:
    """Each server in turn, as `choose_servers` has them."""
    return request.getfixturevalue(request.param)


def choose_servers(metafunc: pytest.Metafunc) -> None:
    """Run a test of `s3_server` on each that has what the test's `needs` marks name."""
    if "s3_server" in metafunc.fixturenames:
        needed = {feature for mark in metafunc.definition.iter_markers("needs") for feature in mark.args}
        chosen = [name for name, module in SERVERS.items() if needed.isdisjoint(module.LACKS)]
        metafunc.parametrize("s3_server", chosen, indirect=True)


def mark_server_tests(items: list[pytest.Item]) -> None:
    """Give every test that takes a server the `server` mark."""
    for item in items:
        if FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("server")
