"""Plain HTTP (RFC 9110) and WebDAV (RFC 4918) requests for the objects below a URL.

A provider is of one place: the store's own URL, or where a redirect has led for one object (`after`). To another origin
go only headers that name nobody: no Authorization, no cookie of another host, none of the user's own headers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from cumulo._config.http import HTTPTarget, http_target
from cumulo._errors import Context
from cumulo._native import Client, Request, encode_path
from cumulo._records import replace
from cumulo.exceptions import GenericError, NotSupportedError

from .cookies import Cookies

if TYPE_CHECKING:
    from cumulo._config import ClientSettings
    from cumulo._keys import Keys
    from cumulo._operations.get import Wanted
    from cumulo._redirected import Redirected
    from cumulo._types import Attributes, ObjectMeta, PutResult
    from cumulo.exceptions import BaseError

    from .base import FilePart, PutPlan
    from .s3_bulk import S3Bulk

_ATTRIBUTES = {
    "content-disposition": "Content-Disposition",
    "content-encoding": "Content-Encoding",
    "content-language": "Content-Language",
    "content-type": "Content-Type",
    "cache-control": "Cache-Control",
}
_HARMLESS = frozenset({"accept", "accept-encoding", "accept-language", "user-agent"})
"""The headers of `default_headers` that also go to another origin."""
_READS = frozenset({"get", "get_range", "head", "list"})
_MOST_CLIENTS = 32
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class UnknownLengthError(GenericError):
    """The response comes in chunks, and its length shows at its end. For plans: users never see it."""


class Clients:
    """The native clients of one store in one process: its own, and those of where redirects have led."""

    def __init__(
        self, target: HTTPTarget, own: Client, settings: ClientSettings, make: Callable[[HTTPTarget, Any], Client]
    ) -> None:
        self.target = target
        self.own = own
        self._make = make
        harmless = tuple((name, value) for name, value in settings.default_headers if name in _HARMLESS)
        self._settings = replace(settings, default_headers=harmless)
        self._others: dict[tuple[str, str, int], Client] = {}
        self._lock = Lock()

    def of(self, target: HTTPTarget) -> Client:
        """The one for a target's origin."""
        if target.origin == self.target.origin:
            return self.own
        with self._lock:
            client = self._others.pop(target.origin, None) or self._make(target, self._settings)
            self._others[target.origin] = client  # the last used is the last
            if len(self._others) > _MOST_CLIENTS:
                del self._others[next(iter(self._others))]
            return client

    def stats(self) -> dict[str, int]:
        """The counters of all of them; what throttling has come to, of the store's own."""
        total = self.own.stats()
        with self._lock:
            others = [client.stats() for client in self._others.values()]
        for name in ("attempts", "bytes_received", "bytes_sent", "connections_opened", "errors", "requests", "retries",
                     "throttled"):  # fmt: skip
            total[name] += sum(other[name] for other in others)
        return total


class HTTPProvider:
    """The requests of one HTTP store. HTTP knows no uploads in parts."""

    bulk: S3Bulk | None = None
    bulk_delete_keys = 0
    checksum_algorithm: str | None = None
    accept_ranges = "none"

    def __init__(
        self, store: Any, clients: Clients, keys: Keys, settings: ClientSettings, cookies: Cookies | None,
        at: HTTPTarget | None = None,
    ) -> None:  # fmt: skip
        self._store = store
        self._clients = clients
        self._keys = keys
        self._settings = settings
        self.cookies = cookies
        self._at = at
        """Where a redirect has led; None for the store's own URL."""

    # -- where to

    def after(self, redirect: Redirected) -> HTTPProvider:
        """The same, for where a redirect leads. Raises `GenericError` when that is not to be followed."""
        context: Context = redirect.request.context
        went = context.target or self.target_of(context.path)
        if redirect.status == 303 and context.operation not in _READS:
            raise self._refused(redirect, "which is not where to write (303)")
        try:
            target = http_target(redirect.location, went.url)
        except ValueError as error:
            raise self._refused(redirect, str(error)) from None
        if went.tls and not target.tls and not self._settings.allow_http:
            raise self._refused(redirect, "away from TLS, which only allow_http allows")
        return self._elsewhere(target)

    def _elsewhere(self, at: HTTPTarget | None) -> HTTPProvider:
        return HTTPProvider(self._store, self._clients, self._keys, self._settings, self.cookies, at)

    @property
    def redirected(self) -> bool:
        return self._at is not None

    def at_home(self) -> HTTPProvider:
        """The same, for the store's own URL."""
        return self._elsewhere(None)

    def goes_to(self, target: HTTPTarget | None) -> bool:
        """Whether that is where requests go now."""
        return self._at == target

    def move(self, to: HTTPProvider) -> None:
        """Let what is asked for from now on go where `to`'s requests do."""
        self._at = to._at

    def _refused(self, redirect: Redirected, why: str) -> GenericError:
        context: Context = redirect.request.context
        told = f"{context.operation} {context.path!r} in {self._store!r}: redirected, {why}"
        details = {"operation": context.operation, "store": repr(self._store), "path": context.path}
        return GenericError(told, **details, status=redirect.status, attempts=redirect.attempts)

    def target_of(self, path: str) -> HTTPTarget:
        """Where a request for an object goes."""
        own = self._clients.target
        return self._at or replace(own, base=encode_path(own.base, self._keys.key(path)))

    def destination(self, path: str) -> str:
        """What a Destination header says of an object of this store (RFC 4918 10.3)."""
        own = self._clients.target
        return replace(own, base=encode_path(own.base, self._keys.key(path))).plain_url

    # -- making requests

    def request(
        self, operation: str, method: str, path: str, *, target: HTTPTarget | None = None, create: bool = False,
        headers: list[tuple[str, str]] | None = None, **options: Any,
    ) -> Request:  # fmt: skip
        """Any request; `target` for one that is not of an object."""
        target = self._at or target or self.target_of(path)
        sent = list(headers or ())
        if self.cookies is not None:
            sent += self.cookies.header(target)
        context = Context(self._store, operation, path, create, target)
        client = self._clients.of(target)
        return Request(client, method, target.base + target.query, headers=sent, context=context, **options)

    def keep_cookies(self, request: Request, headers: dict[str, str]) -> None:
        """Keep what a response sets, where cookies are kept."""
        if self.cookies is not None and "set-cookie" in headers:
            self.cookies.keep(request.context.target or self.target_of(request.context.path), headers)

    def get(self, path: str, wanted: Wanted) -> Request:
        _check_version(wanted)
        return self.request("get", "GET", path, headers=wanted.headers, range=wanted.range, sink="stream",
                            announce_headers=True, verify=wanted.range is None, cut=True)  # fmt: skip

    def get_span(self, path: str, start: int, end: int) -> Request:
        return self.request("get_range", "GET", path, range=("bounded", start, end), sink="buffer", cut=True)

    def get_part(
        self, path: str, version: str | None, etag: str, span: tuple[int, int], *, digest: str | None, sink: str
    ) -> Request:
        headers = [("If-Match", etag)]
        return self.request("get", "GET", path, headers=headers, range=("bounded", *span), sink=sink, digest=digest)

    def head(self, path: str, wanted: Wanted) -> Request:
        _check_version(wanted)
        return self.request("head", "HEAD", path, headers=wanted.headers)

    def put(
        self, path: str, plan: PutPlan, *, body: Any = None, file: FilePart | None = None, checksum: str | None = None
    ) -> Request:
        headers = [(name.title(), value) for name, value in plan.attributes.items()]
        if self._settings.default_content_type and "content-type" not in {name.lower() for name in plan.attributes}:
            headers.append(("Content-Type", self._settings.default_content_type))
        if plan.create:
            headers.append(("If-None-Match", "*"))
        elif plan.if_match:
            headers.append(("If-Match", plan.if_match))
        return self.request("put", "PUT", path, headers=headers, body=body, file=file, create=plan.create)

    def delete(self, path: str, version: str | None = None) -> Request:
        return self.request("delete", "DELETE", path)

    def can_bulk_delete(self, path: str) -> bool:
        return False

    def bulk_delete(self, paths: Sequence[str]) -> Request:
        raise NotImplementedError  # never called: there are no bulk deletes

    def bulk_deleted(self, request: Request) -> tuple[Sequence[str], Sequence[BaseError]]:
        raise NotImplementedError

    def transfer(self, operation: str, method: str, source: str, target: str, *, overwrite: bool) -> Request:
        """COPY or MOVE (RFC 4918 9.8, 9.9). A collection is not copied with all that is in it."""
        headers = [("Destination", self.destination(target)), ("Overwrite", "T" if overwrite else "F")]
        if method == "COPY":
            headers.append(("Depth", "0"))
        return self.request(operation, method, source, headers=headers, create=not overwrite)

    def make_collection(self, operation: str, path: str, base: bytes) -> Request:
        """MKCOL (RFC 4918 9.3) of a collection by its path on the server, as part of what is done to `path`."""
        return self.request(operation, "MKCOL", path, target=replace(self._clients.target, base=base))

    def parents(self, path: str) -> list[bytes]:
        """The collections an object is in, from its own up to the server's root, as paths on the server."""
        found: list[bytes] = []
        whole = self.target_of(path).base
        while (whole := whole.rstrip(b"/").rpartition(b"/")[0] + b"/") != b"/":
            found.append(whole)
        return found

    # -- reading responses

    def meta(self, path: str, request: Request, size: int | None = None) -> ObjectMeta:
        """`size`: where it is known from elsewhere."""
        _, headers, length, found = request.response
        size = found[2] if found is not None else length if size is None else size
        if size is None:
            told = f"{request.context.operation} {path!r} in {self._store!r}: the server gives no Content-Length"
            raise UnknownLengthError(told, operation=request.context.operation, store=repr(self._store), path=path)
        return {
            "path": path.removeprefix("/").removesuffix("/"),
            "last_modified": date_of(headers.get("last-modified")),
            "size": size,
            "e_tag": headers.get("etag"),
            "version": None,
        }

    def attributes(self, request: Request) -> Attributes:
        headers = request.response[1]
        return {name: headers[header] for header, name in _ATTRIBUTES.items() if header in headers}

    def put_result(self, request: Request) -> PutResult:
        return {"e_tag": request.response[1].get("etag"), "version": None}

    def probe(self, path: str) -> Request:
        return self.request("head", "HEAD", path)

    def age_s(self, head: Request) -> float | None:
        headers = head.response[1]
        if "date" not in headers or "last-modified" not in headers:
            return None
        return (date_of(headers["date"]) - date_of(headers["last-modified"])).total_seconds()

    def is_stored_as(self, head: Request, size: int, md5: str, checksum: str | None) -> bool:
        """Few servers say what content they hold; an ETag that is its MD5 does."""
        _, headers, length, _ = head.response
        return size > 0 and length == size and headers.get("etag", "").strip('"') == md5


def kept(attributes: Attributes) -> Attributes:
    """Those that servers of files can keep, or at least know a header for."""
    return {name: value for name, value in attributes.items() if name.lower() in _ATTRIBUTES}


def check_attributes(plan: PutPlan) -> None:
    """Raises for what a server of files does not keep with them."""
    other = [name for name in plan.attributes if name.lower() not in _ATTRIBUTES]
    if other:
        raise NotSupportedError(f"HTTP has no header to keep the attribute {other[0]!r} with")
    if plan.tags:
        raise NotSupportedError("HTTP knows no tags")


def _check_version(wanted: Wanted) -> None:
    if wanted.version is not None:
        raise NotSupportedError("HTTP knows no versions")


@lru_cache(maxsize=256)
def date_of(text: str | None) -> datetime:
    """An HTTP date; 1970 where there is none, or none that makes sense."""
    try:
        found = parsedate_to_datetime(text or "")
    except (ValueError, TypeError, IndexError, OverflowError):
        return EPOCH
    return found if found.tzinfo is not None else found.replace(tzinfo=timezone.utc)
