"""client_options on the wire: time limits, headers, proxies, certificates."""

from __future__ import annotations

import time
from typing import Any

import pytest

from cumulo.exceptions import BaseError, ConnectionFailedError, GenericError, RequestTimeoutError
from cumulo.store import S3Store
from tests.faults import FaultServer, Faulty, Object, Response, Stall, Trickle, blackhole
from tests.servers import S3Server

from .support import FAST_RETRY, NO_RETRY, PATH, SECRET, fault_store, server_store

ONE_RETRY = {**FAST_RETRY, "max_retries": 1}


@pytest.mark.parametrize("after", [None, 0])
def test_read_timeout_ends_what_stalls(fault_server: FaultServer, after: int | None) -> None:
    store = fault_store(fault_server, client_options={"read_timeout": 0.3}, retry_config=ONE_RETRY)
    fault_server.script(PATH, Faulty(Object(bytes(1000)), Stall(after)))
    with pytest.raises(RequestTimeoutError, match="read_timeout") as caught:
        store.get("key").bytes()
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, GenericError)
    assert caught.value.attempts == len(fault_server.requests) == 2


def test_read_timeout_never_ends_what_moves(fault_server: FaultServer) -> None:
    store = fault_store(fault_server, client_options={"read_timeout": 1.5}, retry_config=NO_RETRY)
    fault_server.script(PATH, Faulty(Object(bytes(1000)), Trickle(240, 0.05)))
    assert store.get("key").bytes() == bytes(1000)


def test_timeout_ends_what_moves(fault_server: FaultServer) -> None:
    store = fault_store(fault_server, client_options={"timeout": 0.5})
    fault_server.script(PATH, Faulty(Object(bytes(100_000)), Trickle(10_000, 0.05)))
    started = time.monotonic()
    with pytest.raises(RequestTimeoutError, match="timeout"):
        store.get("key").bytes()
    assert time.monotonic() - started < 8


def test_connect_timeout(fault_server: FaultServer) -> None:
    with blackhole() as url:
        store = fault_store(fault_server, endpoint=url, client_options={"connect_timeout": 0.2}, retry_config=ONE_RETRY)
        with pytest.raises(RequestTimeoutError, match="connect_timeout") as caught:
            store.get("key")
        assert caught.value.attempts == 2


def test_connect_timeout_holds_for_a_tls_handshake_too(fault_server: FaultServer) -> None:
    url = fault_server.tls_url()
    fault_server.greet("mute", url=url)
    options: Any = {"connect_timeout": 0.2, "root_certificate": fault_server.ca_file.read_bytes()}
    store = fault_store(fault_server, endpoint=url, client_options=options, retry_config=NO_RETRY)
    with pytest.raises(RequestTimeoutError):
        store.get("key")


def test_a_refused_connection_is_tried_again(fault_server: FaultServer) -> None:
    config: Any = {"max_retries": 20, "backoff": {"init_backoff": 0.1, "max_backoff": 0.1}}
    store = fault_store(fault_server, retry_config=config)
    fault_server.script(PATH, Object(b"data"))
    fault_server.down(0.5)
    assert store.get("key").bytes() == b"data"


def test_a_refused_connection_that_stays(fault_server: FaultServer) -> None:
    store = fault_store(fault_server)
    fault_server.down()
    with pytest.raises(ConnectionFailedError) as caught:
        store.get("key")
    assert isinstance(caught.value, ConnectionError)
    assert caught.value.attempts == 4
    assert fault_server.url.removeprefix("http://") in str(caught.value)


def test_an_unknown_host_fails_soon(fault_server: FaultServer) -> None:
    store = fault_store(fault_server, endpoint="http://no-such-host.invalid")
    started = time.monotonic()
    with pytest.raises(ConnectionFailedError, match="does not resolve"):
        store.get("key")
    assert time.monotonic() - started < 15


def test_headers_on_the_wire(fault_server: FaultServer) -> None:
    options: Any = {"default_headers": {"X-Team": "maps", "X-Bytes": b"\xe9"}, "user_agent": "tiler/1.0"}
    store = fault_store(fault_server, client_options=options)
    fault_server.script(PATH, Object(b"data"))
    store.get("key").bytes()
    store.put("key", b"x")
    store.get_range("key", start=0, end=1)
    for request in fault_server.requests:
        assert request.header("x-team") == "maps"
        assert request.header("x-bytes") == "\xe9"
        assert request.header("user-agent") == "tiler/1.0"


def test_the_default_user_agent(fault_server: FaultServer, faulty: S3Store) -> None:
    import cumulo

    fault_server.script(PATH, Object(b"data"))
    faulty.head("key")
    assert fault_server.requests[0].header("user-agent") == f"cumulo/{cumulo.__version__}"  # type: ignore[attr-defined]


def test_a_proxy_on_the_wire(fault_server: FaultServer) -> None:
    """The fault server plays the proxy: a plain HTTP request comes there with its whole URL."""
    proxy = fault_server.url.replace("http://", "http://user:pa%3Ass@")
    store = fault_store(
        fault_server, endpoint="http://origin.example:8080", client_options={"proxy_url": proxy}, retry_config=NO_RETRY
    )
    fault_server.default = Object(b"data")
    assert store.get("key").bytes() == b"data"
    request = fault_server.requests[0]
    assert request.target == "http://origin.example:8080/bucket/key"
    assert request.header("host") == "origin.example:8080"
    assert request.header("proxy-authorization") == "Basic dXNlcjpwYTpzcw=="
    fault_server.default = Response.error(500)
    with pytest.raises(BaseError) as caught:
        store.get("key")
    assert "pa:ss" not in str(caught.value)
    assert "pa%3Ass" not in str(caught.value) + repr(store)


def test_a_proxy_that_is_excluded(fault_server: FaultServer) -> None:
    options: Any = {"proxy_url": "http://127.0.0.1:1", "proxy_excludes": "127.0.0.1"}
    fault_server.script(PATH, Object(b"data"))
    assert fault_store(fault_server, client_options=options).get("key").bytes() == b"data"


def test_certificates(ministack_tls: S3Server) -> None:
    assert ministack_tls.ca_file is not None
    trusted: Any = {"root_certificate": ministack_tls.ca_file.read_text()}
    store = server_store(ministack_tls, client_options=trusted)
    store.put("x", b"over TLS")
    assert store.get("x").bytes() == b"over TLS"
    bucket = store.config["bucket"]
    careless = server_store(ministack_tls, bucket=bucket, client_options={"allow_invalid_certificates": True})
    assert careless.get("x").bytes() == b"over TLS"


def test_bad_certificates_fail_at_once(fault_server: FaultServer) -> None:
    trusted: Any = {"root_certificate": fault_server.ca_file.read_bytes()}
    kinds: list[Any] = ["wrong-host", "expired", "self-signed"]
    stores = [fault_store(fault_server, endpoint=fault_server.tls_url(kind), client_options=trusted) for kind in kinds]
    stores.append(fault_store(fault_server, endpoint=fault_server.tls_url()))  # trusts the system's CAs only
    futures = [store.futures.get("key") for store in stores]
    for future in futures:
        error = future.exception(timeout=9)  # the TLS library would hold it for 10 to 30 seconds
        assert isinstance(error, ConnectionFailedError)
        assert "root_certificate" in str(error)
        assert error.attempts == 1
    assert fault_server.requests == []


def test_tls_to_a_plain_port_fails_soon(fault_server: FaultServer) -> None:
    store = fault_store(fault_server, endpoint=fault_server.url.replace("http:", "https:"))
    with pytest.raises(ConnectionFailedError, match="TLS") as caught:
        store.get("key")
    assert caught.value.attempts <= 3  # to tell it from a server that is just being restarted


def test_plain_http_has_to_be_meant(fault_server: FaultServer) -> None:
    with pytest.raises(ValueError, match="allow_http"):
        S3Store("bucket", endpoint=fault_server.url, access_key_id="a", secret_access_key=SECRET)


def test_http2_options_are_accepted(fault_server: FaultServer) -> None:
    options: Any = {
        "http1_only": True,
        "http2_keep_alive_interval": "5s",
        "http2_keep_alive_timeout": 1.0,
        "http2_keep_alive_while_idle": "true",
        "http2_max_frame_size": "16384",
        "http2_only": False,
    }
    fault_server.script(PATH, Object(b"data"))
    assert fault_store(fault_server, client_options=options).get("key").bytes() == b"data"
    assert fault_server.requests[0].version == "HTTP/1.1"


def test_no_idle_connections(fault_server: FaultServer) -> None:
    store = fault_store(fault_server, client_options={"pool_max_idle_per_host": 0})
    fault_server.script(PATH, Object(b"data"))
    store.head("key")
    fault_server.wait_for(lambda: fault_server.connections.open == 0)
    store.head("key")
    assert fault_server.connections.accepted == 2


def test_max_connections(fault_server: FaultServer) -> None:
    store = fault_store(fault_server, client_options={"max_connections": 3})
    fault_server.script(PATH, Object(b"data"))
    futures = [store.futures.get_range("key", start=0, end=1) for _ in range(60)]
    assert [future.result(30) for future in futures] == [b"d"] * 60
    assert fault_server.connections.most_open <= 3
