"""gcp-storage-emulator: the JSON API, as others read it. Its XML API only puts and gets, without ETags and dates."""

from __future__ import annotations

import contextlib
import json
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from .process import answers, executable, free_ports, running


@dataclass(frozen=True)
class Emulator:
    """A running one."""

    url: str

    def new_bucket(self) -> str:
        """Create an empty bucket under a name not used before."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        body = json.dumps({"name": name}).encode()
        request = urllib.request.Request(f"{self.url}/storage/v1/b", body, {"Content-Type": "application/json"})
        with self._open(request):
            return name

    def objects(self, bucket: str) -> dict[str, bytes]:
        """All content, by key."""
        with self._open(f"{self.url}/storage/v1/b/{bucket}/o") as answer:
            items = json.load(answer).get("items", [])
        found: dict[str, bytes] = {}
        for item in items:
            with self._open(f"{self.url}/storage/v1/b/{bucket}/o/{quote(item['name'], safe='')}?alt=media") as answer:
                found[item["name"]] = answer.read()
        return found

    def _open(self, what: str | urllib.request.Request):
        return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(what, timeout=20)


@contextlib.contextmanager
def serve(directory: Path) -> Iterator[Emulator]:
    """Run it; `directory` takes its log."""
    port = free_ports(1)[0]
    options = ["start", "--host", "127.0.0.1", "--port", str(port), "--in-memory", "-q"]
    with running([executable("gcp-storage-emulator"), *options], directory / "emulator.log") as process:
        process.wait_until(lambda: answers(f"http://127.0.0.1:{port}/storage/v1/b"))
        yield Emulator(f"http://127.0.0.1:{port}")
