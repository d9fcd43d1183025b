"""rclone serve s3: a plain file server behind S3's interface; good for writes, lists and signatures.

It answers ranges with status 200 and ignores most conditions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from .process import accepts, executable, free_ports, running
from .s3server import Feature, S3Server

KEY, SECRET = "rclonekey", "rclonesecret"
LACKS: frozenset[Feature] = frozenset(
    {
        "range",
        "copy",
        "copy_if_absent",
        "upload_if_absent",
        "put_if_none_match",
        "put_if_match",
        "delete_if_match",
        "get_if_match",
        "get_if_modified_since",
        "get_if_unmodified_since",
        "entity_too_small",
        "aws_multipart_etag",
        "upload_part_copy",
        "part_number",
        "object_attributes",
        "versions",
        "tags_header",
        "odd_slashes",
        "key_and_prefix",
        "checksums_verified",
        "payload_hash_verified",
    }
)


@contextlib.contextmanager
def serve(directory: Path) -> Iterator[S3Server]:
    """Run it; `directory` takes its log and the objects."""
    port = free_ports(1)[0]
    data = directory / "data"
    data.mkdir()
    options = ["--config", "/dev/null", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}"]
    command = [executable("rclone"), "serve", "s3", *options, data]
    with running(command, directory / "rclone.log") as process:
        process.wait_until(lambda: accepts(port))
        yield S3Server("rclone", f"http://127.0.0.1:{port}", KEY, SECRET, lacks=LACKS)
