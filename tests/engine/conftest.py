"""A native client for the fault server, and errors as the engine tells them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from cumulo import _native as native
from tests.faults import FaultServer

from .support import EngineError, make_client


@pytest.fixture(autouse=True)
def engine_errors() -> Iterator[None]:
    """Failed requests raise `EngineError` here, and what the package raises afterwards."""
    before = native.set_error_factory(EngineError)
    yield
    native.set_error_factory(before)


@pytest.fixture
def connect(fault_server: FaultServer) -> Callable[..., native.Client]:
    """Makes a client for the fault server, over plain HTTP."""
    return partial(make_client, fault_server.url)


@pytest.fixture
def client(connect: Callable[..., native.Client]) -> native.Client:
    """The usual client."""
    return connect()
