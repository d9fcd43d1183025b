"""Cases that read: 16 KiB ranges, whole objects, one large object in memory and streamed, a listing."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from . import content
from .content import GIB, KIB, MIB
from .loops import IN_FLIGHT, THREADS, Loop, run_threads
from .origin import Origin
from .stores import Cloud, open_store
from .workload import Library, Work, Workload, require, require_same

RANGE_SIZE = 16 * KIB
RANGES = 30_000
THREADED_RANGES = 60_000
SEQUENTIAL_RANGES = 25_000
OBJECT_ROUNDS = 8
MANY_OBJECTS = 5_000
LISTINGS = 5
CAPPED = 256 * MIB
_WARM_UP = 640
_SEED = 7

Range = tuple[str, int]


def ranges_asyncio(
    library: Library,
    origin: Origin,
    *,
    signed: bool = False,
    uvloop: bool = False,
    tls: bool = False,
    cloud: Cloud = "s3",
) -> Workload:
    """16 KiB ranges at arbitrary offsets of a few large files, 64 in flight on one event loop."""
    store = open_store(library, origin, signed=signed, tls=tls, cloud=cloud)
    loop = Loop(uvloop=uvloop)
    ranges = _random_ranges(RANGES)

    async def read(each: Range) -> int:
        key, start = each
        return len(await library.get_range_async(store, key, start=start, length=RANGE_SIZE))

    async def read_and_compare(each: Range) -> int:
        key, start = each
        return _compare(origin, each, await library.get_range_async(store, key, start=start, length=RANGE_SIZE))

    def compare_some(seed: int) -> None:
        loop.run_each(_random_ranges(_WARM_UP, seed), read_and_compare)

    return Workload(
        run=lambda: Work(*loop.run_each(ranges, read)),
        expected=Work(RANGES, RANGES * RANGE_SIZE),
        warm_up=lambda: compare_some(_SEED + 1),
        check=lambda: compare_some(_SEED + 2),
    )


def ranges_threads(library: Library, origin: Origin) -> Workload:
    """16 KiB ranges by the sync call from 32 threads."""
    store = open_store(library, origin)
    pool = ThreadPoolExecutor(THREADS)
    ranges = _random_ranges(THREADED_RANGES)

    def read(each: Range) -> int:
        return len(library.get_range(store, each[0], start=each[1], length=RANGE_SIZE))

    def read_and_compare(each: Range) -> int:
        return _compare(origin, each, library.get_range(store, each[0], start=each[1], length=RANGE_SIZE))

    def compare_some(seed: int) -> None:
        run_threads(pool, _random_ranges(_WARM_UP, seed), read_and_compare)

    return Workload(
        run=lambda: Work(*run_threads(pool, ranges, read)),
        expected=Work(THREADED_RANGES, THREADED_RANGES * RANGE_SIZE),
        warm_up=lambda: compare_some(_SEED + 1),
        check=lambda: compare_some(_SEED + 2),
    )


def ranges_sequential(library: Library, origin: Origin) -> Workload:
    """16 KiB ranges by the sync call, one at a time."""
    store = open_store(library, origin)
    ranges = _random_ranges(SEQUENTIAL_RANGES)

    def run() -> Work:
        total = 0
        for key, start in ranges:
            total += len(library.get_range(store, key, start=start, length=RANGE_SIZE))
        return Work(len(ranges), total)

    def compare_some(seed: int) -> None:
        for each in _random_ranges(_WARM_UP, seed):
            _compare(origin, each, library.get_range(store, each[0], start=each[1], length=RANGE_SIZE))

    return Workload(
        run=run,
        expected=Work(SEQUENTIAL_RANGES, SEQUENTIAL_RANGES * RANGE_SIZE),
        warm_up=lambda: compare_some(_SEED + 1),
        check=lambda: compare_some(_SEED + 2),
    )


def objects_asyncio(library: Library, origin: Origin) -> Workload:
    """Whole 1 MiB objects, 64 in flight on one event loop."""
    store = open_store(library, origin)
    loop = Loop()
    keys = content.OBJECT_KEYS * OBJECT_ROUNDS

    async def read(key: str) -> int:
        result = await library.get_async(store, key)
        return len(await result.bytes_async())

    async def read_and_compare(key: str) -> int:
        result = await library.get_async(store, key)
        require_same(bytes(await result.bytes_async()), origin.path(key).read_bytes(), key)
        return 1

    def compare(some: list[str]) -> None:
        loop.run_each(some, read_and_compare)

    return Workload(
        run=lambda: Work(*loop.run_each(keys, read)),
        expected=Work(len(keys), len(keys) * MIB),
        warm_up=lambda: compare(content.OBJECT_KEYS),
        check=lambda: compare(content.OBJECT_KEYS[:IN_FLIGHT]),
    )


def objects_many(library: Library, origin: Origin) -> Workload:
    """5,000 objects of 1 MiB by one ``get_many``; by a gather of tasks with a semaphore where there is none."""
    store = open_store(library, origin)
    loop = Loop()
    keys = (content.OBJECT_KEYS * 20)[:MANY_OBJECTS]
    each = _each_of_many if hasattr(store, "get_many") else partial(_each_gathered, library)

    def length(_: str, body: Any) -> int:
        return len(body)

    def same(key: str, body: Any) -> int:
        require_same(bytes(body), origin.path(key).read_bytes(), key)
        return 1

    def compare(some: list[str]) -> None:
        require(loop.run(each(store, some, same))[0] == len(some), "not every object came")

    return Workload(
        run=lambda: Work(*loop.run(each(store, keys, length))),
        expected=Work(len(keys), len(keys) * MIB),
        warm_up=lambda: compare(content.OBJECT_KEYS),
        check=lambda: compare(content.OBJECT_KEYS[:IN_FLIGHT]),
    )


async def _each_of_many(store: Any, keys: list[str], use: Callable[[str, Any], int]) -> tuple[int, int]:
    count = total = 0
    async for item in store.get_many(keys, max_concurrency=IN_FLIGHT):
        total += use(item.path, item.bytes)
        count += 1
    return count, total


async def _each_gathered(
    library: Library, store: Any, keys: list[str], use: Callable[[str, Any], int]
) -> tuple[int, int]:
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def read(key: str) -> int:
        async with slots:
            result = await library.get_async(store, key)
            return use(key, await result.bytes_async())

    sizes = await asyncio.gather(*(read(key) for key in keys))
    return len(sizes), sum(sizes)


def big_bytes(
    library: Library,
    origin: Origin,
    *,
    size: int = GIB,
    tls: bool = False,
    capped: bool = False,
    first: bool = False,
    cloud: Cloud = "s3",
) -> Workload:
    """The large object, or its first `size` bytes, as one ``bytes()``; ``first``: the first large body of a process."""
    store = open_store(library, origin, tls=tls, capped=capped, cloud=cloud)
    # Kept until compared: freeing it is the program's business and not part of the read.
    received: list[Any] = []

    def run() -> Work:
        body = _get_start(library, store, size).bytes()
        received.append(body)
        return Work(1, len(body))

    def check() -> None:
        view = memoryview(received.pop())
        _compare_in_order(
            origin.path(content.BIG_KEY), (view[start : start + 8 * MIB] for start in range(0, size, 8 * MIB)), size
        )

    def warm_up() -> None:
        if first:
            require(len(library.get_range(store, content.BIG_KEY, start=0, length=MIB)) == MIB, "a range is cut short")
            return
        require(len(_get_start(library, store, size).bytes()) == size, f"the body is not {size} bytes long")

    return Workload(run=run, expected=Work(1, size), warm_up=warm_up, check=check)


def big_stream(
    library: Library, origin: Origin, *, size: int = GIB, tls: bool = False, capped: bool = False
) -> Workload:
    """The large object, or its first `size` bytes, as a stream with the default chunk size."""
    store = open_store(library, origin, tls=tls, capped=capped)

    def run() -> Work:
        total = sum(len(chunk) for chunk in _get_start(library, store, size).stream())
        return Work(1, total)

    def compare_all() -> None:
        _compare_in_order(origin.path(content.BIG_KEY), _get_start(library, store, size).stream(), size)

    return Workload(run=run, expected=Work(1, size), warm_up=compare_all, check=compare_all)


def download(library: Library, origin: Origin, *, tls: bool = False, capped: bool = False) -> Workload:
    """The large object to a file in shared memory: by ``download``, or streamed in large chunks that Python writes."""
    size = CAPPED if capped else GIB
    store = open_store(library, origin, tls=tls, capped=capped)
    target = Path(tempfile.mkdtemp(dir=Path(origin.files).parent)) / "target"

    def run() -> Work:
        if hasattr(store, "download"):
            options = {"range": (0, size)} if size < GIB else None
            store.download(content.BIG_KEY, target, options=options)
        else:
            with target.open("wb", buffering=0) as file:
                for chunk in _get_start(library, store, size).stream():
                    file.write(chunk)
        return Work(1, target.stat().st_size)

    def check() -> None:
        with target.open("rb") as file:
            _compare_in_order(origin.path(content.BIG_KEY), iter(partial(file.read, 8 * MIB), b""), size)
        shutil.rmtree(target.parent)

    def warm_up() -> None:
        require(run().bytes == size, f"the file is not {size} bytes long")
        target.unlink()

    return Workload(run=run, expected=Work(1, size), warm_up=warm_up, check=check)


def _get_start(library: Library, store: Any, size: int) -> Any:
    if size == GIB:
        return library.get(store, content.BIG_KEY)
    return library.get(store, content.BIG_KEY, options={"range": (0, size)})


def list_objects(library: Library, origin: Origin, *, cloud: Cloud = "s3", arrow: bool = False) -> Workload:
    """All of 100,000 objects, in pages of 1,000, or Azure's of 5,000; as dicts, or as Arrow batches of 1,000."""
    bucket = content.BLOBS_BUCKET if cloud == "azure" else content.LISTING_BUCKET
    store = open_store(library, origin, bucket=bucket, cloud=cloud)
    count = content.LIST_PAGES * content.KEYS_PER_PAGE

    size = sum(content.LISTED_SIZE + index for index in range(count))

    def list_batches() -> tuple[int, int]:
        rows = sum(batch.num_rows for batch in library.list(store, chunk_size=1000, return_arrow=True))
        return rows, size

    def list_once() -> tuple[int, int]:
        if arrow:
            return list_batches()
        listed = size = 0
        for batch in library.list(store):
            for meta in batch:
                size += meta["size"]
            listed += len(batch)
        return listed, size

    def run() -> Work:
        pairs = [list_once() for _ in range(LISTINGS)]
        return Work(sum(listed for listed, _ in pairs), sum(size for _, size in pairs))

    def compare_all() -> None:
        if arrow:
            batch = library.list(store, return_arrow=True).collect()
            paths = [path.as_py() for path in batch.column("path")]
            require_same([sum(each.as_py() for each in batch.column("size"))], [size], "the sizes")
        else:
            paths = [meta["path"] for batch in library.list(store) for meta in batch]
        require_same(paths, [content.listed_key(index) for index in range(count)], "the listing")

    return Workload(run=run, expected=Work(LISTINGS * count, LISTINGS * size), warm_up=compare_all)


def _random_ranges(count: int, seed: int = _SEED) -> list[Range]:
    source = random.Random(seed)
    last = content.SIZES[content.COG_KEYS[0]] - RANGE_SIZE
    return [(source.choice(content.COG_KEYS), source.randrange(last)) for _ in range(count)]


def _compare(origin: Origin, each: Range, body: bytes) -> int:
    key, start = each
    require_same(bytes(body), content.read_range(origin.files, key, start, RANGE_SIZE), f"{key} from byte {start}")
    return 1


def _compare_in_order(path: Path, chunks: Iterable[Any], size: int = GIB) -> None:
    total = 0
    with path.open("rb") as file:
        for chunk in chunks:
            require_same(bytes(chunk), file.read(len(chunk)), f"{path.name} from byte {total}")
            total += len(chunk)
    require(total == size, f"{path.name} ended after {total} bytes")
