"""A real S3 server on loopback for as long as the demo runs."""

from __future__ import annotations

import contextlib
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.servers.process import accepts, clean_environment, executable, free_ports, running

KEYS = {"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo-secret"}


def forget_surroundings() -> None:
    """Proxies and AWS settings of whoever runs this are not for a server on loopback."""
    for name in os.environ.keys() - clean_environment().keys():
        del os.environ[name]


@contextlib.contextmanager
def s3_server(directory: Path) -> Iterator[str]:
    """Run ministack, which keeps its objects in memory; gives its URL. It goes when the demo does, however it ends."""
    port = free_ports(1)[0]
    environment = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "SERVICES": "s3",
        "IOT_MTLS_ENABLED": "0",  # else it opens a port on all interfaces
        "LOG_LEVEL": "WARNING",
        "TMPDIR": str(directory),
        **KEYS,
    }
    with running([executable("ministack")], directory / "server.log", environment) as process:
        process.wait_until(lambda: accepts(port))
        yield f"http://127.0.0.1:{port}"


def create_bucket(endpoint: str, name: str) -> None:
    """Cumulo works in buckets and doesn't make them: one plain request does."""
    request = urllib.request.Request(f"{endpoint}/{name}", method="PUT")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        answer.read()
