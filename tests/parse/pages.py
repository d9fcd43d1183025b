"""Listing pages as servers write them, and a second reader of them that is slow and plainly right."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote_plus, unquote_plus

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
MODIFIED = "2009-10-12T17:50:30.000Z"
WHEN = datetime(2009, 10, 12, 17, 50, 30, tzinfo=timezone.utc)

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\r\ufffe\uffff]")


def escaped(text: str) -> str:
    """As S3 does: what XML 1.0 cannot hold goes as a reference all the same."""
    for plain, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(plain, entity)
    return _FORBIDDEN.sub(lambda found: f"&#{ord(found[0])};", text)


@dataclass
class Item:
    key: str
    size: int = 0
    e_tag: str | None = '"0f"'
    modified: str = MODIFIED

    def xml(self, url: bool = False) -> str:
        key = encoded(self.key) if url else self.key
        e_tag = "" if self.e_tag is None else f"<ETag>{escaped(self.e_tag)}</ETag>"
        return (
            f"<Contents><Key>{escaped(key)}</Key><LastModified>{self.modified}</LastModified>{e_tag}"
            f"<Size>{self.size}</Size><StorageClass>STANDARD</StorageClass>"
            "<Owner><ID>x</ID><DisplayName/></Owner></Contents>"
        )


def encoded(text: str) -> str:
    return quote_plus(text, safe="/", errors="surrogateescape")


def page(*content: Item | str, url: bool = False) -> bytes:
    """A page of items and of XML as it stands. Surrogates in it become the bytes they stand for."""
    parts = [each if isinstance(each, str) else each.xml(url) for each in content]
    if url:
        parts.insert(0, "<EncodingType>url</EncodingType>")
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="{NAMESPACE}">{"".join(parts)}'
    return f"{text}</ListBucketResult>".encode(errors="surrogateescape")


def prefixes(*names: str, url: bool = False) -> str:
    each = [escaped(encoded(name) if url else name) for name in names]
    return "".join(f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>" for name in each)


def meta(key: str, size: int = 0, e_tag: str | None = '"0f"', when: datetime = WHEN) -> dict[str, Any]:
    return {"path": key, "last_modified": when, "size": size, "e_tag": e_tag, "version": None}


def fields_by_etree(document: bytes) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []

    def visit(element: ET.Element, above: tuple[str, ...]) -> None:
        path = (*above, element.tag.rpartition("}")[2])
        if len(element) == 0:
            found.append(("/".join(path), element.text or ""))
        for child in element:
            visit(child, path)

    visit(ET.fromstring(document), ())
    return found


def page_by_etree(document: bytes, strip_prefix: str = "") -> tuple[Any, ...]:
    root = ET.fromstring(document)
    url = root.findtext("{*}EncodingType") == "url"

    def decoded(text: str | None) -> str | None:
        return unquote_plus(text, errors="surrogateescape") if text and url else text

    def cut(text: str | None) -> str:
        name = decoded(text) or ""
        assert name.startswith(strip_prefix)
        return name[len(strip_prefix) :]

    objects = [
        meta(
            cut(each.findtext("{*}Key")),
            int(each.findtext("{*}Size") or ""),
            each.findtext("{*}ETag") or None,
            datetime.fromisoformat((each.findtext("{*}LastModified") or "").replace("Z", "+00:00")),
        )
        for each in root.findall("{*}Contents")
    ]
    common = [cut(each.text) for each in root.findall("{*}CommonPrefixes/{*}Prefix")]
    truncated = root.findtext("{*}IsTruncated") == "true"
    token = root.findtext("{*}NextContinuationToken") or decoded(root.findtext("{*}NextMarker"))
    count = root.findtext("{*}KeyCount")
    prefix = decoded(root.findtext("{*}Prefix"))
    return objects, common, token if truncated else None, truncated, None if count is None else int(count), prefix
