"""S3's large transfers by the AWS CRT's S3 client (aws-c-s3): each a `Request` like any other, that is many inside."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING, Any, Final

from cumulo._native import Client, Request, bulk_is_ready, can_bulk, make_bulk, prepare_bulk

from .base import PutPlan

if TYPE_CHECKING:
    from .s3 import S3Provider

AUTO: Final[frozenset[str]] = frozenset()
"""The jobs that `bulk_client="auto"` gives to aws-c-s3. Measured: docs/design/bulk.md."""

CRCS = ("CRC64NVME", "CRC32C", "CRC32")
"""Checksums that aws-c-s3 makes from those of parts in any order."""


class S3Bulk:
    """What an S3 store gives to aws-c-s3, and the requests that do so."""

    def __init__(self, provider: S3Provider, client: Client, choice: str, *, copies: bool) -> None:
        """`copies`: whether one client does all that a copy takes; aws-c-s3 knows one set of keys a job."""
        self._provider = provider
        self._client = client
        self._choice = choice
        self._copies = copies

    def takes(self, job: str) -> bool:
        """Whether aws-c-s3 is to do it: `get`, `get_file`, `put` (from memory), `put_file`, `put_stream` or `copy`."""
        chosen = self._choice == "crt" or (self._choice == "auto" and job in AUTO)
        return chosen and (job != "copy" or self._copies) and can_bulk(self._client)

    @property
    def is_ready(self) -> bool:
        """Whether `prepare` would return at once."""
        return bulk_is_ready(self._client)

    def prepare(self) -> None:
        """Make the native client; may block for a moment."""
        prepare_bulk(self._client)

    def get(
        self,
        path: str,
        version: str | None,
        etag: str,
        span: tuple[int, int],
        *,
        part_bytes: int,
        most: int,
        expected: tuple[str, str] | None = None,
        foreign: bool = False,
        to_file: bool = False,
    ) -> Request:
        """Bytes `span` of an object that must still have this ETag, into memory or a file fed as one piece.
        `expected`: algorithm and checksum of these bytes. `foreign`: memory that nothing may touch after a cancel.
        """
        algorithm, value = expected if expected is not None and expected[0] in CRCS else (None, None)
        request = self._provider.get_part(path, version, etag, span)
        return make_bulk(
            request, "get_file" if to_file else "get", part_bytes=part_bytes, max_concurrency=most,
            checksum=algorithm, expected=value, foreign_memory=foreign,
        )  # fmt: skip

    def put(self, path: str, plan: PutPlan, content: dict[str, Any] | None, *, part_bytes: int, most: int) -> Request:
        """Content as `Source.part` gives it, as a multipart upload; None for what `write_bulk` will bring."""
        request = self._provider.put(path, plan, **(content or {}))
        job, name = "put" if content is not None else "put_writes", None
        if content is not None and "file" in content:
            name = whole_file(*content["file"])
            job = "put" if name is None else "put_file"
        algorithm = self._provider.checksum_algorithm
        return make_bulk(request, job, part_bytes=part_bytes, max_concurrency=most, file=name, checksum=algorithm)

    def copy(self, source: str, target: str, plan: PutPlan, etag: str, *, most: int) -> Request:
        """A copy in parts, with the metadata and tags in `plan`, of a source that must still have this ETag."""
        request, uri = self._provider.copy_as(source, target, plan, etag)
        return make_bulk(request, "copy", part_bytes=0, max_concurrency=most, copy_source=uri)


def whole_file(file: Any, start: int, size: int) -> str | None:
    """A name by which this very file can be opened once more, if it is to be read from its first byte to its last."""
    if start != 0 or not sys.platform.startswith("linux"):
        return None
    status = os.fstat(file.fileno())
    return f"/proc/self/fd/{file.fileno()}" if stat.S_ISREG(status.st_mode) and status.st_size == size else None
