"""An object on its way from one store to another: what a get gives as what a put takes.

The put asks for the content part by part, in order; what is read ahead of it, and where from, is the body's. So parts
are read while others are sent, and no more is held than both have under way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cumulo._drivers.effects import Plan
from cumulo._records import field, record
from cumulo._result import HeldBody
from cumulo.exceptions import GenericError

from .get import get_response
from .sources import MemorySource, Source, StreamSource

if TYPE_CHECKING:
    from cumulo._providers.base import Provider
    from cumulo._result import Body, GetResult
    from cumulo._types import Attributes


@record
class Opened:
    """An object that is about to be copied: its content, and what else belongs to it."""

    source: Source
    attributes: Attributes = field(default_factory=dict[str, str])
    tags: dict[str, str] = field(default_factory=dict[str, str])


class BodySource(StreamSource):
    """A body as the content of a put. Ends only when the body has ended well: its checksum too is right then."""

    def __init__(self, body: Body, size: int | None) -> None:
        super().__init__(None)
        self._body = body
        self._begun = False
        self._left = size
        self.size = size

    def part_in_pieces(self, start: int, length: int) -> Plan[dict[str, Any]]:
        """Exactly `length` bytes, or fewer at the end."""
        if self._left is None:
            return (yield from super().part_in_pieces(start, length))
        if self._left <= length and not self._begun:
            self._begun = self._ended = True
            self._left = 0
            return {"body": memoryview((yield from self._body.collect()))}
        length = min(length, self._left)
        part: dict[str, Any] = yield from super().part_in_pieces(start, length)
        self._left -= length
        if self._left == 0:
            yield from self.gather(1)  # its end, which may be bad still
        if len(part["body"]) < length or self._have > self._left:
            raise GenericError(f"copy: the source has other than the {self.size} bytes it was said to have")
        return part

    def _take(self, length: int) -> Plan[Any]:
        self._begun = True
        return (yield from self._body.next_chunk(length))

    def give_up(self) -> Plan[None]:
        yield from ()

    def close(self) -> None:
        super().close()
        self._body.close()


def open_object(provider: Provider, path: str, part_bytes: int, max_concurrency: int) -> Plan[Opened]:
    """One version of an object of a provider's, to be read in parts."""
    result, request = yield from get_response(provider, path, None, part_bytes, max_concurrency)
    found = opened(result)
    try:
        if provider.has_tags(request):
            tags = provider.get_tags(path)
            yield tags
            found.tags = provider.tags(tags)
        return found
    except BaseException:
        found.source.close()
        raise


def opened(result: GetResult) -> Opened:
    """The result of a get, to be consumed by a put."""
    start, end = result.range
    body = result._consume()
    if isinstance(body, HeldBody):
        return Opened(MemorySource(body.content), result.attributes)
    size = end - start if end >= start else None  # a web server need not say it
    return Opened(BodySource(body, size), result.attributes)
