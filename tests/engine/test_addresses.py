"""Hosts with several addresses: connections go to all of them, and not to those where nobody listens."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults import Delay, FaultServer, Object, Stall

from .names import Names
from .support import CHILD_S, ROOT

DATA = b"0123456789"
LOOPBACKS = ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4")

PROGRAM = """
import asyncio, json, sys
from cumulo.store import S3Store
options = json.loads(sys.argv[1])
store = S3Store("bucket", endpoint=options["url"], skip_signature=True,
                retry_config={"max_retries": options["retries"]},
                client_options={"allow_http": True, **options["client"]})
async def read():
    await asyncio.gather(*(store.get_range_async("key", start=0, end=5) for _ in range(options["at_once"])))
for _ in range(options["rounds"]):
    try:
        asyncio.run(read())
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
"""


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Names:
    """Names for the programs here."""
    return Names(tmp_path_factory.mktemp("names"))


def listen(server: FaultServer, addresses: Sequence[str]) -> str:
    """The object on one port of all these addresses; its URL by name."""
    for _ in range(20):
        port = int(server.url_at(addresses[0]).rpartition(":")[2])
        try:
            for address in addresses[1:]:
                server.url_at(address, port)
        except OSError:  # somebody else has the port there
            server.reset()
            continue
        server.script("/bucket/key", lambda request: Object(DATA)(request).having(Delay(0.1)))
        return f"http://many.test:{port}"
    raise AssertionError("no port is free on all addresses")


@contextmanager
def started(
    names: Names,
    url: str,
    *,
    at_once: int = 1,
    rounds: int = 1,
    retries: int = 0,
    client: Mapping[str, Any] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """The program above, under way."""
    options = {"url": url, "at_once": at_once, "rounds": rounds, "retries": retries, "client": dict(client or {})}
    command = [sys.executable, "-c", PROGRAM, json.dumps(options)]
    with subprocess.Popen(command, cwd=ROOT, env=names.environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read(names: Names, url: str, **options: Any) -> str:
    """Run it to its end; what it failed with, or nothing."""
    with started(names, url, **options) as process:
        return process.communicate(timeout=CHILD_S)[1].strip()


def used(server: FaultServer) -> Counter[str]:
    """Connections by address."""
    return Counter(each.listener.split("/")[2].split(":")[0] for each in server.connections.all)


def test_connections_go_to_all_addresses(fault_server: FaultServer, names: Names) -> None:
    url = listen(fault_server, LOOPBACKS)
    names.set({"many.test": LOOPBACKS})
    fault_server.script("/bucket/key", lambda request: Object(DATA)(request).having(Stall()))
    with started(names, url, at_once=40) as process:
        fault_server.wait_for(lambda: fault_server.stalled == 40, CHILD_S)
        fault_server.release()
        assert process.communicate(timeout=CHILD_S)[1].strip() == ""
    assert set(used(fault_server)) == set(LOOPBACKS)
    assert min(used(fault_server).values()) >= 5


def test_not_every_process_begins_with_the_first(fault_server: FaultServer, names: Names) -> None:
    url = listen(fault_server, LOOPBACKS)
    names.set({"many.test": LOOPBACKS})
    for _ in range(30):
        assert read(names, url) == ""
        if len(used(fault_server)) > 1:
            return
    raise AssertionError("30 processes began with the same address")


@pytest.mark.parametrize("randomize", [True, False])
def test_where_nobody_listens_is_left_aside(fault_server: FaultServer, names: Names, randomize: bool) -> None:
    """Without retries, and with a new connection for each request: nothing fails for it."""
    url = listen(fault_server, LOOPBACKS[2:])
    names.set({"many.test": LOOPBACKS})
    options = {"pool_max_idle_per_host": 0, "randomize_addresses": randomize}
    assert read(names, url, at_once=5, rounds=4, client=options) == ""
    assert sum(used(fault_server).values()) == 20
    if not randomize:
        assert set(used(fault_server)) == {LOOPBACKS[2]}


def test_the_order_is_kept(fault_server: FaultServer, names: Names) -> None:
    url = listen(fault_server, LOOPBACKS)
    names.set({"many.test": [LOOPBACKS[3], *LOOPBACKS[:3]]})
    assert read(names, url, at_once=20, client={"randomize_addresses": False}) == ""
    assert set(used(fault_server)) == {LOOPBACKS[3]}


@pytest.mark.parametrize("randomize", [True, False])
def test_nobody_listens_anywhere(fault_server: FaultServer, names: Names, randomize: bool) -> None:
    url = listen(fault_server, LOOPBACKS[:1])
    names.set({"many.test": LOOPBACKS[1:]})
    assert read(names, url, client={"randomize_addresses": randomize}).startswith("ConnectionFailedError")


@pytest.mark.parametrize("randomize", [True, False])
def test_the_name_server_is_asked_again(fault_server: FaultServer, names: Names, randomize: bool) -> None:
    url = listen(fault_server, LOOPBACKS)
    names.set({"many.test": LOOPBACKS[:1]})
    options = {"pool_max_idle_per_host": 0, "randomize_addresses": randomize}
    with started(names, url, rounds=10_000, client=options):
        fault_server.wait_for(lambda: used(fault_server)[LOOPBACKS[0]] > 3, CHILD_S)
        names.set({"many.test": LOOPBACKS[1:2]})
        fault_server.wait_for(lambda: used(fault_server)[LOOPBACKS[1]] > 3, 3 * CHILD_S)


def test_the_stand_in_for_getaddrinfo(names: Names, tmp_path: Path) -> None:
    """The stand-in resolves what it does not know as ever."""
    names.set({"many.test": LOOPBACKS})
    script = (
        "import socket; print([a[4][0] for n in ('many.test', '127.0.0.9') for a in socket.getaddrinfo(n, 80, type=1)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=names.environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.replace("'", '"')) == [*LOOPBACKS, "127.0.0.9"]
