"""put: one request, or a multipart upload that is completed or aborted, never left."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from cumulo._drivers.effects import Call, Plan
from cumulo.exceptions import BaseError, GenericError, NotSupportedError

from . import bulk, doubt
from .get import header_value, token_value, utf8_text
from .multipart import Upload
from .sources import (
    FileSource,
    MemorySource,
    Source,
    StreamSource,
    check,
    comes_in_pieces,
    md5_of,
    size_of,
    sum_ahead,
    with_checksum,
    with_source,
)

if TYPE_CHECKING:
    from cumulo._native import Request
    from cumulo._providers.base import Objects, Provider, PutPlan
    from cumulo._providers.s3_bulk import S3Bulk
    from cumulo._types import PutResult

    from .resume import Keep

_GROW_EVERY = 900
"""Parts of an upload of unknown length double in size after so many: 10,000 of them then hold 5 TiB."""


def checked(attributes: Any, tags: Any, mode: Any, *, by_version: bool = False) -> PutPlan:
    """`attributes`, `tags` and `mode`, checked before any request. With `by_version` an update may name a version."""
    from cumulo._providers.base import PutPlan

    plan = PutPlan()
    for name, value in _items(attributes):
        header_value("an attribute's name", name)
        if not name or not name.isascii() or any(c in '()<>@,;:\\"/[]?={} \t' for c in name):
            raise ValueError(f"{name!r} can't be the name of an attribute (it becomes part of a header's name)")
        plan.attributes[name] = header_value(f"attribute {name!r}", value)
    for name, value in _items(tags):
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError("tags must be strings")
        plan.tags[utf8_text("a tag's name", name)] = utf8_text(f"tag {name!r}", value)
    if isinstance(mode, Mapping):
        _update(plan, cast("Mapping[str, Any]", mode), by_version=by_version)
    elif mode == "create":
        plan.create = True
    elif mode not in (None, "overwrite"):
        raise ValueError(f"mode must be 'create', 'overwrite' or a dict with e_tag, not {mode!r}")
    return plan


def _update(plan: PutPlan, mode: Mapping[str, Any], *, by_version: bool) -> None:
    etag, version = mode.get("e_tag"), mode.get("version")
    if by_version and version is not None:
        plan.if_version = token_value("version", version)
    elif etag is not None:
        plan.if_match = token_value("e_tag", etag)
    else:
        raise ValueError(f"an update needs the e_tag {'or the version ' if by_version else ''}of what it replaces")


def _items(mapping: Any) -> list[tuple[Any, Any]]:
    return list(dict(mapping or {}).items())


def put(
    provider: Provider,
    path: str,
    content: Any,
    plan: PutPlan,
    *,
    use_multipart: bool | None,
    chunk_bytes: int,
    max_concurrency: int,
    keep: Keep | None = None,
) -> Plan[PutResult]:
    """Upload what `content` holds. `keep`: so that another process can go on with it."""
    check_numbers(chunk_bytes, max_concurrency)
    made = _Put(provider, path, plan, use_multipart, chunk_bytes, max_concurrency, keep)
    return (yield from with_source(content, made.run))


def check_numbers(chunk_bytes: Any, max_concurrency: Any) -> None:
    """The arguments chunk_size and max_concurrency. Raises `ValueError` for what makes no sense."""
    for name, value in (("chunk_size", chunk_bytes), ("max_concurrency", max_concurrency)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a positive integer, not {value!r}")


def part_bytes(provider: Provider, chunk_bytes: int, size: int | None, number: int) -> int:
    """The size of part `number` (from 1): as asked for, but never so small that the parts run out."""
    base = min(max(chunk_bytes, provider.min_part_bytes), provider.max_part_bytes)
    if size is not None:
        needed = -(-size // provider.max_parts)
        return max(base, -(-needed // (1 << 20)) << 20 if needed > base else base)
    return min(base << ((number - 1) // _GROW_EVERY), provider.max_part_bytes)


class _Put:
    """One put: chooses between a request and an upload in parts."""

    def __init__(
        self,
        provider: Provider,
        path: str,
        plan: PutPlan,
        use_multipart: bool | None,
        chunk_bytes: int,
        max_concurrency: int,
        keep: Keep | None,
    ) -> None:
        self._provider = provider
        self._path = path
        self._plan = plan
        self._use_multipart = use_multipart
        self._chunk_bytes = chunk_bytes
        self._most = max_concurrency
        self._keep = keep if use_multipart is not False and not self._one_request() else None

    def run(self, source: Source) -> Plan[PutResult]:
        """Send what the source holds."""
        try:
            size = source.size
            if size is None:
                assert isinstance(source, StreamSource)
                return (yield from self._stream(source))
            if self._keep is not None and isinstance(source, FileSource):
                return (yield from self._resumable(self._keep, source, size))
            if size == 0 or size <= self._whole_bytes(source):
                return (yield from self._whole(source, size))
            if self._use_multipart is False or self._one_request():
                raise self._too_large(f"{size} bytes are more than one request may hold")
            return (yield from self._parts(source))
        except GenericError as error:
            if type(error) is GenericError:  # perhaps because of what others did to a file meanwhile: that says more
                yield from check(source)
            raise

    def _one_request(self) -> bool:
        """Whether it must be one, as parts could not meet the condition."""
        return self._plan.conditional and not self._provider.conditional_uploads

    def _whole_bytes(self, source: Source) -> int:
        """Up to which size it is one request; no larger than all parts under way where it has to be held for that."""
        most = self._provider.max_put_bytes
        held = comes_in_pieces(source, self._chunk_bytes)
        if self._one_request():
            return min(most, self._chunk_bytes * self._most) if held else most
        if self._use_multipart:
            return 0
        whole = (self._plan.conditional and not held and self._keep is None) or self._use_multipart is False
        return most if whole else min(self._chunk_bytes, most)

    def _stream(self, source: StreamSource) -> Plan[PutResult]:
        """The beginning decides: what is shorter than a part is one request."""
        if self._use_multipart is False or self._one_request():
            most = self._provider.max_put_bytes
            if (yield from source.gather(most + 1)) > most:
                raise self._too_large("more than one request may hold; allow use_multipart")
            return (yield from self._whole(source, most))
        part = part_bytes(self._provider, self._chunk_bytes, None, 1)
        if not self._use_multipart and (yield from source.gather(part)) < part:
            return (yield from self._whole(source, part))
        return (yield from self._parts(source))

    def _whole(self, source: Source, length: int) -> Plan[PutResult]:
        part = yield from source.part_in_pieces(0, length)
        return (yield from put_whole(self._provider, self._path, source, part, self._plan))

    def _parts(self, source: Source) -> Plan[PutResult]:
        client = self._provider.bulk
        # aws-c-s3 would send what fits in a part in one request, whatever was asked for.
        large = source.size is None or source.size > part_bytes(self._provider, self._chunk_bytes, source.size, 1)
        if client is not None and large and self._plan.if_match is None and client.takes(_job(source)):
            return (yield from self._bulk(client, source))
        upload = Upload(self._provider, self._path, self._plan, self._most)
        return (yield from upload.run(lambda: self._send(upload, source)))

    def _resumable(self, keep: Keep, source: FileSource, size: int) -> Plan[PutResult]:
        part = part_bytes(self._provider, self._chunk_bytes, size, 1)
        from .resume import KeptUpload  # with what tokens need

        upload = KeptUpload(self._provider, self._path, self._plan, self._most, keep, source, part)
        yield from upload.find()
        if not upload.id and (size == 0 or size <= self._whole_bytes(source)):
            result = yield from self._whole(source, size)
        else:
            result = yield from upload.run(lambda: self._send(upload, source, upload.part_bytes))
        yield Call(upload.forget)
        return result

    def _bulk(self, client: S3Bulk, source: Source) -> Plan[PutResult]:
        part = part_bytes(self._provider, self._chunk_bytes, source.size, 1)
        done = yield from bulk.upload(client, self._path, source, self._plan, part_bytes=part, most=self._most)
        yield from check(source)
        return self._provider.put_result(done)

    def _send(self, upload: Upload, source: Source, part: int | None = None) -> Plan[None]:
        at, number = 0, 1
        while source.size is None or at < source.size:
            yield from upload.room()  # before the part is there, which may be memory
            length = part or part_bytes(self._provider, self._chunk_bytes, source.size, number)
            if not upload.has(number) and not (yield from self._send_part(upload, source, number, at, length)):
                break
            at += length
            number += 1
        yield from upload.rest()
        yield from check(source)

    def _send_part(self, upload: Upload, source: Source, number: int, at: int, length: int) -> Plan[bool]:
        """False when there is no such part."""
        if source.size is not None:
            length = min(length, source.size - at)
        # What comes in pieces is in memory only because it is to be sent.
        memory = (yield from upload.reserve(length)) if isinstance(source, StreamSource) else None
        part = yield from source.part_in_pieces(at, length)
        if source.size is None and len(part["body"]) == 0 and number > 1:
            return False
        if number > self._provider.max_parts:
            raise self._too_large("the object is larger than its parts can hold")
        part = yield from with_checksum(source, self._provider.checksum_algorithm, part)
        request = self._provider.put_part(self._path, upload.id, number, **part)
        yield from sum_ahead(source, part, request)
        yield from upload.start(request, number, memory)
        return True

    def _too_large(self, why: str) -> NotSupportedError:
        return NotSupportedError(f"put {self._path!r}: {why}", operation="put", path=self._path)


def _job(source: Source) -> str:
    return (
        "put_stream" if isinstance(source, StreamSource) else "put" if isinstance(source, MemorySource) else "put_file"
    )


def put_whole(provider: Objects, path: str, source: Source, part: dict[str, Any], plan: PutPlan) -> Plan[PutResult]:
    """All of it in one request."""
    part = yield from with_checksum(source, provider.checksum_algorithm, part)
    began = monotonic()
    request = provider.put(path, plan, **part)
    yield from sum_ahead(source, part, request)
    try:
        yield request
    except BaseError as error:
        if not doubt.is_in_doubt(request, error):
            raise
        request = yield from _stored_before(provider, path, part, began)
        if request is None:
            raise doubt.told(error) from error
    yield from check(source)
    return provider.put_result(request)


def _stored_before(provider: Objects, path: str, part: dict[str, Any], began: float) -> Plan[Request | None]:
    """The HEAD of the object, if an earlier attempt has stored this content."""
    head = yield from doubt.probed(provider, path, began)
    if head is not None:
        digest = yield Call(md5_of, part)
        if provider.is_stored_as(head, size_of(part), digest, part.get("checksum")):
            return head
    return None
