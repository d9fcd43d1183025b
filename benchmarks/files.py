"""Cases that read through `open_reader`: a large object in order, and short reads here and there.

What they are to be compared with, besides the peer's readers, are the same library's own rows: `stream-1gib`,
`stream-capped` and `ranges-sequential`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from . import content
from .content import GIB, KIB, MIB
from .origin import Origin
from .reads import RANGE_SIZE, SEQUENTIAL_RANGES
from .stores import open_store
from .workload import Library, Work, Workload, require_same

READ_SIZE = MIB
_SEED = 7
_SOME = 320


def in_order(library: Library, origin: Origin, *, size: int = GIB, capped: bool = False) -> Workload:
    """The large object, or its first `size` bytes, by reads of 1 MiB."""
    store = open_store(library, origin, capped=capped)

    def pieces(length: int) -> Iterator[Any]:
        reader = library.open_reader(store, content.BIG_KEY)
        for _ in range(length // READ_SIZE):
            yield reader.read(READ_SIZE)
        reader.close()

    def run() -> Work:
        return Work(size // READ_SIZE, sum(len(piece) for piece in pieces(size)))

    def compare(length: int) -> None:
        with origin.path(content.BIG_KEY).open("rb") as file:
            for piece in pieces(length):
                require_same(bytes(piece), file.read(READ_SIZE), content.BIG_KEY)

    return Workload(
        run=run,
        expected=Work(size // READ_SIZE, size),
        warm_up=lambda: compare(min(size, 128 * MIB)),
        check=lambda: compare(min(size, 128 * MIB)),
    )


def here_and_there(library: Library, origin: Origin, *, reads: int = SEQUENTIAL_RANGES) -> Workload:
    """16 KiB at arbitrary offsets of the large object, one at a time."""
    store = open_store(library, origin)
    reader = library.open_reader(store, content.BIG_KEY)

    def places(count: int, seed: int) -> list[int]:
        chance = random.Random(seed)
        return [chance.randrange(GIB // (4 * KIB) - 4) * 4 * KIB for _ in range(count)]

    asked = places(reads, _SEED)

    def run() -> Work:
        total = 0
        for place in asked:
            reader.seek(place)
            total += len(reader.read(RANGE_SIZE))
        return Work(reads, total)

    def compare(seed: int) -> None:
        with origin.path(content.BIG_KEY).open("rb") as file:
            for place in places(_SOME, seed):
                reader.seek(place)
                file.seek(place)
                require_same(bytes(reader.read(RANGE_SIZE)), file.read(RANGE_SIZE), content.BIG_KEY)

    return Workload(
        run=run,
        expected=Work(reads, reads * RANGE_SIZE),
        warm_up=lambda: compare(_SEED + 1),
        check=lambda: compare(_SEED + 2),
    )
