"""Reaching the server: what heals is tried again, what can't is told at once and by its name."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from cumulo import _native as native
from tests.faults import FaultServer, Object, Response, blackhole
from tests.faults.certs import Certificate

from .support import PATH, Dispatcher, error_of, get, make_client, request

AT_ONCE_S = 3.0
"""Generous for what takes milliseconds, and less than any retry would take."""
Connect = Callable[..., native.Client]


def test_refused_then_up_again(fault_server: FaultServer, connect: Connect) -> None:
    client = connect(max_retries=1000, backoff_max_ms=100)
    fault_server.script(PATH, Object(b"data"))
    began = time.monotonic()
    fault_server.down(0.7)
    assert get(client) == b"data"
    assert time.monotonic() - began >= 0.7


def test_the_server_restarts_under_traffic(fault_server: FaultServer, connect: Connect) -> None:
    client = connect(max_retries=1000, backoff_max_ms=100)
    fault_server.script(PATH, Object(b"data" * 50_000))
    with Dispatcher() as dispatcher:
        wanted = [request(client) for _ in range(100)]
        done = [dispatcher.submit(each) for each in wanted]
        fault_server.down(0.4)
        assert all(each.wait(20) for each in done)
    assert {bytes(each.take_body()) for each in wanted} == {b"data" * 50_000}


def test_refused_for_ever(fault_server: FaultServer, connect: Connect) -> None:
    client = connect(max_retries=3)
    fault_server.down()
    error = error_of(lambda: get(client))
    assert error.error == "connect"
    assert "REFUSED" in (error.crt_error or "")
    assert client.stats()["retries"] == 3


def test_refused_until_the_time_is_over(fault_server: FaultServer, connect: Connect) -> None:
    client = connect(max_retries=10_000, retry_timeout_ms=500)
    fault_server.down()
    began = time.monotonic()
    assert error_of(lambda: get(client)).error == "connect"
    assert time.monotonic() - began < 5


def test_one_ports_refusal_is_not_another_ports(fault_server: FaultServer) -> None:
    # They share an address, and the resolver remembers where connecting failed.
    other = fault_server.url
    fault_server.script(PATH, Object(b"data"))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refusing = f"http://127.0.0.1:{closed.getsockname()[1]}"
    failing = make_client(refusing, max_retries=20)
    with Dispatcher() as dispatcher:
        refused = [request(failing) for _ in range(10)]
        done = [dispatcher.submit(each) for each in refused]
        for _ in range(10):
            # Without idle connections, so that each has to connect.
            assert get(make_client(other, idle_timeout_ms=1)) == b"data"
        assert all(each.wait(20) for each in done)
    assert {each.error for each in refused} == {"connect"}


@pytest.mark.parametrize("greeting", ["rst", "fin"])
def test_closed_as_soon_as_accepted(fault_server: FaultServer, client: native.Client, greeting: str) -> None:
    fault_server.script(PATH, Object(b"data"))
    url = fault_server.url
    fault_server.greet([greeting, greeting, "serve"], url=url)  # type: ignore[list-item]
    assert get(client) == b"data"


def test_a_server_that_accepts_and_says_nothing(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, Object(b"data"))
    fault_server.greet(["mute", "serve"])
    assert get(connect(stall_timeout_ms=200)) == b"data"


def test_neither_accepted_nor_refused() -> None:
    with blackhole() as url:
        error = error_of(lambda: get(make_client(url, connect_timeout_ms=200, max_retries=1)))
    assert error.error == "connect_timeout"


def test_an_unknown_host() -> None:
    began = time.monotonic()
    error = error_of(lambda: get(make_client("http://no-such-host.invalid")))
    assert error.error == "dns"
    assert time.monotonic() - began < AT_ONCE_S


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2"])
def test_by_name_and_by_other_addresses(fault_server: FaultServer, host: str) -> None:
    fault_server.script(PATH, Object(b"data"))
    assert get(make_client(fault_server.url_at(host))) == b"data"
    assert fault_server.requests[0].header("host") == urlsplit(fault_server.url_at(host)).netloc


def test_by_ipv6(fault_server: FaultServer) -> None:
    fault_server.script(PATH, Object(b"data"))
    assert get(make_client(fault_server.url_at("::1"))) == b"data"


# -- TLS


def test_a_trusted_certificate(fault_server: FaultServer) -> None:
    fault_server.script(PATH, Object(b"data" * 100_000))
    client = make_client(fault_server.tls_url(), ca_pem=fault_server.ca_file.read_bytes())
    assert get(client) == b"data" * 100_000


@pytest.mark.parametrize("certificate", ["wrong-host", "expired", "self-signed"])
def test_a_bad_certificate(fault_server: FaultServer, certificate: Certificate) -> None:
    fails_at_once(make_client(fault_server.tls_url(certificate), ca_pem=fault_server.ca_file.read_bytes()))
    assert len(fault_server.connections.all) == 1


def test_an_authority_that_is_not_trusted(fault_server: FaultServer) -> None:
    fails_at_once(make_client(fault_server.tls_url()))


def test_tls_to_a_plain_port(fault_server: FaultServer) -> None:
    # It looks like a server that goes away in the middle of a handshake, so that it is tried a few times.
    fails_at_once(make_client(fault_server.url.replace("http:", "https:")), retries=2)


@pytest.mark.parametrize("greeting", ["rst", "fin"])
def test_handshakes_that_break_off(fault_server: FaultServer, greeting: str) -> None:
    fault_server.script(PATH, Object(b"data"))
    url = fault_server.tls_url()
    client = make_client(url, ca_pem=fault_server.ca_file.read_bytes())
    fault_server.greet([greeting, "serve", *[greeting] * 5, "serve"], url=url)  # type: ignore[list-item]
    assert get(client) == b"data"
    fault_server.close_connections("rst")
    assert get(client) == b"data"


def fails_at_once(client: native.Client, retries: int = 0) -> None:
    """It fails with 'tls', without a request and without many attempts."""
    began = time.monotonic()
    error = error_of(lambda: get(client))
    assert error.error == "tls"
    assert error.crt_error
    assert time.monotonic() - began < AT_ONCE_S
    assert client.stats()["retries"] == retries


def test_a_bad_certificate_that_need_not_be_good(fault_server: FaultServer) -> None:
    fault_server.script(PATH, Object(b"data"))
    assert get(make_client(fault_server.tls_url("self-signed"), tls_verify=False)) == b"data"


def test_plain_http_to_a_tls_port(fault_server: FaultServer) -> None:
    url = fault_server.tls_url().replace("https:", "http:")
    error = error_of(lambda: get(make_client(url, max_retries=1)))
    assert error.error in ("protocol", "reset")


def test_a_handshake_that_stalls(fault_server: FaultServer) -> None:
    fault_server.script(PATH, Object(b"data"))
    url = fault_server.tls_url()
    fault_server.greet(["mute", "serve"], url=url)
    client = make_client(url, ca_pem=fault_server.ca_file.read_bytes(), connect_timeout_ms=300)
    assert get(client) == b"data"


def test_a_ca_that_is_none() -> None:
    with pytest.raises(OSError, match="cannot prepare connections"):
        make_client("https://127.0.0.1:1", ca_pem=b"-----BEGIN CERTIFICATE-----\nnonsense\n")


def test_many_wait_for_a_server_that_comes_up(fault_server: FaultServer, connect: Connect) -> None:
    client = connect(max_retries=1000, backoff_max_ms=100, max_connections=8)
    fault_server.script(PATH, Response.of(b"data"))
    fault_server.down()
    threading.Timer(0.3, fault_server.up).start()
    with Dispatcher() as dispatcher:
        done = [dispatcher.submit(request(client)) for _ in range(200)]
        assert all(each.wait(20) for each in done)
    assert len(fault_server.requests) == 200
