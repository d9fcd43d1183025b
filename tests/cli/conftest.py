"""A bucket, a tree of files with odd names, and ways to run the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.servers.s3server import S3Server

from .support import Bucket, environment, invoke


@pytest.fixture
def bucket(ministack: S3Server, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A new bucket, with the server and its keys in the environment."""
    for name, value in environment(ministack).items():
        monkeypatch.setenv(name, value)
    return Bucket(ministack, ministack.new_bucket())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files of all kinds in `tmp_path/tree`."""
    root = tmp_path / "tree"
    files = {
        "a.txt": b"hello",
        "empty": b"",
        "image.tif": b"II*\0" + bytes(100),
        "sub/with space.txt": b"space",
        "sub/100%25+#?&é😀.txt": b"odd",
        "sub/deep/er.bin": bytes(range(256)) * 5000,
    }
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


@pytest.fixture
def run() -> Callable[..., Any]:
    """Run the command in this process."""
    return invoke
