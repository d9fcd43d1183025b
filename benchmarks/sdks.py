"""The same work through the providers' own SDKs and the file systems made of them, each as its users do it best.

They share no interface, so each has a `Peer` of its own here: google-cloud-storage has threads, azure-storage-blob its
asyncio clients, gcsfs and adlfs the bulk calls of fsspec, which run on a loop of theirs. All have 64 requests under
way.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from . import content
from .content import KIB, MIB
from .loops import IN_FLIGHT, Loop
from .origin import Origin
from .stores import AZURE_KEY, open_store
from .workload import Case, Library, Work, Workload, require, require_same
from .writes import PutLog

Service: TypeAlias = Literal["gcs", "azure"]
Range: TypeAlias = tuple[str, int]

# Else gcsfs asks Cloud Storage's control plane, by gRPC, what kind of bucket it is: no other server answers that.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")

_RANGE_SIZE = 16 * KIB
_OPERATIONS = 4_000
_WARM_UP = 256
_LARGE = 256 * MIB
_BATCH = 512
"""Ranges or objects in one bulk call of a file system, which holds all its results."""


class Peer(Protocol):
    """One library, opened on the origin."""

    def ranges(self, wanted: Sequence[Range], use: Callable[[Range, Any], int]) -> int:
        """The sum of what `use` makes of each range's bytes."""
        ...

    def large(self) -> Any:
        """The first bytes of the large object."""
        ...

    def puts(self, names: Sequence[str], body: bytes) -> None:
        """An object under each name."""
        ...

    def names(self) -> Sequence[str]:
        """All keys of the long listing."""
        ...


class _Cumulo:
    def __init__(self, library: Library, origin: Origin, service: Service) -> None:
        sink = content.BLOB_SINK if service == "azure" else content.SINK_BUCKET
        listing = content.FEW_BLOBS_BUCKET if service == "azure" else content.FEW_BUCKET
        self._store, self._sink, self._listing = (
            open_store(library, origin, bucket=bucket, cloud=service) for bucket in (content.BUCKET, sink, listing)
        )
        self._loop = Loop()

    def ranges(self, wanted: Sequence[Range], use: Callable[[Range, Any], int]) -> int:
        async def read(each: Range) -> int:
            return use(each, await self._store.get_range_async(each[0], start=each[1], length=_RANGE_SIZE))

        return self._loop.run_each(wanted, read)[1]

    def large(self) -> Any:
        return self._store.get(content.BIG_KEY, options={"range": (0, _LARGE)}).bytes()

    def puts(self, names: Sequence[str], body: bytes) -> None:
        async def put(name: str) -> int:
            await self._sink.put_async(name, body)
            return 1

        self._loop.run_each(names, put)

    def names(self) -> Sequence[str]:
        return [meta["path"] for batch in self._listing.list() for meta in batch]


class _GoogleSDK:
    def __init__(self, library: Library, origin: Origin, service: Service) -> None:
        from google.auth.credentials import AnonymousCredentials
        from requests.adapters import HTTPAdapter

        self._client = library.Client(
            project="project", credentials=AnonymousCredentials(), client_options={"api_endpoint": origin.url}
        )
        # Its own pool keeps ten connections, and closes those of all other threads after each request.
        self._client._http.mount("http://", HTTPAdapter(pool_maxsize=IN_FLIGHT))
        self._pool = ThreadPoolExecutor(IN_FLIGHT)

    def ranges(self, wanted: Sequence[Range], use: Callable[[Range, Any], int]) -> int:
        bucket = self._client.bucket(content.BUCKET)

        def read(each: Range) -> int:
            key, start = each
            return use(each, bucket.blob(key).download_as_bytes(start=start, end=start + _RANGE_SIZE - 1))

        return sum(self._pool.map(read, wanted))

    def large(self) -> Any:
        return self._client.bucket(content.BUCKET).blob(content.BIG_KEY).download_as_bytes(start=0, end=_LARGE - 1)

    def puts(self, names: Sequence[str], body: bytes) -> None:
        bucket = self._client.bucket(content.SINK_BUCKET)
        list(self._pool.map(lambda name: bucket.blob(name).upload_from_string(body), names))

    def names(self) -> Sequence[str]:
        return [blob.name for blob in self._client.list_blobs(content.FEW_BUCKET)]


class _AzureSDK:
    def __init__(self, library: Library, origin: Origin, service: Service) -> None:
        from azure.storage.blob.aio import BlobServiceClient

        self._loop = Loop()
        self._lines = _connection_string(origin)
        self._asyncio = self._loop.run(self._opened(BlobServiceClient))
        self._client = library.BlobServiceClient.from_connection_string(self._lines)

    async def _opened(self, kind: Any) -> Any:
        return kind.from_connection_string(self._lines)

    def ranges(self, wanted: Sequence[Range], use: Callable[[Range, Any], int]) -> int:
        async def read(each: Range) -> int:
            blob = self._asyncio.get_blob_client(content.BUCKET, each[0])
            return use(each, await (await blob.download_blob(offset=each[1], length=_RANGE_SIZE)).readall())

        return self._loop.run_each(wanted, read)[1]

    def large(self) -> Any:
        blob = self._client.get_blob_client(content.BUCKET, content.BIG_KEY)
        return blob.download_blob(offset=0, length=_LARGE, max_concurrency=8).readall()

    def puts(self, names: Sequence[str], body: bytes) -> None:
        async def put(name: str) -> int:
            await self._asyncio.get_blob_client(content.BLOB_SINK, name).upload_blob(body, overwrite=True)
            return 1

        self._loop.run_each(names, put)

    def names(self) -> Sequence[str]:
        return [blob.name for blob in self._client.get_container_client(content.FEW_BLOBS_BUCKET).list_blobs()]


class _FileSystem:
    def __init__(self, library: Library, origin: Origin, service: Service) -> None:
        options = {"use_listings_cache": False, "skip_instance_cache": True}
        if service == "gcs":
            self._files = library.GCSFileSystem(token="anon", endpoint_url=origin.url, project="project", **options)
            self._sink, self._listing = content.SINK_BUCKET, content.FEW_BUCKET
        else:
            self._files = library.AzureBlobFileSystem(connection_string=_connection_string(origin), **options)
            self._sink, self._listing = content.BLOB_SINK, content.FEW_BLOBS_BUCKET

    def ranges(self, wanted: Sequence[Range], use: Callable[[Range, Any], int]) -> int:
        total = 0
        for some in _batches(wanted):
            keys = [f"{content.BUCKET}/{key}" for key, _ in some]
            starts = [start for _, start in some]
            ends = [start + _RANGE_SIZE for start in starts]
            bodies = self._files.cat_ranges(keys, starts, ends, batch_size=IN_FLIGHT, on_error="raise")
            total += sum(use(each, body) for each, body in zip(some, bodies, strict=True))
        return total

    def large(self) -> Any:
        return self._files.cat_file(f"{content.BUCKET}/{content.BIG_KEY}", start=0, end=_LARGE)

    def puts(self, names: Sequence[str], body: bytes) -> None:
        for some in _batches(names):
            self._files.pipe({f"{self._sink}/{name}": body for name in some}, batch_size=IN_FLIGHT)

    def names(self) -> Sequence[str]:
        return [path.partition("/")[2] for path in self._files.find(self._listing)]


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))


def _connection_string(origin: Origin) -> str:
    return f"DefaultEndpointsProtocol=http;AccountName=account;AccountKey={AZURE_KEY};BlobEndpoint={origin.url};"


_PEERS: dict[str, Callable[[Library, Origin, Service], Peer]] = {
    "cumulo": _Cumulo,
    "google.cloud.storage": _GoogleSDK,
    "gcsfs": _FileSystem,
    "azure.storage.blob": _AzureSDK,
    "adlfs": _FileSystem,
}


def _ranges(library: Library, origin: Origin, *, service: Service) -> Workload:
    peer = _PEERS[library.__name__](library, origin, service)

    def compare(seed: int) -> None:
        peer.ranges(_random_ranges(_WARM_UP, seed), partial(_compare, origin))

    wanted = _random_ranges(_OPERATIONS, 1)
    return Workload(
        run=lambda: Work(_OPERATIONS, peer.ranges(wanted, lambda _, body: len(body))),
        expected=Work(_OPERATIONS, _OPERATIONS * _RANGE_SIZE),
        warm_up=lambda: compare(2),
        check=lambda: compare(3),
    )


def _large(library: Library, origin: Origin, *, service: Service) -> Workload:
    peer = _PEERS[library.__name__](library, origin, service)
    received: list[Any] = []

    def run() -> Work:
        received.append(peer.large())
        return Work(1, len(received[0]))

    def check() -> None:
        with memoryview(received.pop()) as view, origin.path(content.BIG_KEY).open("rb") as file:
            for start in range(0, _LARGE, 8 * MIB):
                require_same(bytes(view[start : start + 8 * MIB]), file.read(8 * MIB), "the large object")

    return Workload(
        run, Work(1, _LARGE), warm_up=lambda: require(len(peer.large()) == _LARGE, "it is cut short"), check=check
    )


def _puts(library: Library, origin: Origin, *, service: Service) -> Workload:
    peer = _PEERS[library.__name__](library, origin, service)
    log = PutLog(Path(origin.put_log))
    body = content.read_range(origin.files, content.SMALL_KEY, 0, _RANGE_SIZE)
    expected = Work(_OPERATIONS, _OPERATIONS * _RANGE_SIZE)

    def warm_up() -> None:
        peer.puts([f"warm/{index}" for index in range(_WARM_UP)], body)
        log.start()

    def run() -> Work:
        peer.puts([f"small/{index}" for index in range(_OPERATIONS)], body)
        return expected  # counted by the sink: see check

    return Workload(run, expected, warm_up, check=lambda: log.check(expected))


def _names(library: Library, origin: Origin, *, service: Service) -> Workload:
    peer = _PEERS[library.__name__](library, origin, service)
    end = content.LIST_PAGES * content.KEYS_PER_PAGE
    keys = [content.listed_key(index) for index in range(end - content.FEW, end)]

    def compare() -> None:
        require_same(list(peer.names()), keys, "the listing")

    return Workload(run=lambda: Work(len(peer.names()), 0), expected=Work(content.FEW, 0), warm_up=compare)


def _random_ranges(count: int, seed: int) -> list[Range]:
    source = random.Random(seed)
    last = content.SIZES[content.COG_KEYS[0]] - _RANGE_SIZE
    return [(source.choice(content.COG_KEYS), source.randrange(last)) for _ in range(count)]


def _compare(origin: Origin, each: Range, body: Any) -> int:
    require_same(bytes(body), content.read_range(origin.files, *each, _RANGE_SIZE), f"{each[0]} from byte {each[1]}")
    return 1


_WORK: dict[str, tuple[str, Callable[..., Workload]]] = {
    "ranges": ("4,000 ranges of 16 KiB, 64 in flight", _ranges),
    "get-256mib": ("256 MiB into memory", _large),
    "put-16kib": ("4,000 puts of 16 KiB, 64 in flight", _puts),
    "list-20k": ("list 20,000 objects", _names),
}
_SERVICES: dict[Service, tuple[str, ...]] = {
    "gcs": ("cumulo", "google.cloud.storage", "gcsfs"),
    "azure": ("cumulo", "azure.storage.blob", "adlfs"),
}
CASES = [
    Case(f"sdk-{service}-{name}", f"{service.upper() if service == 'gcs' else 'Azure'}: {title}",
         partial(prepare, service=service), libraries=libraries)
    for service, libraries in _SERVICES.items()
    for name, (title, prepare) in _WORK.items()
]  # fmt: skip
