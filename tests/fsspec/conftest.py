"""File systems of fsspec's over our stores: `fs`, with `fs_path`, a place in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cumulo.fsspec import FsspecStore
from tests.servers import S3Server

KINDS = ("memory", "file", "s3")


def s3_options(server: S3Server) -> dict[str, Any]:
    """What a file system needs to reach a server."""
    return {
        "endpoint": server.endpoint,
        "region": server.region,
        "access_key_id": server.access_key_id,
        "secret_access_key": server.secret_access_key,
        "client_options": {"allow_http": True},
    }


def file_system(kind: str, request: pytest.FixtureRequest, **options: Any) -> tuple[Any, str]:
    """A file system, and an empty place in it."""
    if kind == "s3":
        server: S3Server = request.getfixturevalue("ministack")
        return FsspecStore("s3", **s3_options(server), **options, skip_instance_cache=True), server.new_bucket()
    if kind == "file":
        place: Path = request.getfixturevalue("tmp_path") / "place"
        place.mkdir()
        return FsspecStore("file", skip_instance_cache=True, **options), str(place)
    return FsspecStore("memory", skip_instance_cache=True, **options), "place"
