"""`LocalStore`: a directory of a local disk as an object store."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from cumulo import _native
from cumulo._drivers import run_async, sync
from cumulo._drivers.effects import Call, Plan
from cumulo._given import flag
from cumulo._native import Bytes
from cumulo._operations import delete, passing, put, sources
from cumulo._operations.parts import check_parts
from cumulo._operations.resume import keep_of
from cumulo._result import GetResult, HeldBody
from cumulo.exceptions import (
    AlreadyExistsError,
    BaseError,
    GenericError,
    InvalidPathError,
    NotFoundError,
    NotSupportedError,
    PermissionDeniedError,
)

from ._base import ObjectStoreMethods
from ._local_conditions import Checks, check_sizes, cut, failed
from ._local_list import LocalPages, Walk, meta_of
from ._local_read import FileBody
from ._local_root import Place, Refused, Root, Segments, segments_of
from ._local_write import Writer, move_new, remove_leftovers, sync_directory

if TYPE_CHECKING:
    from typing_extensions import Self

    from cumulo._operations.list import Scope
    from cumulo._types import Attributes, CallFuture, GetOptions, ObjectMeta, PutResult

_READ_AT_ONCE_BYTES = 128 << 10
"""Files up to this size are read by `get` itself: thousands of results then need no descriptors."""
_DELETE_AT_ONCE = 64
_STREAM_PART_BYTES = 1 << 20
_LEFTOVER_AGE_S = 3600.0

_KINDS: dict[int, tuple[type[BaseError], str]] = {
    errno.ENOENT: (NotFoundError, "there is no such object"),
    errno.ENOTDIR: (NotFoundError, "there is no such object: a file is where a directory would have to be"),
    errno.EEXIST: (AlreadyExistsError, "there is such an object"),
    errno.EACCES: (PermissionDeniedError, "the file system does not allow it"),
    errno.EPERM: (PermissionDeniedError, "the file system does not allow it"),
    errno.EROFS: (PermissionDeniedError, "the file system is read-only"),
    errno.ENAMETOOLONG: (InvalidPathError, "the path is longer than the file system allows"),
    errno.EILSEQ: (InvalidPathError, "the file system does not take this name"),
    errno.ENOSPC: (GenericError, "the disk is full"),
    errno.EDQUOT: (GenericError, "the disk quota is used up"),
    errno.EFBIG: (GenericError, "the file is larger than the file system or the process's limit allows"),
    errno.EMFILE: (GenericError, "out of file descriptors (see `ulimit -n`)"),
    errno.ENFILE: (GenericError, "the system is out of file descriptors"),
    errno.EISDIR: (GenericError, "a directory is where the file would have to be"),
    errno.ENOTEMPTY: (GenericError, "a directory is where the file would have to be"),
}


class LocalStore(ObjectStoreMethods):
    """The files below a directory, by their paths.

    A put writes a temporary file and gives it its name in one step: what is read is always all of one version, also
    while it is replaced, and an error or a killed process never leaves half a file under an object's name. A new file's
    mode comes from the umask; a file that is replaced keeps its permission bits. A copy is a file of its own (sharing
    blocks with its source where the file system can do that). Deleting what isn't there is a `NotFoundError`.

    Nothing outside the directory can be reached: paths with `..` are refused, and symbolic links are followed only
    while they lead to something inside, whatever is renamed meanwhile. A link in the place of an object that is
    written, deleted or renamed is itself replaced, removed or renamed. Pipes, devices and sockets are never opened.

    Paths are stored as they are written. Names on disk that are not UTF-8 are listed with surrogates (PEP 383) and can
    be read by what is listed. Temporary files are called `.<name>.cumulo-<process>-<random>.tmp`; no listing shows
    them, and `remove_leftovers` removes those of killed processes.

    Attributes and updates by ETag are not supported, tags are ignored.

    Args:
        prefix: the directory; without one, the root of the file system.
        automatic_cleanup: a delete also removes the directories it leaves empty, but for the store's own.
        mkdir: make the directory, if need be.
        follow_symlinks: follow symbolic links wherever they lead.
        fsync: a put, copy, rename or delete returns once it would survive a power cut.

    Raises:
        GenericError: there is no such directory.
    """

    def __init__(
        self,
        prefix: str | os.PathLike[str] | None = None,
        *,
        automatic_cleanup: bool = False,
        mkdir: bool = False,
        follow_symlinks: bool = False,
        fsync: bool = False,
    ) -> None:
        self._prefix_given = None if prefix is None else Path(prefix)
        self._path = os.path.realpath("/" if prefix is None else prefix)
        self._automatic_cleanup = flag("automatic_cleanup", automatic_cleanup)
        self._mkdir = flag("mkdir", mkdir)
        self._follow_symlinks = flag("follow_symlinks", follow_symlinks)
        self._fsync = flag("fsync", fsync)
        self._root = Root(self._path, follow_symlinks=self._follow_symlinks, make=self._mkdir)
        self._check_root()

    def _check_root(self) -> None:
        try:
            if self._mkdir:
                os.makedirs(self._path, exist_ok=True)
            status = os.stat(self._path)
        except OSError as error:
            hint = "" if self._mkdir else "; mkdir=True makes it"
            raise GenericError(f"{self!r}: there is no such directory ({error.strerror}){hint}") from error
        if not stat.S_ISDIR(status.st_mode):
            raise GenericError(f"{self!r}: it is not a directory")

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        automatic_cleanup: bool = False,
        mkdir: bool = False,
        follow_symlinks: bool = False,
        fsync: bool = False,
    ) -> Self:
        """A store from a `file:///path` URL; options as for the class.

        Raises:
            ValueError: another kind of URL, or one with a query or fragment: `?` and `#` of a path are percent-encoded.
            GenericError: there is no such directory.
        """
        parts = urlsplit(url)
        elsewhere = parts.netloc not in ("", "localhost") or not parts.path.startswith("/")
        if parts.scheme != "file" or elsewhere or parts.query or parts.fragment:
            raise ValueError(f"a local store's URL is file:///path, not {url!r}")
        return cls(
            unquote(parts.path, errors="surrogateescape"), automatic_cleanup=automatic_cleanup, mkdir=mkdir,
            follow_symlinks=follow_symlinks, fsync=fsync,
        )  # fmt: skip

    # -- calls that may block, and their errors

    def _call(self, operation: str, path: str, function: Callable[..., Any], *arguments: Any) -> Call:
        return Call(self._guarded, operation, path, function, arguments)

    def _guarded(self, operation: str, path: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        try:
            return function(*arguments)
        except BaseError:
            raise
        except Refused as error:
            raise failed(error.kind, self, operation, path, str(error)) from error
        except OSError as error:
            raise self._told(operation, path, error) from error

    def _told(self, operation: str, path: str, error: OSError) -> BaseError:
        number = error.errno or 0
        kind, message = _KINDS.get(number, (GenericError, error.strerror or str(error)))
        if number == errno.ENOTDIR and operation == "put":
            kind, message = GenericError, "a file is where a directory would have to be"
        return failed(kind, self, operation, path, message, errno.errorcode.get(number))

    # -- reading

    def _plan_get(
        self, path: str, options: GetOptions | None, part_size: int | None = None, max_concurrency: int | None = None
    ) -> Plan[GetResult]:
        check_parts(part_size, max_concurrency)  # nothing here is fetched in parts
        segments = segments_of(path)
        checks = Checks(self, options)
        return (yield self._call("get", path, self._get, path, segments, checks))

    def _get(self, path: str, segments: Segments, checks: Checks) -> GetResult:
        file, status = self._open(segments)
        try:
            meta = meta_of(_normal(path), status)
            checks.check(path, meta)
            start, end = checks.span(path, status.st_size)
            if checks.head:
                return GetResult(HeldBody(Bytes(b"")), meta, (start, end), {})
            if end - start > _READ_AT_ONCE_BYTES:
                body, file = FileBody(file, start, end, self._caller("get", path)), -1
                return GetResult(body, meta, (start, end), {})
            content = _native.read_file(file, start, end - start)
            return GetResult(HeldBody(content), meta, (start, end), {})
        finally:
            if file >= 0:
                os.close(file)

    def _caller(self, operation: str, path: str) -> Callable[..., Call]:
        def call(function: Callable[..., Any], *arguments: Any) -> Call:
            return self._call(operation, path, function, *arguments)

        return call

    def _open(self, segments: Segments) -> tuple[int, os.stat_result]:
        with self._root.locate(segments) as place:
            return place.open()

    def _plan_get_range(self, path: str, start: int, end: int) -> Plan[Bytes]:
        segments = segments_of(path)
        found = yield self._call("get_range", path, self._read_spans, "get_range", path, segments, [(start, end)])
        return found[0]

    def _plan_get_ranges(self, path: str, wanted: Sequence[tuple[int, int]], coalesce: int) -> Plan[list[Bytes]]:
        segments = segments_of(path)
        return (yield self._call("get_ranges", path, self._read_spans, "get_ranges", path, segments, wanted))

    def _read_spans(
        self, operation: str, path: str, segments: Segments, wanted: Sequence[tuple[int, int]]
    ) -> list[Bytes]:
        file, status = self._open(segments)
        try:
            spans = [cut(self, operation, path, span, status.st_size) for span in wanted]
            return [_native.read_file(file, start, end - start) for start, end in spans]
        finally:
            os.close(file)

    def _plan_head(self, path: str) -> Plan[ObjectMeta]:
        return (yield self._call("head", path, self._head, path, segments_of(path)))

    def _head(self, path: str, segments: Segments) -> ObjectMeta:
        with self._root.locate(segments) as place:
            return meta_of(_normal(path), place.object_status())

    # -- writing

    def _plan_put(
        self,
        path: str,
        file: Any,
        *,
        attributes: Any,
        tags: Any,
        mode: Any,
        use_multipart: bool | None,
        chunk_size: int,
        max_concurrency: int,
        resume: bool | str | os.PathLike[str] = False,
    ) -> Plan[PutResult]:
        keep_of(resume, file, path)  # a copy is not worth going on with
        segments = segments_of(path)
        plan = put.checked(attributes, tags, mode)
        check_sizes(chunk_size, max_concurrency)
        if plan.attributes:
            raise failed(NotSupportedError, self, "put", path, "files have no attributes")
        if plan.if_match is not None:
            raise failed(NotSupportedError, self, "put", path, "files can't be replaced on a condition; use 'create'")
        writer = Writer(self._root, segments, create=plan.create, fsync=self._fsync)
        status = yield from sources.with_source(
            file, lambda source: self._written(writer, path, self._fill(writer, path, source, chunk_size))
        )
        return {"e_tag": meta_of(path, status)["e_tag"], "version": None}

    def _written(self, writer: Writer, path: str, steps: Plan[Any]) -> Plan[Any]:
        """Take the steps; leave nothing behind when one fails."""
        try:
            return (yield from steps)
        except GeneratorExit:
            writer.discard()  # the call was dropped: nobody runs another effect
            raise
        except BaseException:
            yield self._call("put", path, writer.discard)
            raise

    def _fill(self, writer: Writer, path: str, source: sources.Source, chunk_size: int) -> Plan[os.stat_result]:
        if source.size is not None and not sources.comes_in_pieces(source, max(chunk_size, _STREAM_PART_BYTES)):
            part = yield from source.part(0, source.size)
            if "file" not in part:
                return (yield self._call("put", path, writer.put, part["body"]))
            return (yield self._call("put", path, _put_file, writer, *part["file"]))
        yield self._call("put", path, writer.open)
        while True:
            part = yield from source.part(0, max(chunk_size, _STREAM_PART_BYTES))
            if len(part["body"]) == 0:
                return (yield self._call("put", path, writer.commit))
            yield self._call("put", path, writer.write, part["body"])

    def _plan_open(self, path: str, part_bytes: int, max_concurrency: int) -> Plan[passing.Opened]:
        result = yield from self._plan_get(path, None)
        body = result._body
        if not isinstance(body, FileBody):
            return passing.opened(result)
        file = os.fdopen(body.detach(), "rb", buffering=0)  # what takes files reads it without passing through Python
        return passing.Opened(sources.FileSource(file, 0, os.fstat(file.fileno()), owned=True))

    def _kept(self, attributes: Attributes) -> Attributes:
        return {}

    def _check_path(self, path: str, *, written: bool = False) -> None:
        segments_of(path)

    # -- delete

    def _plan_delete(self, paths: str | Sequence[str]) -> Plan[None]:
        wanted = [(path, segments_of(path)) for path in delete.paths_of(paths)]
        for start in range(0, len(wanted), _DELETE_AT_ONCE):
            yield Call(self._delete_some, wanted[start : start + _DELETE_AT_ONCE])

    def _delete_some(self, wanted: Sequence[tuple[str, Segments]]) -> None:
        for path, segments in wanted:
            self._guarded("delete", path, self._delete_one, (segments,))

    def _delete_one(self, segments: Segments) -> None:
        with self._root.locate(segments, last_link=False) as place:
            if place.status is not None and stat.S_ISDIR(place.status.st_mode):
                raise Refused("it is a directory")
            if place.status is not None and not stat.S_ISLNK(place.status.st_mode):
                place.object_status()
            os.unlink(place.name, dir_fd=place.directory)
            if self._fsync:
                sync_directory(place)
        if self._automatic_cleanup:
            self._root.prune([segments[:count] for count in range(len(segments) - 1, 0, -1)])

    # -- copy, rename

    def _plan_copy(self, from_: str, to: str, overwrite: bool) -> Plan[None]:
        source, target = segments_of(from_), segments_of(to)
        if source == target:
            yield self._call("copy", from_, self._stay, source, overwrite)
            return
        yield from self._copy_plan("copy", from_, to, source, target, overwrite)

    def _copy_plan(
        self, operation: str, from_: str, to: str, source: Segments, target: Segments, overwrite: bool
    ) -> Plan[None]:
        writer = Writer(self._root, target, create=not overwrite, fsync=self._fsync)
        yield from self._written(writer, to, self._copy_steps(operation, from_, to, source, writer))

    def _copy_steps(self, operation: str, from_: str, to: str, source: Segments, writer: Writer) -> Plan[Any]:
        return (yield self._call(operation, from_, self._copy, operation, to, source, writer))

    def _copy(self, operation: str, to: str, source: Segments, writer: Writer) -> Any:
        file, _ = self._open(source)
        try:
            return self._guarded(operation, to, writer.copy_whole, (file,))
        finally:
            os.close(file)

    def _stay(self, segments: Segments, overwrite: bool) -> None:
        with self._root.locate(segments) as place:
            place.object_status()
        if not overwrite:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    def _plan_rename(self, from_: str, to: str, overwrite: bool) -> Plan[None]:
        source, target = segments_of(from_), segments_of(to)
        if source == target:
            yield self._call("rename", from_, self._stay, source, overwrite)
            return
        renamed = yield self._call("rename", from_, self._rename, from_, to, source, target, overwrite)
        if not renamed:
            yield from self._copy_plan("rename", from_, to, source, target, overwrite)
            yield self._call("rename", from_, self._delete_one, source)

    def _rename(self, from_: str, to: str, source: Segments, target: Segments, overwrite: bool) -> bool:
        """Whether it could be done by renaming; else nothing has been changed."""
        with self._root.locate(source, last_link=False) as old:
            if old.status is not None and stat.S_ISLNK(old.status.st_mode):
                return False  # a relative link would lead elsewhere from its new place
            old.object_status()
            return bool(self._guarded("rename", to, self._rename_to, (old, target, overwrite)))

    def _rename_to(self, old: Place, target: Segments, overwrite: bool) -> bool:
        with self._root.locate(target, last_link=False, make=True) as new:
            try:
                if new.status is not None and not stat.S_ISLNK(new.status.st_mode):
                    _check_replaceable(new)
                if overwrite:
                    os.replace(old.name, new.name, src_dir_fd=old.directory, dst_dir_fd=new.directory)
                else:
                    move_new(old.directory, old.name, new.directory, new.name)
            except OSError as error:
                self._root.prune(new.made[::-1])
                if error.errno == errno.EXDEV:
                    return False  # another file system is mounted in the store's directory
                raise
            if self._fsync:
                sync_directory(new)
                sync_directory(old)
            return True

    # -- list

    def _pages(self, scope: Scope) -> LocalPages:
        offset = scope.offset
        if offset is not None and not isinstance(offset, str):
            raise TypeError(f"a path must be a str, not {type(offset).__name__}")
        start = offset.removeprefix("/") if offset is not None else None
        folder, name = "" if scope.prefix is None else scope.prefix, ""
        if scope.substring and isinstance(folder, str):
            folder, _, name = folder.removeprefix("/").rpartition("/")
        walk = Walk(self._root, segments_of(folder, empty=True), start, beginning=name)
        return LocalPages(walk, self._caller("list", scope.prefix or ""), delimiter=scope.delimiter)

    # -- what killed processes leave

    def remove_leftovers(self, *, older_than_s: float = _LEFTOVER_AGE_S) -> list[str]:
        """Remove the temporary files of processes that were killed while they wrote. Their paths.

        Files that are being written are left alone: they are locked, and on file systems without locks told by their
        age.

        Args:
            older_than_s: only files that have not been written to for so many seconds.

        Raises:
            TypeError, ValueError: `older_than_s` is no number, or a negative one.
        """
        return sync.run(self._leftovers_plan(older_than_s))

    def remove_leftovers_async(self, *, older_than_s: float = _LEFTOVER_AGE_S) -> CallFuture[list[str]]:
        """`remove_leftovers`, awaited."""
        return run_async(self._leftovers_plan(older_than_s))

    def _leftovers_plan(self, older_than_s: float) -> Plan[list[str]]:
        given: Any = older_than_s
        if isinstance(given, bool) or not isinstance(given, (int, float)):
            raise TypeError(f"older_than_s must be a number of seconds, not {type(given).__name__}")
        if not given >= 0:  # as well for what is not a number, which nothing is younger than
            raise ValueError(f"older_than_s must be 0 or more seconds, not {given}")
        return (yield self._call("remove_leftovers", "", remove_leftovers, self._root, older_than_s))

    # -- what a store is

    @property
    def prefix(self) -> Path | None:
        """The directory given, if any."""
        return self._prefix_given

    def _options(self) -> dict[str, bool]:
        return {
            "automatic_cleanup": self._automatic_cleanup,
            "mkdir": self._mkdir,
            "follow_symlinks": self._follow_symlinks,
            "fsync": self._fsync,
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LocalStore) or type(self) is not type(other):
            return NotImplemented
        return self._path == other._path and self._options() == other._options()

    def __hash__(self) -> int:
        return hash(self._path)

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments for packages that make a store of their own by them, in obstore's form."""
        where = None if self._prefix_given is None else Path(self._path)
        return (where,), {"automatic_cleanup": self._automatic_cleanup, "mkdir": self._mkdir}

    def __reduce__(self) -> tuple[Any, ...]:
        # A relative directory is pickled as what it is here.
        where = None if self._prefix_given is None else self._path
        if self._prefix_given is not None and self._prefix_given.is_absolute():
            where = str(self._prefix_given)
        return _rebuilt, (type(self), where, self._options())

    def __repr__(self) -> str:
        return "LocalStore()" if self._prefix_given is None else f"LocalStore({str(self._prefix_given)!r})"


def _rebuilt(kind: type[LocalStore], prefix: str | None, options: dict[str, bool]) -> LocalStore:
    return kind(prefix, **options)


def _normal(path: str) -> str:
    return path.removeprefix("/").removesuffix("/")


def _check_replaceable(place: Place) -> None:
    status = place.status
    if status is not None and not stat.S_ISREG(status.st_mode):
        raise Refused("what is there is not a regular file, and is not replaced")


def _put_file(writer: Writer, file: Any, start: int, length: int) -> os.stat_result:
    writer.open()
    copied = writer.copy_from(file.fileno(), start, length)
    if copied < length:
        raise Refused(f"the file became shorter while it was read: {copied} bytes of {length}")
    return writer.commit()
