"""Cases about memory that stays: after many small reads, and after streams that nobody reads to their end."""

from __future__ import annotations

from . import content
from .content import KIB, MIB
from .origin import Origin
from .stores import open_store
from .workload import Library, Work, Workload, require

GETS = 20_000
STREAMS = 200
_WARM_UP_GETS = 1_000
_WARM_UP_STREAMS = 10
_SETTLE_S = 1.0


def small_gets(library: Library, origin: Origin) -> Workload:
    """20,000 objects of 16 KiB, one after the other."""
    store = open_store(library, origin)
    size = 16 * KIB

    def read(count: int) -> int:
        return sum(len(library.get(store, content.SMALL_KEY).bytes()) for _ in range(count))

    return Workload(
        run=lambda: Work(GETS, read(GETS)),
        expected=Work(GETS, GETS * size),
        warm_up=lambda: require(read(_WARM_UP_GETS) == _WARM_UP_GETS * size, "an object is not 16 KiB long"),
        settle_s=_SETTLE_S,
    )


def dropped_streams(library: Library, origin: Origin) -> Workload:
    """200 streams of a 16 MiB object, each dropped with half of it read."""
    store = open_store(library, origin)
    half = content.SIZES[content.STREAM_KEY] // 2

    def read_half() -> int:
        total = 0
        for chunk in library.get(store, content.STREAM_KEY).stream(min_chunk_size=MIB):
            total += len(chunk)
            if total >= half:
                return half
        return total

    def run() -> Work:
        return Work(STREAMS, sum(read_half() for _ in range(STREAMS)))

    def warm_up() -> None:
        for _ in range(_WARM_UP_STREAMS):
            require(read_half() == half, "a stream ended early")

    return Workload(run=run, expected=Work(STREAMS, STREAMS * half), warm_up=warm_up, settle_s=_SETTLE_S)
