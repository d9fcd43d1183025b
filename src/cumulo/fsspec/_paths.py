"""What fsspec calls a path, and which object of which store that is. Pure, but
for the working directory.

A name is `bucket/key`, `host/path` for HTTP, `/absolute/path` for local files, and the key alone in memory. A URL is a
name with a protocol before it. Buckets may be an Azure container's long form, `container@account.dfs.core.windows.net`.
"""

from __future__ import annotations

import os
from typing import Any, Literal, TypeAlias

from ._untyped import make_path_posix

SUPPORTED_PROTOCOLS_T: TypeAlias = Literal[
    "abfs", "abfss", "adl", "az", "azure", "file", "gcs", "gs", "http", "https", "memory", "s3", "s3a"
]
"""A protocol that there is a store for."""
SUPPORTED_PROTOCOLS: set[str] = {
    "abfs", "abfss", "adl", "az", "azure", "file", "gcs", "gs", "http", "https", "memory", "s3", "s3a",
}  # fmt: skip
"""All protocols that there is a store for."""

_FAMILIES = {
    **dict.fromkeys(("abfs", "abfss", "adl", "az", "azure"), "azure"),
    **dict.fromkeys(("gcs", "gs"), "gcs"),
    **dict.fromkeys(("s3", "s3a"), "s3"),
}
KEEPS_RAW_KEYS = frozenset(_FAMILIES)
"""Protocols whose stores can be made to take every key as it is."""
_SCHEMES = {"gcs": "gs"}


def name_of(path: Any, protocol: str) -> str:
    """The name of a path or URL. Raises `ValueError` for a URL of another protocol."""
    text = os.fsdecode(path)
    scheme, mark, rest = text.partition("://")
    if mark and scheme in SUPPORTED_PROTOCOLS:
        if protocol in SUPPORTED_PROTOCOLS and _FAMILIES.get(scheme, scheme) != _FAMILIES.get(protocol, protocol):
            raise ValueError(f"{scheme}:// is not {protocol}://, which this file system is for")
        text, protocol = rest, scheme
    if protocol == "file":
        segments = str(make_path_posix(text.removeprefix("file:"))).split("/")
        return "/" + "/".join(each for each in segments if each not in ("", "."))  # as the system reads it
    return text.strip("/")


def split(name: str, protocol: str) -> tuple[str, str]:
    """(bucket, key) of a name. HTTP's query belongs to the former: it is the store's."""
    if protocol in ("file", "memory"):
        return "", name
    bucket, _, key = name.partition("/")
    if protocol in ("http", "https") and "?" in key:
        key, _, query = key.partition("?")
        bucket = f"{bucket}?{query}"
    return bucket, key


def joined(bucket: str, key: str, protocol: str) -> str:
    """The name of an object, or of a prefix."""
    key = key.strip("/")
    if protocol == "file":
        return f"/{key}"
    host, mark, query = bucket.partition("?")
    return "/".join(part for part in (host, key) if part) + mark + query


def url_of(bucket: str, protocol: str) -> str:
    """The URL of a store."""
    if protocol in ("file", "memory"):
        return f"{protocol}:///"
    host, mark, query = bucket.partition("?")
    slash = "/" if protocol in ("http", "https") else ""
    return f"{_SCHEMES.get(protocol, protocol)}://{host}{slash}{mark}{query}"


def parents(name: str, top: str) -> list[str]:
    """The directories a name is in, up to `top` and without it."""
    found: list[str] = []
    while (name := name.rpartition("/")[0]) and len(name) > len(top):
        found.append(name)
    return found
