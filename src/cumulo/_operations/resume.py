"""put with `resume`: an upload in parts that stays when the call fails, is cancelled or its process dies.

Its token (see `token.py`) says where the upload goes, of which file it is, its id, and the parts that were answered
for. It is written once the upload has an id, at most once a second after that, and when the call fails. Who goes on
believes none of it that the server does not confirm: a part is left out only if the server lists it with the same ETag
and size. Runs where the plan runs; methods that block say so.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from cumulo._digests import sha256
from cumulo._drivers.effects import Call, Plan, Unbroken
from cumulo._errors import Context, of_file
from cumulo.exceptions import BaseError, ChecksumError, ServerError, SourceChangedError, UnauthenticatedError

from . import token
from .multipart import Upload
from .target import shortened

if TYPE_CHECKING:
    from cumulo._native import Request
    from cumulo._providers.base import Provider, PutPlan
    from cumulo._types import PutResult

    from .sources import FileSource

TOKEN: Final = re.compile(r"\..*\.cumulo-put-[0-9a-f]{12}\.json(-[0-9a-f]{8})?", re.DOTALL)
"""The names of tokens beside their files."""

_SAVE_EVERY_S = 1.0
_HOPELESS = frozenset(
    ("BadDigest", "EntityTooSmall", "InvalidBlockList", "InvalidPart", "InvalidPartOrder", "NoSuchUpload")
)
"""Codes of refusals that the same parts would meet again."""


class Keep(NamedTuple):
    """Where an upload's token is, and where the upload goes."""

    token: str
    target: str
    store: Any


def keep_of(resume: Any, content: Any, target: str, store: Any = None) -> Keep | None:
    """What `resume` asks for. Raises `TypeError` or `ValueError` for what can't be gone on with."""
    if resume is False:
        return None
    if resume is not True and not isinstance(resume, (str, os.PathLike)):
        raise TypeError(f"resume must be True, False or the name of a file for the token, not {resume!r}")
    if not isinstance(content, os.PathLike):
        raise ValueError(f"resume goes on with files: give a Path, not {type(content).__name__}")  # noqa: TRY004
    if resume is not True:
        if not os.fsdecode(cast("str | os.PathLike[str]", resume)):
            raise ValueError("resume must be True, False or the name of a file for the token, not ''")
        return Keep(os.fsdecode(cast("str | os.PathLike[str]", resume)), target, store)
    folder, name = os.path.split(os.path.abspath(os.fsdecode(cast("os.PathLike[str]", content))))
    digest = sha256(target.encode("utf-8", "surrogatepass"))[:12]
    return Keep(os.path.join(folder, f".{shortened(name)}.cumulo-put-{digest}.json"), target, store)


class KeptUpload(Upload):
    """An upload that is left for another process when it is not completed. `find`, `run`, `forget`."""

    def __init__(
        self,
        provider: Provider,
        path: str,
        plan: PutPlan,
        max_concurrency: int,
        keep: Keep,
        source: FileSource,
        part_bytes: int,
    ) -> None:
        super().__init__(provider, path, plan, max_concurrency)
        self.part_bytes = part_bytes
        self._keep = keep
        self._size = cast("int", source.size)
        self._facts: dict[str, Any] = {
            "target": keep.target,
            "made": provider.upload_mark(plan),
            "source": source.identity,
        }
        self._saved_s: float | None = None

    # -- what was left

    def find(self) -> Plan[None]:
        """Take up the upload that was left, if it is of this file, goes to this place, and is still there."""
        state = yield Call(self._load)
        if state is None:
            return
        try:
            wrong = self._misfit(state)
        except (KeyError, TypeError, ValueError, AttributeError):
            wrong = "it is not one of this version"
        if wrong is None:
            wrong = yield from self._take_up(state)
        if wrong is None:
            return
        token.warn("the token of %r does not fit, the upload begins anew: %s", self._path, wrong)
        left = state.get("upload")
        if state.get("target") == self._keep.target and isinstance(left, str) and left:
            yield from self._take_back(left)

    def _load(self) -> dict[str, Any] | None:
        state = token.load(self._keep.token)
        if state is None and os.path.lexists(self._keep.token):
            token.warn("the token of %r can't be read, the upload begins anew", self._path)
        return state

    def _misfit(self, state: dict[str, Any]) -> str | None:
        """Why a token is not of this upload, or None."""
        for name, value in self._facts.items():
            if state[name] != value:
                return f"{name} was {state[name]!r} and is {value!r}"
        part, provider = state["part"], self._provider
        if type(part) is not int or not provider.min_part_bytes <= part <= provider.max_part_bytes:
            return "its size of parts makes no sense"
        if -(-self._size // part) > provider.max_parts or not isinstance(state["upload"], str) or not state["upload"]:
            return "its upload makes no sense"
        for number, (start, length, *_) in state["parts"].items():
            if [start, length] != [(int(number) - 1) * part, min(part, self._size - start)] or length <= 0:
                return "its parts make no sense"
        return None

    def _take_up(self, state: dict[str, Any]) -> Plan[str | None]:
        """Go on with the parts that the server has; or why there is nothing to go on with."""
        try:
            listed = yield from self._listed(state["upload"])
        except BaseError as error:
            if isinstance(error, (ServerError, UnauthenticatedError)) or error.status is None:
                raise  # the next call may have more luck
            return f"the server does not say what it has of it: {error}"
        done: dict[int, Any] = {}
        for number, (_, length, etag, checksum) in state["parts"].items():
            if listed.get(int(number)) == (etag, length):
                done[int(number)] = self._provider.part_again(int(number), etag, checksum, length)
        if state["parts"] and not done:
            return "the server has none of its parts"
        self.id, self.part_bytes, self._done = state["upload"], state["part"], done
        self._saved_s = monotonic()
        return None

    def _listed(self, upload_id: str) -> Plan[dict[int, tuple[str | None, int]]]:
        found: dict[int, tuple[str | None, int]] = {}
        marker: str | None = None
        while True:
            request = self._provider.list_parts(self._path, upload_id, marker)
            yield request
            page, following = self._provider.parts_listed(request, upload_id)
            found.update(page)
            if following is None or following == marker:
                return found
            marker = following

    # -- the upload

    def run(self, send: Callable[[], Plan[None]]) -> Plan[PutResult]:
        """Create the upload, unless one was found; let `send` start its parts; complete it, or leave it."""
        create = self._provider.create_upload(self._path, self._plan) if not self.id else None
        try:
            if create is not None:
                yield from self._begin(create)
                yield Call(self._save_first)
            return (yield from self._finish(send))
        except GeneratorExit:  # the call was dropped: nobody runs another effect
            self._stop()
            raise
        except BaseException as error:
            yield from self._leave(create, error)
            raise

    def _take_one(self) -> Plan[None]:
        yield from super()._take_one()
        if self._saved_s is None or monotonic() - self._saved_s >= _SAVE_EVERY_S:
            yield Call(self._save_quietly)

    def _leave(self, create: Request | str | None, error: BaseException) -> Plan[None]:
        for request, number in self._in_flight.items():
            if request.finished and request.error is None:
                with suppress(BaseError):
                    self._done[number] = self._provider.part_of(request, number)
        self._stop()
        if self._saved_s is None:  # nobody could find it
            if create is not None and not isinstance(create, str) and create.finished and create.error is None:
                yield from self._abort(create)
        elif isinstance(error, (SourceChangedError, ChecksumError)) or getattr(error, "code", None) in _HOPELESS:
            yield Call(token.remove, self._keep.token)
            yield from self._take_back(self.id)
        else:
            yield Call(self._save_quietly)

    def _take_back(self, upload_id: str) -> Plan[None]:
        if self._provider.aborts_uploads:
            with suppress(BaseError):  # it may be gone; what the caller has to know is something else
                yield Unbroken(self._provider.abort_upload(self._path, upload_id))

    def forget(self) -> None:
        """The object is there: nothing is left to go on with. Blocks."""
        token.remove(self._keep.token)

    # -- its token. All of these block.

    def _save(self) -> None:
        parts: dict[str, Any] = {}
        for number, part in self._done.items():
            start = (number - 1) * self.part_bytes
            length = min(self.part_bytes, self._size - start)
            parts[str(number)] = [start, length, *self._provider.part_facts(part)]
        token.save(self._keep.token, {**self._facts, "upload": self.id, "part": self.part_bytes, "parts": parts})
        self._saved_s = monotonic()

    def _save_first(self) -> None:
        try:
            self._save()
        except OSError as error:
            context = Context(self._keep.store, "put", self._path)
            raise of_file(context, error.errno or 0, self._keep.token) from error

    def _save_quietly(self) -> None:
        try:
            self._save()
        except OSError as error:
            self._saved_s = monotonic()
            token.warn("what has been sent of %r could not be noted: %s", self._path, error)
