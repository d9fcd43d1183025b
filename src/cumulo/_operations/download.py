"""download: an object to a local file, in parallel parts written by native code, whole or not at all.

With `resume`, what has come stays when the call fails, is cancelled or its process dies: a partial file and a token
beside it, `.<name>.cumulo-part` and `.<name>.cumulo-part.json`. The token says which parts are in the file, of which
version of the object, and with which checksums; it is written after the parts have been flushed to the disk. Who goes
on believes the file only where it still has these checksums. So the parts are fetched by the engine alone: a bulk
client keeps none.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from cumulo._drivers.effects import Call, Plan
from cumulo._errors import Context
from cumulo._given import flag
from cumulo._result import GetResult
from cumulo.exceptions import BaseError, ChecksumError

from . import token
from .in_order import InFile
from .into import checked, fetch
from .parts import Filling, Source, check_parts
from .target import FileTarget

if TYPE_CHECKING:
    from cumulo._providers.base import Objects
    from cumulo._types import GetOptions, ObjectMeta

    from .get import Wanted

_SAVE_EVERY_S = 1.0
_KEPT = "CRC32C"
"""The checksum of parts where the server sends none that they make."""


def target_of(store: Any, path: str, file: Any, *, resume: bool, fsync: bool) -> FileTarget:
    """The `file` of a download. Raises `TypeError` or `ValueError` for what is no file's name."""
    if not isinstance(file, (str, os.PathLike)):
        raise TypeError(f"file must be a str or a path, not {type(file).__name__}")
    flag("resume", resume)  # of a put it may be a token's name
    flag("fsync", fsync)
    name = os.fsdecode(cast("str | os.PathLike[str]", file))
    if not name or "\0" in name:
        raise ValueError(f"file must be the name of a file, not {name!r}")
    return FileTarget(name, Context(store, "download", path), partial=resume, fsync=fsync)


def whole_or_nothing(target: FileTarget, content: Callable[[], Plan[tuple[ObjectMeta, int]]]) -> Plan[ObjectMeta]:
    """Open the target, run what fills it, give it its name. When this raises, nothing is left."""
    try:
        yield Call(target.open)
        meta, size = yield from content()
        yield Call(target.commit, size)
        return meta
    finally:
        target.discard()


def copied(target: FileTarget, plan: Callable[[], Plan[GetResult]]) -> Plan[ObjectMeta]:
    """The content of a result that is not on the wire."""

    def content() -> Plan[tuple[ObjectMeta, int]]:
        result = yield from plan()
        start, end = result.range
        body = result._consume()
        copy = getattr(body, "copy_to", None)
        if copy is not None:
            yield from copy(target)
        else:
            yield Call(target.write, (yield from body.collect()))
        return result.meta, end - start

    return whole_or_nothing(target, content)


def download(
    provider: Objects,
    path: str,
    target: FileTarget,
    options: GetOptions | None,
    part_size: int | None,
    max_concurrency: int | None,
    *,
    resume: bool,
) -> Plan[ObjectMeta]:
    """The content to `target`."""
    wanted = checked(options)
    part_bytes, most = check_parts(part_size, max_concurrency)
    if resume:
        return _Resumable(provider, path, wanted, target, part_bytes, most).run()

    def ready(_meta: ObjectMeta, source: Source) -> Plan[None]:
        yield Call(target.expect, source.size)

    def content() -> Plan[tuple[ObjectMeta, int]]:
        place = InFile(target)
        return (yield from fetch(provider, path, wanted, place, part_bytes, part_bytes, most, ready, job="get_file"))

    return whole_or_nothing(target, content)


class _Resumable:
    """A download that leaves what it has for another process to go on with."""

    def __init__(
        self, provider: Objects, path: str, wanted: Wanted, target: FileTarget, part_bytes: int, most: int
    ) -> None:
        self._provider = provider
        self._path = path
        self._wanted = wanted
        self._target = target
        self._part = part_bytes
        self._most = most
        self._state: dict[str, Any] | None = None
        self._sums: dict[int, int] = {}
        self._saved_s = 0.0

    def run(self) -> Plan[ObjectMeta]:
        target = self._target
        try:
            yield Call(target.open)
            found = yield from self._go_on()
            meta, size = found or (yield from self._anew())
            if self._state is not None:
                yield Call(target.flush)
            yield Call(target.commit, size)
            token.remove(self._token_path)
            return meta
        except GeneratorExit:  # the call was dropped: nobody runs another effect
            target.discard(keep_partial=bool(self._saved_s))
            raise
        except BaseException as error:
            if isinstance(error, ChecksumError):
                self.alone()  # nobody can tell which part is wrong
                token.remove(self._token_path)
            try:
                if self._sums:
                    yield Call(self._save_last)
            finally:  # also where the loop of the call ends before that has come back
                target.discard(keep_partial=bool(self._saved_s))
            raise

    @property
    def _token_path(self) -> str:
        return self._target.partial_path + ".json"

    # -- the record of parts (`parts.Record`)

    def done(self, at: int, length: int, digest: int | None) -> Plan[None]:
        if digest is None and self._state is not None:
            digest = yield Call(self._target.sum, self._state["sum"], at, length)
        if digest is not None:
            self._sums[at] = digest
        if time.monotonic() - self._saved_s >= _SAVE_EVERY_S:
            yield Call(self._save)

    def _save(self) -> None:
        if self._state is None:
            return
        sums = {str(at): digest for at, digest in self._sums.items()}
        self._target.flush()
        token.save(self._token_path, {**self._state, "sums": sums})
        self._saved_s = time.monotonic()

    def _save_last(self) -> None:
        try:
            self._save()
        except (OSError, BaseError) as error:  # what ended the call is what the caller has to know
            token.warn("what has come of %r could not be noted: %s", self._path, error)

    def alone(self) -> None:
        self._state = None
        self._sums.clear()
        self._saved_s = 0.0

    # -- from the beginning

    def _anew(self) -> Plan[tuple[ObjectMeta, int]]:
        token.remove(self._token_path)
        self.alone()
        yield Call(self._target.clear)
        place = InFile(self._target)
        return (
            yield from fetch(
                self._provider, self._path, self._wanted, place, self._part, self._part, self._most, self._ready, self,
                job=None,
            )
        )  # fmt: skip

    def _ready(self, meta: ObjectMeta, source: Source) -> Plan[None]:
        yield Call(self._target.expect, source.size)
        if source.size > self._part and source.serves_parts():
            status = yield Call(self._target.status)
            source.kept = _KEPT
            self._state = {
                **_identity(self._path, self._wanted, meta),
                "file": [status.st_dev, status.st_ino],
                "part": self._part,
                "sum": source.digest or _KEPT,
                "size": source.size,
                "announced": list(source.announced) if source.announced is not None else None,
            }
        elif source.size > self._part:
            token.warn("%r can't be fetched in parts: what breaks off begins anew", self._path)

    # -- where another process stopped

    def _go_on(self) -> Plan[tuple[ObjectMeta, int] | None]:
        state = yield Call(token.load, self._token_path)
        if state is None:
            return None
        self._saved_s = time.monotonic()  # it stays if this fails
        head = self._provider.head(self._path, self._wanted)
        yield head
        meta = self._provider.meta(self._path, head)
        status = yield Call(self._target.status)
        try:
            wrong = _misfit(state, _identity(self._path, self._wanted, meta), status)
        except (KeyError, TypeError, ValueError):
            wrong = "it is not one of this version"
        if wrong is not None:
            token.warn("the token of %r does not fit, the download begins anew: %s", self._target.name, wrong)
            return None
        self._state = state
        self._part, size = state["part"], state["size"]
        self._sums = yield Call(self._believed, state)
        source = Source(self._provider, self._path, head, self._wanted, _span(self._wanted, meta["size"], size))
        source.announced = tuple(state["announced"]) if state["announced"] else None
        source.kept = _KEPT
        filling = Filling(source, InFile(self._target), self._part, self._most, self)
        yield from filling.go_on(dict(self._sums))
        return meta, size

    def _believed(self, state: dict[str, Any]) -> dict[int, int]:
        """The parts that are in the file as they came, with their checksums. Blocks."""
        found: dict[int, int] = {}
        for name, digest in state["sums"].items():
            at = int(name)
            if self._target.sum(state["sum"], at, min(self._part, state["size"] - at)) == digest:
                found[at] = digest
            else:
                token.warn("the part at %d of %r was changed, it is fetched again", at, self._target.partial_path)
        return found


def _identity(path: str, wanted: Wanted, meta: ObjectMeta) -> dict[str, Any]:
    return {
        "object": path,
        "e_tag": meta["e_tag"],
        "version": meta["version"],
        "object_size": meta["size"],
        "range": list(wanted.range) if wanted.range is not None else None,
    }


def _misfit(state: dict[str, Any], now: dict[str, Any], status: os.stat_result) -> str | None:
    """Why a token is not of this download, or None."""
    for name, value in now.items():
        if state[name] != value:
            return f"{name} was {state[name]!r} and is {value!r}"
    part, size = state["part"], state["size"]
    check_parts(part, None)
    if state["sum"] != _KEPT and (state["announced"] is None or state["sum"] != state["announced"][0]):
        return "its checksums are of no known kind"
    if state["file"] != [status.st_dev, status.st_ino]:
        return "the partial file is another"
    starts = [int(at) for at in state["sums"]]
    if not isinstance(size, int) or any(at % part or not 0 <= at < size for at in starts):
        return "its parts make no sense"
    if starts and status.st_size < min(max(starts) + part, size):
        return "the partial file is shorter than it was"
    return None


def _span(wanted: Wanted, object_size: int, size: int) -> tuple[int, int]:
    if wanted.range is None:
        return 0, size
    kind, start, _ = wanted.range
    first = object_size - size if kind == "suffix" else start
    return first, first + size
