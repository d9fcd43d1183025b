"""moto: knows the multipart rules best (EntityTooSmall, full-object CRC64NVME), checks no signatures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from .process import accepts, executable, free_ports, running
from .s3server import Feature, S3Server

LACKS: frozenset[Feature] = frozenset(
    {
        "copy_if_absent",
        "part_number",
        "object_attributes",
        "checksums_verified",
        "md5_verified",
        # Switching signature checks on makes every presigned URL fail, so they stay off.
        "secret_verified",
        "presigned_verified",
        "payload_hash_verified",
        "unsigned_headers_refused",
        "clock_skew_refused",
    }
)


@contextlib.contextmanager
def serve(directory: Path) -> Iterator[S3Server]:
    """Run it; `directory` takes its log."""
    port = free_ports(1)[0]
    command = [executable("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with running(command, directory / "moto.log") as process:
        process.wait_until(lambda: accepts(port))
        yield S3Server("moto", f"http://127.0.0.1:{port}", "test-key", "test-secret", lacks=LACKS)
