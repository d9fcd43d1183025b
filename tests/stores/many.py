"""What the tests of `get_many` and `put_many` share: objects that come, and objects that never quite do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from cumulo.store import S3Store
from tests.faults import FaultServer, Faulty, Object, Stall
from tests.s3.support import MIB, fault_store

STALLS = Faulty(Object(b"x" * MIB), Stall(300_000))


def store_of(server: FaultServer) -> S3Store:
    """A store whose objects `small/...` are there at once, and `stalls/...` never quite."""
    server.script("/bucket/small/*", Object(b"small"))
    server.script("/bucket/stalls/*", STALLS)
    return fault_store(server)


def small(count: int) -> list[str]:
    """Paths of objects that are there at once."""
    return [f"small/{number}" for number in range(count)]


class Counted:
    """An iterator that says how many items were taken from it."""

    def __init__(self, prefix: str = "small") -> None:
        self.taken = 0
        self._prefix = prefix

    def __iter__(self) -> Iterator[str]:
        while True:
            self.taken += 1
            yield f"{self._prefix}/{self.taken}"

    async def run(self) -> AsyncIterator[str]:
        """The same as an async iterator."""
        for item in self:
            yield item


def closed(server: FaultServer) -> bool:
    """Whether the client has closed every connection."""
    return all(each.closed_by == "peer" for each in server.connections.all)
