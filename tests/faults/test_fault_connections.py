"""The fault server's connections: who closes them and how, refusal and silence, TLS, other addresses,
forks. See test_fault_server.py for what goes over one connection."""

from __future__ import annotations

import gc
import os
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from . import Cut, FaultServer, Object, Response, Reused, Stall, blackhole
from .rawclient import RawClient


def test_connections_are_counted(fault_server: FaultServer) -> None:
    fault_server.script("/k", Response.of(b"ok"))
    with RawClient(fault_server.url) as one, RawClient(fault_server.url) as two:
        for client in (one, one, two):
            client.get("/k")
        count = fault_server.connections
        assert (count.accepted, count.open, count.most_open) == (2, 2, 2)
        assert sorted(each.requests for each in count.all) == [1, 2]
        assert [each.number for each in fault_server.requests] == [0, 1, 0]
    fault_server.wait_for(lambda: count.closed_by_peer == 2)
    assert count.open == 0


def test_a_reset_by_the_peer_is_seen_during_a_stall(fault_server: FaultServer) -> None:
    fault_server.script("/k", Response.never())
    client = RawClient(fault_server.url)
    client.send("GET", "/k")
    fault_server.wait_for(lambda: fault_server.stalled == 1)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.sock.close()
    fault_server.wait_for(lambda: fault_server.connections.all[0].reset_by_peer)


def test_leaving_is_seen_while_the_request_body_is_unread(fault_server: FaultServer) -> None:
    fault_server.script("/k", Response(read_body=False).having(Stall()))
    with RawClient(fault_server.url) as client:
        client.send("PUT", "/k", b"x" * (1 << 20), {"Content-Length": str(1 << 30)})
        fault_server.wait_for(lambda: fault_server.stalled == 1)
    fault_server.wait_for(lambda: fault_server.connections.closed_by_peer == 1)


def test_an_idle_connection_dies_as_it_is_reused(fault_server: FaultServer) -> None:
    fault_server.script("/k", Reused(Response.dropped("rst"), Object(b"data")))
    for _ in range(2):
        with RawClient(fault_server.url) as client:
            assert client.get("/k").body == b"data"
            client.send("GET", "/k")
            assert client.rest() == (b"", "rst")


def test_an_idle_connection_is_closed(fault_server: FaultServer) -> None:
    fault_server.script("/k", [Response.of(b"ok"), Response.of(b"ok").but(after="fin")])
    with RawClient(fault_server.url) as one:
        one.get("/k")
        fault_server.close_connections("rst")
        assert one.rest()[1] == "rst"
    with RawClient(fault_server.url) as two:
        two.get("/k")
        assert two.rest() == (b"", "fin")


def test_held_open(fault_server: FaultServer) -> None:
    fault_server.script("/k", Response.of(b"ok").but(framing="none", after="hold"))
    with RawClient(fault_server.url) as client:
        client.send("GET", "/k")
        client.until(b"\r\n\r\nok")
        client.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.exactly(1)


def test_refused_then_up(fault_server: FaultServer) -> None:
    url = fault_server.url
    fault_server.script("/k", Response.of(b"ok"))
    with RawClient(url) as open_before:
        fault_server.down()
        assert open_before.rest()[1] == "rst"
    with pytest.raises(ConnectionRefusedError):
        RawClient(url)
    fault_server.up()
    assert _answers(url)
    began = time.monotonic()
    fault_server.down(0.2)
    fault_server.wait_for(lambda: _answers(url))
    assert time.monotonic() - began >= 0.2
    assert fault_server.url == url


def _answers(url: str) -> bool:
    try:
        with RawClient(url) as client:
            return client.get("/k").status == 200
    except ConnectionRefusedError:
        return False


def test_greetings(fault_server: FaultServer) -> None:
    fault_server.script("/k", Response.of(b"ok"))
    url = fault_server.url
    fault_server.greet(["mute", "rst", "fin", "serve"])
    with RawClient(url) as mute:
        mute.send("GET", "/k")
        mute.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            mute.exactly(1)
        # While connecting, if the reset is that quick.
        with pytest.raises(ConnectionResetError), RawClient(url) as reset:
            reset.exactly(1)
        with RawClient(url) as closed, RawClient(url) as served:
            assert closed.rest() == (b"", "fin")
            assert served.get("/k").status == 200
    fault_server.wait_for(lambda: fault_server.connections.open == 0)


def test_blackhole() -> None:
    with blackhole() as url:
        parts = urlsplit(url)
        with pytest.raises(TimeoutError):
            socket.create_connection((parts.hostname or "", parts.port or 0), 0.2)


def test_other_addresses(fault_server: FaultServer) -> None:
    fault_server.script("/k", Response.of(b"ok"))
    for host in ("127.0.0.2", "localhost"):
        with RawClient(fault_server.url_at(host)) as client:
            assert client.get("/k").status == 200
    assert {each.header("host") for each in fault_server.requests} == {
        urlsplit(fault_server.url_at(host)).netloc for host in ("127.0.0.2", "localhost")
    }


def test_reset_moves_to_a_new_port(fault_server: FaultServer) -> None:
    before = fault_server.url
    with RawClient(before) as client:
        client.get("/k")
        fault_server.reset()
        assert client.rest()[1] == "rst"
    assert fault_server.url != before
    assert not fault_server.requests


def test_many_connections_at_once(fault_server: FaultServer) -> None:
    fault_server.script("/k", Object(bytes(16384)))

    def fetch(_: int) -> int:
        with RawClient(fault_server.url) as client:
            return sum(len(client.get("/k").body) for _ in range(4))

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(fetch, range(64))) == {4 * 16384}
    assert fault_server.connections.accepted == 64
    assert len(fault_server.requests) == 256


# TLS


def test_tls(fault_server: FaultServer) -> None:
    fault_server.script("/k", Object(b"secret"))
    with RawClient(fault_server.tls_url(), ca_file=fault_server.ca_file) as client:
        assert client.get("/k").body == b"secret"
        assert client.get("/k", {"Range": "bytes=0-1"}).body == b"se"


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [("wrong-host", "not valid for"), ("expired", "has expired"), ("self-signed", "self-signed")],
)
def test_bad_certificates(fault_server: FaultServer, certificate: str, reason: str) -> None:
    url = fault_server.tls_url(certificate)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ssl.SSLCertVerificationError, match=reason):
        RawClient(url, ca_file=fault_server.ca_file)
    fault_server.wait_for(lambda: fault_server.connections.open == 0)


def test_an_unknown_authority(fault_server: FaultServer) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        RawClient(fault_server.tls_url())
    fault_server.wait_for(lambda: len(fault_server.connections.tls_failures) == 1)


def test_plain_http_to_a_tls_port_and_back(fault_server: FaultServer) -> None:
    with RawClient(fault_server.tls_url().replace("https", "http")) as client:
        client.send("GET", "/k")
        assert b"HTTP" not in client.rest()[0]
    with pytest.raises(ssl.SSLError):
        RawClient(fault_server.url.replace("http", "https"), ca_file=fault_server.ca_file)


@pytest.mark.parametrize("how", ["fin", "rst", "truncate"])
def test_tls_cuts(fault_server: FaultServer, how: str) -> None:
    fault_server.script("/k", Response.of(b"0123456789").having(Cut(4, how)))  # pyright: ignore[reportArgumentType]
    with RawClient(fault_server.tls_url(), ca_file=fault_server.ca_file) as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        # Else Python takes an end without close_notify for a clean one.
        client.sock.suppress_ragged_eofs = False  # pyright: ignore[reportAttributeAccessIssue]
        client.send("GET", "/k")
        client.until(b"\r\n\r\n")
        assert client.exactly(4) == b"0123"
        if how == "fin":
            assert client.sock.recv(10) == b""
            return
        # Below TLS, because Python reports a reset there as an end of file.
        client.sock = socket.socket(fileno=client.sock.detach())
        client.sock.settimeout(30)
        assert client.rest()[1] == ("rst" if how == "rst" else "fin")


def test_leaving_is_seen_under_tls_while_the_request_body_is_unread(fault_server: FaultServer) -> None:
    """asyncio leaves such a connection open when it is closed, which pytest would report."""
    fault_server.script("/k", Response(read_body=False).having(Stall()))
    with RawClient(fault_server.tls_url(), ca_file=fault_server.ca_file) as client:
        # Enough for the reader to pause, and little enough for the transport under it to see the end.
        client.send("PUT", "/k", b"x" * ((2 << 20) + (100 << 10)))
        fault_server.wait_for(lambda: fault_server.stalled == 1)
        client.sock.shutdown(socket.SHUT_WR)
        time.sleep(0.1)
        fault_server.release()
        client.rest()
    gc.collect()


# From Python 3.12 on a fork beside threads warns; here the child runs nothing.
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_keeps_no_connection_open(fault_server: FaultServer) -> None:
    fault_server.script("/k", [Response.of(b"ok"), Response.dropped()])
    with RawClient(fault_server.url) as client:
        client.get("/k")
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
        os.close(reader)
        client.sock.settimeout(30)
        client.send("GET", "/k")
        try:
            assert client.rest() == (b"", "fin")
        finally:
            os.close(writer)
            os.waitpid(child, 0)
