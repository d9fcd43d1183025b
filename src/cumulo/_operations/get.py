"""get, get_ranges and head over any provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TypeAlias

from cumulo._drivers.effects import Plan, Start, Until
from cumulo._given import flag, given_as
from cumulo._native import Bytes, new_chunk
from cumulo._result import Body, GetResult, HeldBody, RequestBody
from cumulo.exceptions import ObjectChangedError, PreconditionError, RangeNotSatisfiableError

from . import ranges
from .parts import DEFAULT_PART_BYTES, Source, check_parts
from .streamed import PartsBody

if TYPE_CHECKING:
    from cumulo._native import Request
    from cumulo._providers.base import Objects
    from cumulo._types import Attributes, GetOptions, ObjectMeta

Unsized: TypeAlias = "Callable[[Any, str, Request, Wanted], Plan[GetResult]]"

_OPTIONS = frozenset(
    ("if_match", "if_none_match", "if_unmodified_since", "if_modified_since", "range", "version", "head")
)


class Wanted:
    """Checked `GetOptions`: `headers` are the conditions, ready to send."""

    __slots__ = ("head", "headers", "range", "version")

    def __init__(self, options: GetOptions | Mapping[str, Any] | None) -> None:
        given: Mapping[str, Any] = given_as("options", options)
        if unknown := set(given) - _OPTIONS:
            raise ValueError(f"unknown get option {min(unknown)!r}; there are {', '.join(sorted(_OPTIONS))}")
        self.range = ranges.of_option(given.get("range"))
        version = given.get("version")
        self.version: str | None = None if version is None else token_value("version", version)
        self.head = flag("head", given.get("head", False))
        self.headers = list(_conditions(given))

    def unconditional(self) -> Wanted:
        """The same version, whatever the conditions."""
        return Wanted({"version": self.version})


def _conditions(given: Mapping[str, Any]) -> list[tuple[str, str]]:
    headers: list[tuple[str, str]] = []
    for option, name in (("if_match", "If-Match"), ("if_none_match", "If-None-Match")):
        if given.get(option) is not None:
            headers.append((name, token_value(option, given[option])))
    for option, name in (("if_modified_since", "If-Modified-Since"), ("if_unmodified_since", "If-Unmodified-Since")):
        if given.get(option) is not None:
            headers.append((name, _http_date(option, given[option])))
    return headers


def header_value(what: str, value: object) -> str:
    """A string that can stand in a header (RFC 9110 5.5). Raises before anything could be injected."""
    text = utf8_text(what, value)
    if any((ord(c) < 32 and c != "\t") or ord(c) == 127 for c in text):
        raise ValueError(f"{what} can't hold control characters: {value!r}")
    return text


def utf8_text(what: str, value: object) -> str:
    """A str that can be sent."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} can't be encoded as UTF-8: {value!r}") from None
    return value


def token_value(what: str, value: object) -> str:
    """An ETag or a version. None is the way to leave it out: servers pass over an empty one, and its condition."""
    text = header_value(what, value)
    if not text.strip():
        raise ValueError(f"{what} can't be empty")
    return text


def _http_date(what: str, value: object) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"{what} must be a datetime, not {type(value).__name__}")
    if value.tzinfo is None:
        raise ValueError(f"{what} must have a time zone, such as datetime.timezone.utc")
    from email.utils import format_datetime  # here: it takes long to import

    return format_datetime(value.astimezone(timezone.utc), usegmt=True)


def get(
    provider: Objects,
    path: str,
    options: GetOptions | None,
    part_size: int | None = None,
    max_concurrency: int | None = None,
    unsized: Unsized | None = None,
    *,
    at_once: bool = False,
) -> Plan[GetResult]:
    """One request; its body waits until the result is consumed. Then, if it is large, others fetch parts of it.

    `unsized` makes the result of a response without a length. `at_once`: the content is what is wanted; when that is
    short, the result comes with it and not before.
    """
    result, _ = yield from get_response(provider, path, options, part_size, max_concurrency, unsized, at_once=at_once)
    return result


def get_response(
    provider: Objects,
    path: str,
    options: GetOptions | None,
    part_size: int | None = None,
    max_concurrency: int | None = None,
    unsized: Unsized | None = None,
    *,
    at_once: bool = False,
) -> Plan[tuple[GetResult, Request]]:
    """`get`'s result, and the request whose headers it is of."""
    wanted = Wanted(options)
    part_bytes, most = check_parts(part_size, max_concurrency)
    if wanted.head:
        request = provider.head(path, wanted)
        yield request
        meta = provider.meta(path, request)
        return without_content(meta, provider.attributes(request)), request
    request = provider.get(path, wanted)
    request.mark_digest(part_bytes)
    if at_once:
        request.expect_whole()
    try:
        yield Start(request)
        yield Until(request, headers=True)
        if unsized is not None and request.response[2:] == (None, None):
            return (yield from unsized(provider, path, request, wanted)), request
        return _result_of(provider, path, request, wanted, part_bytes, most), request
    except BaseException:  # Ctrl-C too, and headers that make no sense: nobody will read the body
        request.cancel()
        raise


def without_content(meta: ObjectMeta, attributes: Attributes) -> GetResult:
    """The result where only the metadata was asked for."""
    return GetResult(HeldBody(Bytes(b"")), meta, (0, meta["size"]), attributes)


def _result_of(provider: Objects, path: str, request: Request, wanted: Wanted, part_bytes: int, most: int) -> GetResult:
    meta = provider.meta(path, request)
    span = span_of(request, wanted, meta)
    source = Source(provider, path, request, wanted, span)
    body: Body
    if most > 1 and source.size > part_bytes and request.prefetched is None and source.serves_parts():
        body = PartsBody(source, part_bytes, most)
    else:
        body = RequestBody(request)
    return GetResult(body, meta, span, provider.attributes(request))


def span_of(request: Request, wanted: Wanted, meta: ObjectMeta) -> tuple[int, int]:
    """(start, end) in the object of what a response holds."""
    found = request.response[3]
    return (found[0], found[1]) if found is not None and wanted.range is not None else (0, meta["size"])


def head(provider: Objects, path: str) -> Plan[ObjectMeta]:
    """The metadata, without content."""
    request = provider.head(path, Wanted(None))
    yield request
    return provider.meta(path, request)


def get_range(provider: Objects, path: str, start: int, end: int) -> Plan[Bytes]:
    """Bytes `start` to `end`. (Short ones take the native short cut instead, in synchronous and asyncio calls.)"""
    if end - start > DEFAULT_PART_BYTES:
        result = yield from get(provider, path, {"range": (start, end)})
        return (yield from result._consume().collect())
    request = provider.get_span(path, start, end)
    request.feed_target(end - start)
    yield request
    return request.take_target()


def get_pinned(provider: Objects, path: str, etag: str, start: int, end: int) -> Plan[bytes]:
    """Bytes `start` to `end` of the version with this strong ETag."""
    request = provider.get_part(path, None, etag, (start, end), digest=None, sink="buffer")
    content = new_chunk(end - start, must=True)
    assert content is not None
    request.feed_into(content, 0, end - start)
    yield request
    found = request.response[1].get("etag")
    if found != etag:  # a server that takes no notice of If-Match
        raise PreconditionError(
            f"get {path!r} in {request.context.store!r}: its ETag is {found}, not {etag}", path=path
        )
    return content.take()[: request.progress[3]]


def get_ranges(provider: Objects, path: str, wanted: Sequence[tuple[int, int]], coalesce: int) -> Plan[list[Bytes]]:
    """Near ranges as one request, all requests at once; each range into memory of its own."""
    groups = ranges.coalesced(wanted, coalesce)
    requests = [_group_request(provider, path, group) for group in groups]
    try:
        for request in requests:
            yield Start(request)
        for request in requests:
            yield Until(request)
    except BaseException:
        for request in requests:
            request.cancel()
        raise
    check_same_object("get_ranges", path, requests)
    check_starts("get_ranges", path, groups, requests)
    results: list[Bytes] = [Bytes(b"")] * len(wanted)
    for group, request in zip(groups, requests, strict=True):
        _place(group, request, results)
    return results


def _group_request(provider: Objects, path: str, group: ranges.Group) -> Request:
    request = provider.get_span(path, group.start, group.end)
    if group.disjoint:
        request.feed_scatter([(start - group.start, end - group.start) for start, end, _ in group.members])
    else:
        request.feed_target(group.end - group.start)
    return request


def _place(group: ranges.Group, request: Request, results: list[Bytes]) -> None:
    if group.disjoint:
        for (_, _, index), part in zip(group.members, request.take_scatter(), strict=True):
            results[index] = part
        return
    whole = request.take_target()
    for start, end, index in group.members:
        results[index] = whole[start - group.start : end - group.start]


def check_starts(operation: str, path: str, groups: Sequence[ranges.Group], requests: Sequence[Request]) -> None:
    """Raises if a range begins behind the object's end: within a group, a server does not say so."""
    for group, request in zip(groups, requests, strict=True):
        size, last = group.start + request.progress[3], group.members[-1][0]
        if last >= size:
            store = repr(request.context.store)
            raise RangeNotSatisfiableError(
                f"{operation} {path!r} in {store}: the range starts at {last}, but the object has {size} bytes",
                operation=operation, store=store, path=path, attempts=request.attempts,
            )  # fmt: skip


def check_same_object(operation: str, path: str, requests: Sequence[Request]) -> None:
    """Raises if the requests found different versions of the object."""
    etags = {request.response[1].get("etag") for request in requests} - {None}
    dates = {request.response[1].get("last-modified") for request in requests} - {None}
    if len(etags or dates) > 1:
        name = "ETags" if etags else "dates"
        told = " and ".join(sorted(str(each) for each in etags or dates))
        store = repr(requests[0].context.store)
        raise ObjectChangedError(
            f"{operation} {path!r} in {store}: the object was replaced while it was read: its {name} were {told}",
            operation=operation,
            store=store,
            path=path,
            attempts=sum(request.attempts for request in requests),
        )
