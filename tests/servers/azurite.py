"""Azurite, Microsoft's emulator of the Blob service. It comes from npm, into the user's cache folder, once.

What it lacks, as measured: versions, Data Lake's interface, Put Block and Put Blob From URL, suffix ranges,
`startFrom`, CRC-64 (it answers 500), batches with a SAS (500). It checks SharedKey and SAS; of bearer tokens (over TLS)
the audience, issuer and times, not the signature. Deletes get slow with thousands of blobs: keep containers small.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .process import ServerError, accepts, free_ports, running

VERSION = "3.35.0"
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
INSTALL_S = 600


@dataclass(frozen=True)
class AzureServer:
    """A running emulator."""

    url: str
    """The blob service's, without the account."""
    account_name: str = ACCOUNT
    account_key: str = KEY
    ca_file: Path | None = None
    """What to trust when `url` is https."""

    @property
    def endpoint(self) -> str:
        """The account's URL."""
        return f"{self.url}/{self.account_name}"

    @cached_property
    def sdk(self) -> Any:
        """azure-storage-blob's client of the account: the second opinion."""
        from azure.storage.blob import BlobServiceClient

        verify = {} if self.ca_file is None else {"connection_verify": str(self.ca_file)}
        return BlobServiceClient(self.endpoint, credential=self.account_key, api_version="2025-01-05", **verify)

    def new_container(self) -> str:
        """A fresh container's name."""
        name = f"c-{uuid.uuid4().hex[:12]}"
        self.sdk.create_container(name)
        return name


@contextlib.contextmanager
def serve(directory: Path, certificate: tuple[Path, Path, Path] | None = None) -> Iterator[AzureServer]:
    """Run it in memory; `directory` takes its log. With (CA, certificate, key) it talks TLS and takes bearer tokens."""
    port = free_ports(1)[0]
    command: list[str | Path] = [
        "node", _installed(), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--skipApiVersionCheck",
        "--inMemoryPersistence", "--disableTelemetry", "--silent",
    ]  # fmt: skip
    if certificate is not None:
        command += ["--oauth", "basic", "--cert", certificate[1], "--key", certificate[2]]
    with running(command, directory / "azurite.log") as process:
        process.wait_until(lambda: accepts(port))
        scheme = "http" if certificate is None else "https"
        ca_file = certificate[0] if certificate is not None else None
        yield AzureServer(f"{scheme}://127.0.0.1:{port}", ca_file=ca_file)


def _installed() -> Path:
    """The emulator's program, installed by npm if it is not there yet; runs that meet wait for each other."""
    cache = Path(
        os.environ.get("CUMULO_CACHE_DIR")
        or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cumulo"
    )
    final = cache / f"azurite-{VERSION}"
    program = final / "node_modules/azurite/dist/src/blob/main.js"
    if program.exists():
        return program
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "azurite.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _install(cache / f"azurite-{VERSION}.new", final)
    return program


def _install(directory: Path, final: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(directory), f"azurite@{VERSION}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    if done.returncode != 0:
        raise ServerError(f"npm could not install azurite {VERSION}:\n{done.stderr[-2000:]}")
    directory.rename(final)
