"""The table of cases, with the targets that the project has set itself.

A target is a ratio peer/cumulo: "a third of the CPU" is 3.0, "twice the CPU at most" is 0.5, "not more" is 1.0.
"""

from __future__ import annotations

from functools import partial

from . import files, imports, memory, reads, sdks, writes
from .loops import IN_FLIGHT
from .workload import Case, Target

_CASES = [
    Case(
        "ranges-asyncio",
        "16 KiB ranges, asyncio, 64 in flight, anonymous",
        reads.ranges_asyncio,
        Target(wall=2.5, cpu=3.0),
    ),
    Case(
        "ranges-signed",
        "16 KiB ranges, asyncio, 64 in flight, signed",
        partial(reads.ranges_asyncio, signed=True),
        Target(wall=2.5, cpu=3.0),
    ),
    Case(
        "ranges-uvloop",
        "16 KiB ranges, uvloop, 64 in flight, anonymous",
        partial(reads.ranges_asyncio, uvloop=True),
        Target(wall=1.8, cpu=1 / 0.45),
    ),
    Case(
        "ranges-uvloop-signed",
        "16 KiB ranges, uvloop, 64 in flight, signed",
        partial(reads.ranges_asyncio, uvloop=True, signed=True),
        Target(wall=1.8, cpu=1 / 0.45),
    ),
    Case("ranges-threads", "16 KiB ranges, 32 threads", reads.ranges_threads, Target(wall=1.3, cpu=2.0)),
    Case("ranges-sequential", "16 KiB ranges, one at a time", reads.ranges_sequential, Target(wall=1.2, cpu=1 / 0.7)),
    Case(
        "objects-asyncio",
        "whole 1 MiB objects, asyncio, 64 in flight",
        reads.objects_asyncio,
        Target(wall=1.5, cpu=2.0),
        asked_mib=IN_FLIGHT,
    ),
    Case(
        "objects-many",
        "5,000 objects of 1 MiB: get_many against a gather, 64 in flight",
        reads.objects_many,
        Target(wall=1.5, cpu=2.0),
        asked_mib=IN_FLIGHT,
    ),
    Case("get-1gib", "1 GiB get().bytes()", reads.big_bytes, Target(wall=2.5, cpu=2.5), asked_mib=1024),
    # Beside it without a target of its own: what a program that reads one large object and ends gets.
    Case(
        "get-1gib-first",
        "1 GiB get().bytes(), first in the process",
        partial(reads.big_bytes, first=True),
        Target(peak=None),
    ),
    Case("stream-1gib", "1 GiB streamed", reads.big_stream, Target(wall=1.4, cpu=1.0)),
    Case("get-1gib-tls", "1 GiB get().bytes() over TLS", partial(reads.big_bytes, tls=True), Target(1.2, 1.0), 1024),
    Case("stream-1gib-tls", "1 GiB streamed over TLS", partial(reads.big_stream, tls=True), Target(1.2, 1.0)),
    Case(
        "get-capped",
        "256 MiB get().bytes(), 40 MB/s a connection",
        partial(reads.big_bytes, size=reads.CAPPED, capped=True),
        Target(wall=8.0),
        asked_mib=256,
    ),
    Case(
        "stream-capped",
        "256 MiB streamed, 40 MB/s a connection",
        partial(reads.big_stream, size=reads.CAPPED, capped=True),
        Target(wall=8.0),
    ),
    Case("download-1gib", "1 GiB downloaded to /dev/shm", reads.download, Target(wall=2.5, cpu=2.0)),
    Case("download-1gib-tls", "1 GiB downloaded over TLS", partial(reads.download, tls=True), Target(1.2, 1.0)),
    Case(
        "download-capped",
        "256 MiB downloaded, 40 MB/s a connection",
        partial(reads.download, capped=True),
        Target(wall=8.0),
    ),
    Case("reader-1gib", "1 GiB through open_reader, 1 MiB a read", files.in_order, Target(wall=1.3, cpu=1.3)),
    Case(
        "reader-capped",
        "256 MiB through open_reader, 40 MB/s a connection",
        partial(files.in_order, size=reads.CAPPED, capped=True),
        Target(wall=8.0),
    ),
    Case("reader-random", "16 KiB here and there through open_reader", files.here_and_there, Target(wall=1.2, cpu=1.5)),
    Case("put-16kib", "put 16 KiB, asyncio, 64 in flight", writes.put_asyncio, Target(wall=1.5, cpu=2.0)),
    Case("put-512mib", "put 512 MiB from memory", writes.put_memory, Target(wall=1.0, cpu=0.5)),
    Case("put-512mib-tls", "put 512 MiB from memory over TLS", partial(writes.put_memory, tls=True), Target(1.0, 0.67)),
    Case("put-iterator", "put 512 MiB from an iterator", writes.put_iterator, Target(1.0, 0.67)),
    Case(
        "put-iterator-tls",
        "put 512 MiB from an iterator over TLS",
        partial(writes.put_iterator, tls=True),
        Target(1.0, 0.67),
    ),
    Case("put-1gib-file", "put 1 GiB from a file", writes.put_file, Target(wall=1.0, cpu=0.5)),
    Case("put-1gib-file-tls", "put 1 GiB from a file over TLS", partial(writes.put_file, tls=True), Target(1.0, 0.67)),
    Case("list-100k", "list 100,000 objects, five times", reads.list_objects, Target(wall=1.5, cpu=1.0)),
    Case(
        "list-100k-arrow",
        "list 100,000 objects as Arrow, five times",
        partial(reads.list_objects, arrow=True),
        Target(wall=2.0, cpu=1.0),
    ),
    Case(
        "gcs-ranges",
        "GCS: 16 KiB ranges, asyncio, 64 in flight",
        partial(reads.ranges_asyncio, cloud="gcs"),
        Target(wall=2.5, cpu=3.0),
    ),
    Case("gcs-get-1gib", "GCS: 1 GiB get().bytes()", partial(reads.big_bytes, cloud="gcs"), Target(2.0, 2.0), 1024),
    Case(
        "gcs-get-capped",
        "GCS: 256 MiB get().bytes(), 40 MB/s a connection",
        partial(reads.big_bytes, size=reads.CAPPED, capped=True, cloud="gcs"),
        Target(wall=8.0),
        asked_mib=256,
    ),
    Case(
        "gcs-put-16kib",
        "GCS: put 16 KiB, asyncio, 64 in flight",
        partial(writes.put_asyncio, cloud="gcs"),
        Target(1.5, 2.0),
    ),
    Case(
        "gcs-list-100k",
        "GCS: list 100,000 objects",
        partial(reads.list_objects, cloud="gcs"),
        Target(wall=1.5, cpu=1.0),
    ),
    Case(
        "gcs-list-100k-arrow",
        "GCS: list 100,000 objects as Arrow",
        partial(reads.list_objects, cloud="gcs", arrow=True),
        Target(wall=2.0, cpu=1.0),
    ),
    Case(
        "azure-ranges",
        "Azure: 16 KiB ranges, asyncio, 64 in flight",
        partial(reads.ranges_asyncio, cloud="azure"),
        Target(wall=2.5, cpu=3.0),
    ),
    Case(
        "azure-get-1gib", "Azure: 1 GiB get().bytes()", partial(reads.big_bytes, cloud="azure"), Target(2.0, 2.0), 1024
    ),
    Case(
        "azure-get-capped",
        "Azure: 256 MiB get().bytes(), 40 MB/s a connection",
        partial(reads.big_bytes, size=reads.CAPPED, capped=True, cloud="azure"),
        Target(wall=8.0),
        asked_mib=256,
    ),
    Case(
        "azure-put-16kib",
        "Azure: put 16 KiB, asyncio, 64 in flight",
        partial(writes.put_asyncio, cloud="azure"),
        Target(1.5, 2.0),
    ),
    Case(
        "azure-list-100k",
        "Azure: list 100,000 objects",
        partial(reads.list_objects, cloud="azure"),
        Target(wall=1.5, cpu=1.0),
    ),
    Case(
        "azure-list-100k-arrow",
        "Azure: list 100,000 objects as Arrow",
        partial(reads.list_objects, cloud="azure", arrow=True),
        Target(wall=2.0, cpu=1.0),
    ),
    Case(
        "import", "import, and the names of the verbs", imports.imported, Target(wall=1 / 1.5, cpu=1 / 1.5, peak=None)
    ),
    Case("import-store", "an S3Store in a new process", imports.first_store, Target(peak=None)),
    Case(
        "http-ranges",
        "HTTP: 16 KiB ranges, asyncio, 64 in flight",
        partial(reads.ranges_asyncio, cloud="http"),
        Target(wall=2.5, cpu=3.0),
    ),
    Case("http-get-1gib", "HTTP: 1 GiB get().bytes()", partial(reads.big_bytes, cloud="http"), Target(2.0, 2.0), 1024),
    *sdks.CASES,
    Case("memory-gets", "20,000 gets of 16 KiB", memory.small_gets, max_growth_mib=4.0),
    Case("memory-streams", "200 streams dropped half-read", memory.dropped_streams, max_growth_mib=16.0),
    Case(
        "ranges-tls",
        "16 KiB ranges over TLS, asyncio, 64 in flight",
        partial(reads.ranges_asyncio, tls=True),
        extra=True,
    ),
    Case("put-16kib-anonymous", "put 16 KiB unsigned, asyncio", partial(writes.put_asyncio, signed=False), extra=True),
]

CASES: dict[str, Case] = {case.name: case for case in _CASES}
