"""What stands on the command line: a URL of any store, `file:///path`, a local path, or `-`.

Which store a URL means is `cumulo.store`'s business; here is what the command says of the rest: a key stands as it is
written after `s3://bucket/` and its like, and is percent-encoded after `https://`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

from cumulo.store._urls import divided

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_WEB = ("http", "https")


@dataclass(frozen=True)
class Location:
    """A place to read or write. `path` is the whole key, untouched, or a path on this machine; `root` is the URL of its
    bucket, container or web server, with a web server's query.
    """

    kind: Literal["s3", "gcs", "azure", "http", "local", "stream"]
    path: str = ""
    root: str = ""

    @property
    def remote(self) -> bool:
        """Whether a store holds it, rather than this machine."""
        return self.kind not in ("local", "stream")

    @property
    def is_folder(self) -> bool:
        """Whether it is written as a folder: with a slash at its end, or a root."""
        return not self.path or self.path.endswith("/")

    def __str__(self) -> str:
        """As it was written, without what may be secret."""
        if not self.remote:
            return self.path or "-"
        parts = urlsplit(self.root)
        if parts.scheme not in _WEB:
            return f"{self.root.removesuffix('/')}/{self.path}"
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path.removesuffix('/')}/{quote(self.path, errors='surrogateescape')}"

    def at(self, path: str) -> Location:
        """Another path in the same place."""
        return Location(self.kind, path, self.root)


def parse(text: str) -> Location:
    """What `text` names.

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
    name = scheme.group(1).lower()
    if name == "file":
        return Location("local", _file_path(text))
    return _of_web(text) if name in _WEB else _of_store(text)


def _of_store(text: str) -> Location:
    kind, root, path = divided(text)
    if kind in ("local", "memory"):
        raise ValueError(f"{text!r}: what is in memory would end with the command")
    return Location(kind, path, root.removesuffix("/"))


def _of_web(text: str) -> Location:
    """A web server, or a service that is known by its host; what has a query is signed, and asked for as it stands."""
    parts = urlsplit(text)
    if parts.fragment:
        raise ValueError("a fragment never reaches a server: write '#' in a URL as %23")
    if not parts.query:
        place = _of_store(text)
        root, rest = place.root, place.path
        if place.kind != "http":
            return place.at(unquote(rest, errors="surrogateescape"))
    else:
        root, rest = f"{parts.scheme}://{parts.netloc}?{parts.query}", parts.path[1:]
    if "%2f" in rest.lower():
        raise ValueError("a web server's file can't have a slash in its name (%2F) here")
    return Location("http", unquote(rest, errors="surrogateescape"), root)


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
