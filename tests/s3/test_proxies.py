"""Proxies on the wire: tunnels to TLS origins, proxies that are themselves reached by TLS, who is left out."""

from __future__ import annotations

import base64
import socket
from typing import Any

import pytest

from cumulo.exceptions import ConnectionFailedError
from cumulo.store import S3Store
from tests.faults import FaultServer, Object
from tests.faults.tunnel import tunnel

from .support import NO_RETRY, PATH, fault_store


def through(fault_server: FaultServer, url: str, endpoint: str, **options: Any) -> S3Store:
    client = {"proxy_url": url, "root_certificate": fault_server.ca_file.read_bytes(), **options}
    return fault_store(fault_server, endpoint=endpoint, client_options=client, retry_config=NO_RETRY)


def test_a_tls_origin_through_a_proxy(fault_server: FaultServer) -> None:
    origin = fault_server.tls_url()
    fault_server.script(PATH, Object(b"data"))
    with tunnel(origin) as proxy:
        url = proxy.url.replace("http://", "http://user:pa%3Ass@")
        assert through(fault_server, url, origin).get("key").bytes() == b"data"
    assert proxy.hosts == ["127.0.0.1"]
    given = base64.b64encode(b"user:pa:ss").decode()
    assert f"proxy-authorization: basic {given}".lower() in proxy.asked[0].lower()
    assert fault_server.requests[0].target == "/bucket/key"
    assert fault_server.requests[0].header("proxy-authorization") is None, "the origin learns nothing of the proxy"


def test_a_proxy_reached_by_tls(fault_server: FaultServer) -> None:
    """The fault server plays the proxy for a plain origin."""
    ca = fault_server.ca_file.read_text()
    fault_server.default = Object(b"data")
    url = fault_server.tls_url()
    store = through(fault_server, url, "http://origin.example:8080", proxy_ca_certificate=ca)
    assert store.get("key").bytes() == b"data"
    assert fault_server.requests[0].target == "http://origin.example:8080/bucket/key"


def test_a_proxys_certificate_is_checked(fault_server: FaultServer) -> None:
    fault_server.default = Object(b"data")
    for certificate in ("valid", "self-signed"):
        options: dict[str, Any] = {}
        if certificate == "self-signed":
            options["proxy_ca_certificate"] = fault_server.ca_file.read_text()
        client = {"proxy_url": fault_server.tls_url(certificate), **options}  # type: ignore[arg-type]
        store = fault_store(
            fault_server, endpoint="http://origin.example", client_options=client, retry_config=NO_RETRY
        )
        with pytest.raises(ConnectionFailedError, match=r"ertificate|TLS"):
            store.get("key")
    assert fault_server.requests == []


def test_a_tls_origin_through_a_proxy_reached_by_tls(fault_server: FaultServer) -> None:
    origin, ca = fault_server.tls_url(), fault_server.ca_file.read_text()
    fault_server.script(PATH, Object(b"data"))
    with tunnel(origin, context=fault_server.authority.context("valid")) as proxy:
        assert through(fault_server, proxy.url, origin, proxy_ca_certificate=ca).get("key").bytes() == b"data"
    assert proxy.hosts == ["127.0.0.1"]


def test_who_is_left_out(fault_server: FaultServer) -> None:
    origin = fault_server.tls_url()
    fault_server.script(PATH, Object(b"data"))
    with tunnel(origin) as proxy:
        for excludes in ("127.0.0.1", "10.0.0.0/8, 127.0.0.0/8", "*"):
            store = through(fault_server, proxy.url, origin, proxy_excludes=excludes)
            assert store.get("key").bytes() == b"data"
        assert proxy.asked == []
        assert through(fault_server, proxy.url, origin, proxy_excludes="other.example").head("key")["size"] == 4
        assert len(proxy.asked) == 1


def test_the_environments_proxy(fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = fault_server.tls_url()
    fault_server.script(PATH, Object(b"data"))
    ca: Any = {"root_certificate": fault_server.ca_file.read_bytes()}
    with tunnel(origin) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert fault_store(fault_server, endpoint=origin, client_options=ca).head("key")["size"] == 4
        assert len(proxy.asked) == 1
        none = {**ca, "proxy_url": ""}
        assert fault_store(fault_server, endpoint=origin, client_options=none).head("key")["size"] == 4
        assert len(proxy.asked) == 1


def test_a_proxy_that_is_not_there(fault_server: FaultServer) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://user:secret@127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConnectionFailedError) as caught:
            through(fault_server, url, fault_server.tls_url()).get("key")
    assert "secret" not in str(caught.value)


def test_idle_connections_are_closed_after_their_time(fault_server: FaultServer) -> None:
    store = fault_store(fault_server, client_options={"pool_idle_timeout": "200ms"})
    fault_server.script(PATH, Object(b"data"))
    store.head("key")
    assert fault_server.connections.accepted == 1
    fault_server.wait_for(lambda: fault_server.connections.open == 0)
    store.head("key")
    assert fault_server.connections.accepted == 2
