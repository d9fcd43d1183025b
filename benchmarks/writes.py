"""Cases that write: small puts, a large one from memory, a large one from a file. All signed, as real uploads are.

The sink keeps nothing; it logs the length of each PUT, which is compared with what the library was given.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from . import content, nginx
from .content import GIB, KIB, MIB
from .loops import Loop
from .origin import Origin
from .stores import Cloud, open_store
from .workload import Library, Work, Workload, require

PUT_SIZE = 16 * KIB
PUTS = 20_000
BUFFER_SIZE = 512 * MIB
_WARM_UP = 640
_LOG_PATIENCE_S = 3.0
# What a PUT may send beside its bytes: a checksum trailer, the frames of a chunked body.
_OVERHEAD = 4 * KIB


@dataclass
class PutLog:
    """The lengths of the PUTs that the sink has read since ``start``."""

    path: Path
    offset: int = 0

    def start(self) -> None:
        """Forget what was put so far (nginx writes the log with a delay)."""
        time.sleep(0.3)
        self.offset = self.path.stat().st_size

    def check(self, work: Work) -> None:
        """The bytes of ``work`` have arrived, once."""
        deadline = time.monotonic() + _LOG_PATIENCE_S
        while time.monotonic() < deadline:
            lengths = self._lengths()
            if len(lengths) >= work.operations and sum(lengths) >= work.bytes:
                break
            time.sleep(0.1)
        lengths = self._lengths()
        total = sum(lengths)
        require(len(lengths) >= work.operations, f"{len(lengths)} PUTs arrived of {work.operations}")
        require(total >= work.bytes, f"{total} bytes arrived of {work.bytes}")
        require(total <= work.bytes + _OVERHEAD * len(lengths), f"{total} bytes arrived, for {work.bytes} put")

    def _lengths(self) -> list[int]:
        with self.path.open("rb") as file:
            file.seek(self.offset)
            lines = [line.split() for line in file.read().splitlines(keepends=True) if line.endswith(b"\n")]
        stored = [fields[1:] for fields in lines if fields[0] in (b"200", b"201")]
        return [int(whole if body == b"-" else body) for body, whole in stored]


def put_asyncio(library: Library, origin: Origin, *, signed: bool = True, cloud: Cloud = "s3") -> Workload:
    """16 KiB puts, 64 in flight on one event loop."""
    store = open_store(library, origin, bucket=content.SINK_BUCKET, signed=signed, cloud=cloud)
    loop = Loop()
    log = PutLog(Path(origin.put_log))
    body = content.read_range(origin.files, content.SMALL_KEY, 0, PUT_SIZE)

    async def put(index: int) -> int:
        result = await library.put_async(store, f"small/{index}", body)
        require(result["e_tag"] == nginx.ETAG, "the ETag is not the sink's")
        return len(body)

    def warm_up() -> None:
        loop.run_each(range(_WARM_UP), put)
        log.start()

    expected = Work(PUTS, PUTS * PUT_SIZE)
    return Workload(
        run=lambda: Work(*loop.run_each(range(PUTS), put)),
        expected=expected,
        warm_up=warm_up,
        check=lambda: log.check(expected),
    )


def put_memory(library: Library, origin: Origin, *, tls: bool = False) -> Workload:
    """512 MiB from one ``bytes``, with the library's own choice of parts."""
    body = content.read_range(origin.files, content.BIG_KEY, 0, BUFFER_SIZE)
    return _put_large(library, origin, lambda: body, BUFFER_SIZE, tls=tls, harness_bytes=BUFFER_SIZE)


def put_iterator(library: Library, origin: Origin, *, tls: bool = False) -> Workload:
    """512 MiB from an iterator of buffers of 1 MiB, of unknown length to the library."""
    body = content.read_range(origin.files, content.BIG_KEY, 0, BUFFER_SIZE)

    def source() -> Iterator[bytes]:
        return (body[start : start + MIB] for start in range(0, BUFFER_SIZE, MIB))

    return _put_large(library, origin, source, BUFFER_SIZE, tls=tls, harness_bytes=BUFFER_SIZE)


def put_file(library: Library, origin: Origin, *, tls: bool = False) -> Workload:
    """1 GiB from a file on disk."""
    path = origin.path(content.BIG_KEY)
    return _put_large(library, origin, lambda: path, GIB, tls=tls)


def _put_large(
    library: Library,
    origin: Origin,
    source: Callable[[], bytes | Path | Iterator[bytes]],
    size: int,
    *,
    tls: bool,
    harness_bytes: int = 0,
) -> Workload:
    store = open_store(library, origin, bucket=content.SINK_BUCKET, signed=True, tls=tls)
    log = PutLog(Path(origin.put_log))
    expected = Work(1, size)

    def put() -> None:
        result = library.put(store, "large", source())
        require(bool(result["e_tag"]), "the upload has no ETag")

    def run() -> Work:
        put()
        # Counted by the sink: see check.
        return expected

    def warm_up() -> None:
        put()
        log.start()

    return Workload(run, expected, warm_up, check=lambda: log.check(expected), harness_bytes=harness_bytes)
