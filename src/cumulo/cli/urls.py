"""What stands on the command line: `s3://bucket/key`, `file:///path`, a local path, or `-`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


@dataclass(frozen=True)
class Location:
    """A place to read or write. `path` is the whole key, untouched, or a path on this machine."""

    kind: Literal["s3", "local", "stream"]
    path: str = ""
    bucket: str = ""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.path}" if self.kind == "s3" else self.path or "-"

    def at(self, path: str) -> Location:
        """Another path in the same place."""
        return Location(self.kind, path, self.bucket)


def parse(text: str) -> Location:
    """What `text` names.

    A key is taken as it stands, `%` and all; `file:` URLs are percent-encoded, as URLs are.

    Raises:
        ValueError: neither a path nor a URL that the command knows.
    """
    if text == "-":
        return Location("stream")
    scheme = _SCHEME.match(text)
    if scheme is None:
        if not text or "\0" in text:
            raise ValueError(f"{text!r} is not a path")
        return Location("local", text)
    kind = scheme.group(1).lower()
    if kind == "s3":
        bucket, _, key = text[scheme.end() :].partition("/")
        if not bucket:
            raise ValueError(f"{text!r} names no bucket: write s3://bucket/key")
        return Location("s3", key, bucket)
    if kind == "file":
        return Location("local", _file_path(text))
    raise ValueError(f"{text!r}: {kind}:// is not a kind of URL this command knows (s3://, file://, or a path)")


def _file_path(text: str) -> str:
    host, _, path = text[len("file://") :].partition("/")
    if host not in ("", "localhost"):
        raise ValueError(f"{text!r}: a file URL of another machine; write file:///path")
    # Only the encoding: '?' and '#' are refused rather than cut off as a query or fragment.
    if urlsplit(text).query or urlsplit(text).fragment:
        raise ValueError(f"{text!r}: write '?' and '#' in a file URL as %3F and %23")
    decoded = "/" + unquote(path, errors="surrogateescape")
    if "\0" in decoded:
        raise ValueError(f"{text!r} is not a path")
    return decoded
