"""What the tests of the command share."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from cumulo.cli.app import app
from tests.servers.s3server import S3Server

COMMAND = [sys.executable, "-m", "cumulo.cli"]


@dataclass(frozen=True)
class Bucket:
    """A bucket, and boto3 to look into it."""

    server: S3Server
    name: str

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    def put(self, key: str, content: bytes = b"") -> None:
        self.server.boto3.put_object(Bucket=self.name, Key=key, Body=content)

    def get(self, key: str) -> bytes:
        return self.server.boto3.get_object(Bucket=self.name, Key=key)["Body"].read()

    def head(self, key: str) -> dict[str, Any]:
        return self.server.boto3.head_object(Bucket=self.name, Key=key)

    def keys(self, prefix: str = "") -> list[str]:
        pages = self.server.boto3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [each["Key"] for page in pages for each in page.get("Contents", [])]

    def uploads(self) -> list[str]:
        listed = self.server.boto3.list_multipart_uploads(Bucket=self.name).get("Uploads", [])
        return [each["Key"] for each in listed]


def environment(server: S3Server) -> dict[str, str]:
    """How the command finds a server."""
    return {
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_ACCESS_KEY_ID": server.access_key_id,
        "AWS_SECRET_ACCESS_KEY": server.secret_access_key,
        "AWS_REGION": server.region,
    }


def invoke(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    """Run the command in this process; what it does not catch is raised."""
    runner = CliRunner(catch_exceptions=False)
    return runner.invoke(app, [str(each) for each in arguments], input=stdin)


def spawn(*arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
    """Start the command as a process of its own."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*COMMAND, *map(str, arguments)], env=dict(os.environ), **{**pipes, **options})


def files(root: Path) -> dict[str, bytes]:
    """All files below a directory."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
