"""Large transfers by way of a proxy, by either bulk client."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.faults import FaultServer, Object, Upload
from tests.faults.tunnel import tunnel

from .support import MIB, fault_store, of_aws_c_s3


@pytest.mark.parametrize("bulk_client", ["crt", "engine"])
def test_large_transfers_by_a_proxy(fault_server: FaultServer, tmp_path: Path, bulk_client: str) -> None:
    proxy = fault_server.url.replace("http://", "http://user:pa%3Ass@")
    store = fault_store(
        fault_server, endpoint="http://origin.example:8080", client_options={"proxy_url": proxy},
        bulk_client=bulk_client,
    )  # fmt: skip
    data, upload = os.urandom(12 * MIB + 7), Upload()
    fault_server.default = Object(data)
    assert store.get("key").bytes() == data
    store.download("key", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == data
    fault_server.default = upload
    store.put("key", data)
    store.put("key", iter([data]))
    assert upload.object.data == data
    for request in fault_server.requests:
        assert request.target.startswith("http://origin.example:8080/bucket/key")
        assert request.header("host") == "origin.example:8080"
        assert request.header("proxy-authorization") == "Basic dXNlcjpwYTpzcw=="
    own = len(of_aws_c_s3(fault_server))
    assert (own > 0) == (bulk_client == "crt")


@pytest.mark.parametrize("bulk_client", ["crt", "engine"])
def test_large_transfers_through_a_tunnel(fault_server: FaultServer, tmp_path: Path, bulk_client: str) -> None:
    """To a TLS endpoint, a proxy is asked to CONNECT."""
    data, upload = os.urandom(12 * MIB + 7), Upload()
    url = urlsplit(fault_server.tls_url())
    with tunnel(url.geturl()) as proxy:
        named = proxy.url.replace("//", "//user:pa%3Ass@")
        options = {"root_certificate": fault_server.ca_file.read_bytes(), "proxy_url": named}
        store = fault_store(fault_server, endpoint=url.geturl(), bulk_client=bulk_client, client_options=options)
        fault_server.default = Object(data)
        assert store.get("key").bytes() == data
        store.download("key", tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == data
        fault_server.default = upload
        store.put("key", data)
        assert upload.object.data == data
        assert proxy.asked
        for head in proxy.asked:
            assert head.startswith(f"CONNECT {url.netloc} HTTP/1.1\r\n")
            assert "proxy-authorization: basic dxnlcjpwytpzcw==" in head.lower()
    assert fault_server.connections.accepted == len(proxy.asked)
