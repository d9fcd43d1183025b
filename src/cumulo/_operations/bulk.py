"""Large transfers by a provider's bulk client (S3: aws-c-s3), where one has been chosen: the same verbs, one request
each, that is many inside.

The bulk client aborts an upload that fails or is cancelled by itself; the plans wait for that.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from cumulo._drivers.effects import Call, Plan, Start, Until
from cumulo._native import Request, write_bulk
from cumulo.exceptions import BaseError

from .sources import StreamSource

if TYPE_CHECKING:
    from cumulo._providers.base import Objects, PutPlan
    from cumulo._providers.s3_bulk import S3Bulk

    from .sources import Source


def taking(provider: Objects, job: str | None) -> S3Bulk | None:
    """The provider's bulk client, if it is to do this job; None is no job of its."""
    client = provider.bulk
    return client if job is not None and client is not None and client.takes(job) else None


def perform(bulk: S3Bulk, request: Request) -> Plan[Request]:
    """Carry out a job. When this raises, nothing of it goes on."""
    if not bulk.is_ready:
        yield Call(bulk.prepare)
    try:
        yield Start(request)
        yield Until(request)
    except BaseException as error:
        yield from _stop(request, error)
        raise
    return request


def _stop(request: Request, why: BaseException) -> Plan[None]:
    request.cancel()
    if not request.submitted or isinstance(why, GeneratorExit):  # the call was dropped: nobody runs another effect
        return
    with suppress(BaseError):  # its end, once what had begun at the server is taken back
        yield Until(request)


def upload(bulk: S3Bulk, path: str, source: Source, plan: PutPlan, *, part_bytes: int, most: int) -> Plan[Request]:
    """A multipart upload."""
    if not isinstance(source, StreamSource):
        assert source.size is not None
        content = yield from source.part(0, source.size)
        request = bulk.put(path, plan, content, part_bytes=part_bytes, most=most)
        return (yield from perform(bulk, request))
    if not bulk.is_ready:
        yield Call(bulk.prepare)
    request = bulk.put(path, plan, None, part_bytes=part_bytes, most=most)
    try:
        yield Start(request)
        yield from _write_all(request, source, part_bytes)
        yield Until(request)
    except BaseException as error:
        yield from _stop(request, error)
        raise
    return request


def _write_all(request: Request, source: StreamSource, part_bytes: int) -> Plan[None]:
    content = yield from source.part(0, part_bytes)
    while len(content["body"]) > 0:
        yield from _write(request, memoryview(content["body"]), end=False)
        content = yield from source.part(0, part_bytes)
    yield from _write(request, memoryview(b""), end=True)


def _write(request: Request, view: memoryview, *, end: bool) -> Plan[None]:
    while True:
        wakes = request.progress[2]
        taken = write_bulk(request, view, end)
        if taken is None:
            yield Until(request, pieces=wakes + 1)
            continue
        if taken < 0:
            yield Until(request)  # it has failed: this raises why
            return
        view = view[taken:]
        if len(view) == 0:
            return
