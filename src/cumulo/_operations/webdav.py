"""list and list_with_delimiter by WebDAV: a collection a request (PROPFIND, RFC 4918 9.1), recursively.

Not with `Depth: infinity`, which most servers refuse, and which would be one document of any size. A page is a
collection's own objects, by name; those of its collections follow, in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from cumulo._drivers.effects import END, Plan
from cumulo._native import encode_path, xml_fields
from cumulo._providers.base import Listing
from cumulo._providers.http import date_of
from cumulo._records import record, replace
from cumulo.exceptions import GenericError, NotFoundError, NotSupportedError

from .follow import followed

if TYPE_CHECKING:
    from cumulo._config.http import HTTPTarget
    from cumulo._native import Request
    from cumulo._providers.http import HTTPProvider
    from cumulo._types import ObjectMeta

_ASKED = (
    b'<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/>'
    b"<getlastmodified/><getetag/></prop></propfind>"
)
_MOST_BYTES = 512 << 20
"""The longest answer that is read: about two million objects in one collection."""
_ENTRY = "multistatus/response/"
_PROPERTY = _ENTRY + "propstat/prop/"


@record
class _Entry:
    """One response of a multistatus."""

    path: str
    """Decoded, without a slash at its end."""
    is_collection: bool
    properties: dict[str, str]


class DavPages:
    """The pages of one listing. `next_page` gives the next, or `END`."""

    def __init__(
        self, provider: HTTPProvider, base: HTTPTarget, prefix: str, offset: str | None, *, delimiter: bool
    ) -> None:
        self._provider = provider
        self._base = base
        self._offset = offset
        self._delimiter = delimiter
        self._beginning = prefix
        self._left = [prefix[: prefix.rfind("/") + 1]]
        """Collections to be listed, the next at the end: empty, or ending in a slash."""
        self._first = True

    def next_page(self) -> Plan[Any]:
        while self._left:
            collection, first = self._left[-1], self._first  # cut short, it is asked again
            try:
                entries = yield from followed(self._provider, lambda at, of=collection: self._ask(at, of))
            except NotFoundError:
                self._answered()
                continue  # nothing is there, or not any more
            except NotSupportedError as error:
                if not first or error.status is None:
                    raise
                raise self._no_webdav(error) from error
            self._answered()
            return self._page(collection, entries)
        return END

    def _answered(self) -> None:
        self._left.pop()
        self._first = False

    def _no_webdav(self, error: NotSupportedError) -> NotSupportedError:
        told = f"{error}; to be listed, a server has to speak WebDAV (PROPFIND)"
        return NotSupportedError(told, **vars(error))

    def _ask(self, at: HTTPProvider, collection: str) -> Plan[list[_Entry]]:
        target = replace(self._base, base=encode_path(self._base.base, collection)) if collection else self._base
        headers = [("Depth", "1"), ("Content-Type", "application/xml; charset=utf-8")]
        request = at.request("list", "PROPFIND", collection, target=target, headers=headers, body=_ASKED,
                             collect_limit=_MOST_BYTES)  # fmt: skip
        yield request
        return _members(_entries(request), unquote(request.context.target.base.decode(), errors="replace"))

    def _page(self, collection: str, entries: Sequence[_Entry]) -> Listing:
        objects: list[ObjectMeta] = []
        inner: list[str] = []
        for entry in sorted(entries, key=lambda entry: entry.path):
            path = collection + entry.path
            if not (path + "/" if entry.is_collection else path).startswith(self._beginning):
                continue
            if entry.is_collection:
                inner.append(path)
            elif self._offset is None or path > self._offset:
                objects.append(_meta(path, entry.properties))
        if self._delimiter:
            return Listing(objects, inner, None)
        # What ends before the offset is not even asked for.
        wanted = [f"{path}/" for path in inner if self._offset is None or f"{path}/\U0010ffff" > self._offset]
        self._left += reversed(wanted)
        return Listing(objects, [], None)


def _meta(path: str, properties: dict[str, str]) -> ObjectMeta:
    size = -1  # a server that generates its content may not know
    with suppress(ValueError):
        size = int(properties.get("getcontentlength", ""))
    etag = properties.get("getetag") or None
    if etag is not None and not etag.endswith('"'):
        etag = f'"{etag}"'  # some servers leave the quotes out here
    modified = date_of(properties.get("getlastmodified"))
    return {"path": path, "last_modified": modified, "size": size, "e_tag": etag, "version": None}


def _entries(request: Request) -> list[_Entry]:
    """The responses of a multistatus. Entities are refused, and documents that are none or too long."""
    try:
        if request.response[0] != 207:
            raise ValueError(f"status {request.response[0]} in place of 207")
        fields = xml_fields(request.take_body(), limit_bytes=_MOST_BYTES)
        if not any(name == "multistatus" or name.startswith(_ENTRY) for name, _ in fields):
            raise ValueError("no multistatus document")
    except ValueError as error:
        context = request.context
        raise GenericError(
            f"list {context.path!r} in {context.store!r}: the answer to PROPFIND is no WebDAV listing: {error}",
            operation="list", store=repr(context.store), path=context.path, status=request.response[0],
            attempts=request.attempts,
        ) from error  # fmt: skip
    found: list[_Entry] = []
    for name, text in fields:
        if name == _ENTRY + "href":
            path = unquote(urlsplit(text.strip()).path, errors="replace")
            found.append(_Entry(path.rstrip("/"), path.endswith("/"), {}))
        elif found and name == _PROPERTY + "resourcetype/collection":
            found[-1].is_collection = True
        elif found and name.startswith(_PROPERTY) and text:
            found[-1].properties[name.removeprefix(_PROPERTY)] = text.strip()
    return found


def _members(entries: list[_Entry], asked: str) -> list[_Entry]:
    """The direct members, by name. Behind a proxy, a server may know the collection by another path than we do."""
    folders = {entry.path for entry in entries if entry.is_collection}
    own = asked.rstrip("/")
    if any(entry.path == own and not entry.is_collection for entry in entries) or not folders:
        return []  # an object
    below = (own if own in folders else min(folders, key=len)) + "/"
    members: list[_Entry] = []
    for entry in entries:
        name = entry.path.removeprefix(below)
        if entry.path.startswith(below) and name not in ("", ".", "..") and "/" not in name:
            members.append(_Entry(name, entry.is_collection, entry.properties))
    return members
