"""Fixtures for the whole suite: the fault server and the check for native leaks.

The real servers' fixtures live in servers/fixtures.py; nothing starts before a test asks for it.
"""

from __future__ import annotations

import gc
import importlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path

import hypothesis
import pytest

from .faults import FaultServer
from .servers.fixtures import (  # noqa: F401 - importing a fixture is what makes it known
    azurite,
    azurite_tls,
    choose_servers,
    gcs,
    gcs_emulator,
    mark_server_tests,
    ministack,
    ministack_tls,
    moto,
    rclone,
    s3_server,
    swift,
    webdav,
)

LEAK_GRACE_S = 30.0  # a bound for a loaded machine; what leaks stays for ever
_failed = pytest.StashKey[bool]()

hypothesis.settings.register_profile("cumulo", deadline=None)  # no test asserts a time
hypothesis.settings.load_profile("cumulo")


def pytest_configure(config: pytest.Config) -> None:
    """Make the servers' own mark known."""
    config.addinivalue_line("markers", "needs(*features): not on real servers that lack one of them")
    gc.disable()  # until all is imported and collected: it would go through all of that dozens of times


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give tests of real servers those they can run on."""
    choose_servers(metafunc)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that take a real server."""
    mark_server_tests(items)


def pytest_collection_finish() -> None:
    """Collect garbage again, but not among what is there by now: it lives to the end, and is most of the heap."""
    gc.enable()
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def session_fault_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultServer]:
    """The one fault server of the session; tests take `fault_server`."""
    directory: Path = tmp_path_factory.mktemp("fault-server")
    with FaultServer(directory=directory) as server:
        yield server


@pytest.fixture
def fault_server(session_fault_server: FaultServer) -> Iterator[FaultServer]:
    """The fault server on a fresh port, with nothing scripted; a scripted step that raises fails the test."""
    session_fault_server.reset()
    yield session_fault_server
    errors = session_fault_server.errors
    session_fault_server.reset()
    if errors:
        raise errors[0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note which tests failed: their tracebacks keep objects alive that are no leak."""
    report = yield
    if report.failed:
        item.stash[_failed] = True
    return report


def _live_objects() -> Callable[[], Mapping[str, int]] | None:
    """The native core's counters, where it is built with them."""
    try:
        native = importlib.import_module("cumulo._native")
    except ImportError:
        return None
    return getattr(native, "live_objects", None)


@pytest.fixture(autouse=True)
def no_native_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves more native objects alive than it found.

    Set up before all other fixtures and so torn down last, when the test's stores are gone. The
    last callbacks of a request come from another thread, hence the grace.
    """
    live_objects = _live_objects()
    before = dict(live_objects()) if live_objects else {}
    yield
    if live_objects is None or request.node.stash.get(_failed, False):
        return
    until = time.monotonic() + LEAK_GRACE_S
    while left := _more(before, live_objects()):
        if time.monotonic() > until:
            pytest.fail(f"native objects left alive: {left}")
        gc.collect()
        time.sleep(0.01)


def _more(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    """What grew, and by how much."""
    return {name: count - before.get(name, 0) for name, count in now.items() if count > before.get(name, 0)}
