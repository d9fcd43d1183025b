"""Reading into memory that the caller owns: `get_into`, `get_range_into`, `get_ranges_into`.

The buffer is exported for the time of the call only. When a plan here has returned, raised or been closed, no byte is
written to it any more: every request that had room in it has ended or been cancelled, and a cancel is complete when it
returns.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from cumulo._drivers.effects import END, Plan, Start, Until
from cumulo._native import Exported
from cumulo._result import GetResult, HeldBody

from . import bulk, ranges
from .get import Wanted, check_same_object, check_starts, span_of
from .in_order import InMemory, Place
from .parts import Filling, Record, Source, check_parts
from .sources import holds_objects

if TYPE_CHECKING:
    from cumulo._native import Request
    from cumulo._providers.base import Objects
    from cumulo._types import ObjectMeta

_STEP_BYTES = 1 << 20


def writable(buffer: Any) -> memoryview:
    """The memory of any writable, C-contiguous buffer as bytes, or that of a torch tensor in the CPU's memory.

    Raises `TypeError` for what is no buffer or read-only, `ValueError` for what is not contiguous and for tensors that
    require grad.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(buffer, torch.Tensor):
        buffer = _of_tensor(torch, buffer)
    try:
        given = memoryview(buffer)
    except TypeError:
        raise TypeError(f"the target must be a writable buffer, not {type(buffer).__name__}") from None
    except ValueError as error:  # released, closed, or NumPy's dates
        raise ValueError(f"the target ({type(buffer).__name__}) gives no memory: {error}") from None
    with given:
        if given.readonly:
            raise TypeError(f"the target ({type(buffer).__name__}) is read-only")
        if holds_objects(given):
            raise TypeError(
                f"the target ({type(buffer).__name__}) holds references to Python objects, not their content"
            )
        if not given.c_contiguous:
            raise ValueError("the target must be C-contiguous")
    return memoryview(Exported(buffer))


@contextmanager
def all_writable(buffers: Sequence[Any]) -> Generator[list[memoryview]]:
    """`writable` of each."""
    with ExitStack() as stack:
        yield [stack.enter_context(writable(buffer)) for buffer in buffers]


def _of_tensor(torch: Any, tensor: Any) -> Any:
    if tensor.device.type != "cpu":
        raise TypeError(f"the tensor is on {tensor.device}: give one in the CPU's memory")
    if tensor.requires_grad:
        raise ValueError("the tensor requires grad, and gradients would be of other values: give its detach()")
    try:
        if not tensor.is_contiguous():
            raise ValueError("the target must be C-contiguous")
        memory = tensor.view(-1).view(torch.uint8).numpy()  # shares the tensor's memory; numpy lacks some types
    except RuntimeError as error:  # sparse, nested, lazily conjugated ...
        raise ValueError(f"the tensor has no plain memory: {error}") from None
    if not tensor.is_inference():
        torch.autograd.graph.increment_version(tensor)  # so that what autograd has saved of it counts as changed
    return memory


def checked(options: Any) -> Wanted:
    """`GetOptions` for a read into memory."""
    wanted = Wanted(options)
    if wanted.head:
        raise ValueError("this reads content: the option head makes no sense with it")
    return wanted


def range_of(buffer: memoryview, start: int, end: int | None, length: int | None) -> tuple[int, int]:
    """The span that fills `buffer`. Raises `ValueError` when another was asked for."""
    if end is None and length is None:
        length = buffer.nbytes
    first, last = ranges.span(start, end, length)
    if last - first != buffer.nbytes:
        raise ValueError(f"the range has {last - first} bytes, the buffer {buffer.nbytes}")
    return first, last


def spans_of(views: Sequence[memoryview], starts: Sequence[int]) -> list[tuple[int, int]]:
    """The spans that fill the buffers. Raises `ValueError` when there are not as many starts."""
    if len(starts) != len(views):
        raise ValueError(f"{len(starts)} starts but {len(views)} buffers: they must be as many")
    return ranges.spans(starts, None, [view.nbytes for view in views])


def _too_large(path: str, size: int, capacity: int) -> ValueError:
    return ValueError(f"{path!r} has {size} bytes, more than the buffer's {capacity}")


def copied(plan: Plan[GetResult], view: memoryview) -> Plan[int]:
    """The content of a result that is not on the wire; how many bytes there were."""
    result = yield from plan
    start, end = result.range
    if end - start > view.nbytes:
        raise _too_large(result.meta["path"], end - start, view.nbytes)
    body = result._consume()
    if isinstance(body, HeldBody):
        view[: end - start] = memoryview((yield from body.collect()))
        return end - start
    at = 0
    while (chunk := (yield from body.next_chunk(_STEP_BYTES))) is not END:
        view[at : at + len(chunk)] = chunk
        at += len(chunk)
    return at


def fetch(
    provider: Objects,
    path: str,
    wanted: Wanted,
    place: Place,
    given: int,
    part_bytes: int,
    most: int,
    ready: Callable[[ObjectMeta, Source], Plan[None]] | None = None,
    record: Record | None = None,
    job: str | None = "get",
) -> Plan[tuple[ObjectMeta, int]]:
    """The content to its place, in parallel parts if it is large: the metadata, and how many bytes came.

    `given`: bytes that there is room for before anything is known; then comes `ready`, and room for the rest. `job`:
    what it is to a bulk client, which fetches all of a large object itself.
    """
    request = provider.get(path, wanted)
    request.mark_digest(given)
    if bulk.taking(provider, job) is not None:
        given = 0
    try:
        if given > 0:
            place.room(request, 0, given)
        yield Start(request)
        yield Until(request, headers=True)
        meta = provider.meta(path, request)
        start, end = span_of(request, wanted, meta)
        source = Source(provider, path, request, wanted, (start, end), job)
        if ready is not None:
            yield from ready(meta, source)
        if source.size <= given:
            yield Until(request)
        elif (
            source.size > part_bytes
            and (most > 1 or record is not None)
            and request.prefetched is None
            and source.serves_parts()
        ):
            yield from Filling(source, place, part_bytes, most, record).run(fed=given > 0)
        else:
            yield from place.rest(request, given, source.size - given)
        return meta, source.size
    finally:
        request.cancel()


def _most(wanted: Wanted) -> int:
    """How many bytes are wanted at most. A web server may send the whole object instead, before anybody sees that."""
    kind, start, end = wanted.range or ("offset", 0, 0)
    if kind == "offset":
        return sys.maxsize if start == 0 else 0  # how much there is behind it the response will say
    return end - start if kind == "bounded" else end


def _fetch_into(
    provider: Objects, path: str, wanted: Wanted, view: memoryview, part_bytes: int, most: int
) -> Plan[int]:
    def ready(_meta: ObjectMeta, source: Source) -> Plan[None]:
        if source.size > view.nbytes:
            raise _too_large(path, source.size, view.nbytes)
        yield from ()

    given = min(part_bytes, view.nbytes, _most(wanted))
    return (yield from fetch(provider, path, wanted, InMemory(view), given, part_bytes, most, ready))[1]


def get_into(
    provider: Objects, path: str, buffer: Any, options: Any, part_size: int | None, max_concurrency: int | None
) -> Plan[int]:
    """The content into `buffer`; how many bytes came."""
    wanted = checked(options)
    part_bytes, most = check_parts(part_size, max_concurrency)
    with writable(buffer) as view:
        return (yield from _fetch_into(provider, path, wanted, view, part_bytes, most))


def get_range_into(
    provider: Objects, path: str, buffer: Any, start: int, end: int | None, length: int | None
) -> Plan[int]:
    """A range into `buffer`; how many bytes came: fewer where the object ends."""
    part_bytes, most = check_parts(None, None)
    with writable(buffer) as view:
        first, last = range_of(view, start, end, length)
        if last - first > part_bytes:
            wanted = Wanted({"range": (first, last)})
            return (yield from _fetch_into(provider, path, wanted, view, part_bytes, most))
        request = provider.get_span(path, first, last)
        try:
            request.feed_into(view, 0, view.nbytes)
            yield request
            return request.progress[3]
        finally:
            request.cancel()


def get_ranges_into(
    provider: Objects, path: str, buffers: Sequence[Any], starts: Sequence[int], coalesce: int
) -> Plan[list[int]]:
    """Ranges into `buffers`, each as long as its buffer; how many bytes came to each."""
    with all_writable(buffers) as views:
        groups = ranges.coalesced(spans_of(views, starts), coalesce)
        requests = [_group_request(provider, path, group, views) for group in groups]
        counts = [0] * len(views)
        try:
            for request in requests:
                yield Start(request)
            for request in requests:
                yield Until(request)
            check_same_object("get_ranges_into", path, requests)
            check_starts("get_ranges_into", path, groups, requests)
            for group, request in zip(groups, requests, strict=True):
                _count(group, request, views, counts)
            return counts
        finally:
            for request in requests:
                request.cancel()


def _group_request(provider: Objects, path: str, group: ranges.Group, views: Sequence[memoryview]) -> Request:
    request = provider.get_span(path, group.start, group.end)
    if group.disjoint:
        spans = [(start - group.start, end - group.start) for start, end, _ in group.members]
        request.feed_scatter_into([views[index] for _, _, index in group.members], spans)
    else:  # a byte that belongs to two buffers comes once and is copied
        request.feed_target(group.end - group.start)
    return request


def _count(group: ranges.Group, request: Request, views: Sequence[memoryview], counts: list[int]) -> None:
    whole = None if group.disjoint else memoryview(request.take_target())
    got = request.progress[3]
    for start, end, index in group.members:
        at = start - group.start
        counts[index] = max(0, min(end - group.start, got) - at)
        if whole is not None:
            views[index][: counts[index]] = whole[at : at + counts[index]]
