"""wsgidav: a WebDAV server of a folder, on cheroot. Anonymous, or with one user by basic authentication.

It evaluates conditions, gives ETags, refuses `Depth: infinity` in PROPFIND, and misses parents with 409.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from .process import accepts, executable, free_ports, running


@contextlib.contextmanager
def serve(directory: Path, users: dict[str, str] | None = None) -> Iterator[tuple[str, Path]]:
    """Run it: the URL and the folder; `directory` takes both its log and the folder."""
    port = free_ports(1)[0]
    root = directory / "root"
    root.mkdir()
    mapping = {name: {"password": password} for name, password in (users or {}).items()} or True
    settings = directory / "wsgidav.json"
    settings.write_text(
        json.dumps(
            {
                "host": "127.0.0.1",
                "port": port,
                "provider_mapping": {"/": str(root)},
                "simple_dc": {"user_mapping": {"*": mapping}},
                "http_authenticator": {"accept_basic": True, "accept_digest": False, "default_to_digest": False},
                "dir_browser": {"enable": False},
                "verbose": 1,
            }
        )
    )
    with running([executable("wsgidav"), "--config", settings], directory / "wsgidav.log") as process:
        process.wait_until(lambda: accepts(port))
        yield f"http://127.0.0.1:{port}", root
