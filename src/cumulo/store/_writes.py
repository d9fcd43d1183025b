"""The verbs that change what is stored, in two of their three ways."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from cumulo import _defaults, _many
from cumulo._drivers import run_async, sync
from cumulo._drivers.effects import Plan
from cumulo._given import flag, maybe_flag
from cumulo._many import ManyStream, OnError, PutItem
from cumulo._operations import many
from cumulo._operations.get import token_value
from cumulo._operations.list import Scope, check_max_concurrency

from ._plans import Plans

if TYPE_CHECKING:
    import os

    from cumulo._many import Content
    from cumulo._operations.delete_prefix import DeletedPrefix
    from cumulo._types import (
        Attributes,
        CallFuture,
        PutMode,
        PutResult,
        PutSource,
    )


class Writes(Plans):
    """Put, delete, copy and rename."""

    def put(
        self,
        path: str,
        file: PutSource,
        *,
        attributes: Attributes | None = None,
        tags: dict[str, str] | None = None,
        mode: PutMode | None = None,
        use_multipart: bool | None = None,
        chunk_size: int = _defaults.PUT_CHUNK,
        max_concurrency: int = _defaults.PUT_CONCURRENCY,
        resume: bool | str | os.PathLike[str] = False,
    ) -> PutResult:
        """Write an object, all of it or not at all.

        Args:
            path: where to.
            file: bytes or any contiguous buffer, a file open for reading, a `pathlib.Path`, or an iterator of buffers.
            attributes: what to store with it.
            tags: the object's tags.
            mode: "overwrite" (the default), "create", or a dict with the `e_tag` it must still have. A conditional
                put is one request up to the provider's limit, whatever `chunk_size` is.
            use_multipart: True or False to force it; None uploads in parts what is larger than `chunk_size`.
            chunk_size: size of a part in bytes. Parts are never smaller than the provider allows, and grow where the
                object would otherwise need more parts than there may be.
            max_concurrency: how many parts are under way at a time.
            resume: go on with the upload in parts of this file to this place that a call with `resume` has left, if the
                file is still the same, and leave what has been sent for another when this call fails or is cancelled.
                What is known of it is a small file, `.<name>.cumulo-put-<digest>.json` beside `file`, or the one that
                is named here in place of True. `file` must be a `pathlib.Path`. Stores without uploads in parts just
                write. Of several such calls at a time the first to be done writes the object, and others may fail.

        Raises:
            AlreadyExistsError: with mode "create", when there is such an object.
            PreconditionError: with an update, when the object is another version now.
            SourceChangedError: the file was cut, extended or written to while it was uploaded (S3).
            LocalFileError: the token of `resume` can't be written.
            TypeError: `file` is a str: give bytes, or `pathlib.Path` for a file's name.
            ValueError: `resume`, and `file` is no `pathlib.Path`.
        """
        return sync.run(
            self._plan_put(
                path, file, attributes=attributes, tags=tags, mode=mode,
                use_multipart=maybe_flag("use_multipart", use_multipart),
                chunk_size=chunk_size, max_concurrency=max_concurrency, resume=resume,
            )
        )  # fmt: skip

    def put_async(
        self,
        path: str,
        file: PutSource,
        *,
        attributes: Attributes | None = None,
        tags: dict[str, str] | None = None,
        mode: PutMode | None = None,
        use_multipart: bool | None = None,
        chunk_size: int = _defaults.PUT_CHUNK,
        max_concurrency: int = _defaults.PUT_CONCURRENCY,
        resume: bool | str | os.PathLike[str] = False,
    ) -> CallFuture[PutResult]:
        """`put`, awaited. `file` may also be an async iterator; other iterators and files are read in a thread."""
        return run_async(
            self._plan_put(
                path, file, attributes=attributes, tags=tags, mode=mode,
                use_multipart=maybe_flag("use_multipart", use_multipart),
                chunk_size=chunk_size, max_concurrency=max_concurrency, resume=resume,
            )
        )  # fmt: skip

    def put_many(
        self,
        items: Iterable[tuple[str, Content]] | AsyncIterable[tuple[str, Content]],
        *,
        attributes: Attributes | None = None,
        tags: dict[str, str] | None = None,
        mode: PutMode | None = None,
        chunk_size: int = _defaults.PUT_CHUNK,
        max_concurrency: int = _defaults.MANY_CONCURRENCY,
        ordered: bool = False,
        errors: OnError = "raise",
    ) -> ManyStream[PutItem]:
        """Write any number of objects, for `for` or `async for`: results come as they are complete.

        Nothing is written before results are asked for, and everything only when the stream is read to its end.

        Args:
            items: (path, content) pairs, content being bytes, a buffer, or the `pathlib.Path` of a file. They are
                pulled as in `get_many`.
            attributes: what to store with each.
            tags: the tags of each.
            mode: "overwrite" (the default), "create", or an update, as `put` takes it.
            chunk_size: what is larger is uploaded in parts of this size, in bytes.
            max_concurrency: how many items are under way at a time.
            ordered: give results in the items' order.
            errors: as `get_many` takes it. What is under way when an error is raised is stopped; objects whose puts
                were complete stay.

        Raises:
            TypeError: an item is something else; whatever `errors` is.
        """
        _many.check(max_concurrency, errors, items, ordered)
        put = self._putter(attributes, tags, mode, chunk_size)

        def start(item: Any) -> tuple[str, Plan[PutResult]]:
            gift = many.gift_of(item)
            return gift.path, many.put_one(gift, put, bounded=True)

        return ManyStream(items, start, PutItem, max_concurrency=max_concurrency, ordered=ordered, errors=errors)

    def _putter(
        self, attributes: Attributes | None, tags: dict[str, str] | None, mode: PutMode | None, chunk_size: int
    ) -> Callable[[str, Any], Plan[PutResult]]:
        def plan(path: str, content: Any) -> Plan[PutResult]:
            return self._plan_put(
                path, content, attributes=attributes, tags=tags, mode=mode, use_multipart=None,
                chunk_size=chunk_size, max_concurrency=_defaults.PUT_CONCURRENCY,
            )  # fmt: skip

        return plan

    def delete(self, paths: str | Sequence[str], *, version: str | None = None) -> None:
        """Delete one object or many; many with the provider's bulk requests where it has them.

        A missing object is an error on local disks (`NotFoundError`) and none on S3 and in memory.

        Args:
            paths: one path or several.
            version: delete this version of one object, for good. A delete marker is a version, too: without it the
                object is back.

        Raises:
            NotSupportedError: `version` on a store that keeps none.
        """
        sync.run(self._delete_plan(paths, version))

    def delete_async(self, paths: str | Sequence[str], *, version: str | None = None) -> CallFuture[None]:
        """`delete`, awaited."""
        return run_async(self._delete_plan(paths, version))

    def _delete_plan(self, paths: str | Sequence[str], version: str | None) -> Plan[None]:
        if version is None:
            return self._plan_delete(paths)
        if not isinstance(paths, str):
            raise TypeError("a version is one object's: give its path as a str")
        return self._plan_delete_version(paths, token_value("version", version))

    def delete_prefix(
        self,
        prefix: str,
        *,
        substring: bool = False,
        everything: bool = False,
        max_concurrency: int = _defaults.DELETE_CONCURRENCY,
        errors: OnError = "raise",
    ) -> DeletedPrefix:
        """Delete all objects below a prefix: listed a page at a time, deleted with bulk requests where there are any.

        What is written meanwhile may be deleted or not. Where the bucket keeps versions, they are left alone: the
        objects get delete markers. Directories of local disks and WebDAV collections stay.

        Args:
            prefix: whole path segments, as for `list`.
            substring: the prefix may end anywhere.
            everything: has to be True for an empty prefix, which is all of the store, and only for that.
            max_concurrency: how many requests that delete are under way at a time (where they are requests).
            errors: objects that can't be deleted don't keep the rest from it. Then "raise" raises the first error;
                "return" leaves them to `DeletedPrefix.errors`. A listing or a whole bulk request that fails is raised
                at once in any case.

        Raises:
            ValueError: `everything` is missing, or wrong.
        """
        return sync.run(self._delete_prefix_plan(prefix, substring, everything, max_concurrency, errors))

    def delete_prefix_async(
        self,
        prefix: str,
        *,
        substring: bool = False,
        everything: bool = False,
        max_concurrency: int = _defaults.DELETE_CONCURRENCY,
        errors: OnError = "raise",
    ) -> CallFuture[DeletedPrefix]:
        """`delete_prefix`, awaited."""
        return run_async(self._delete_prefix_plan(prefix, substring, everything, max_concurrency, errors))

    def _delete_prefix_plan(
        self, prefix: str, substring: bool, everything: bool, max_concurrency: int, errors: OnError
    ) -> Plan[DeletedPrefix]:
        from cumulo._operations import delete_prefix

        delete_prefix.check_prefix(prefix, raw=self._raw_keys, everything=flag("everything", everything))
        if errors not in ("raise", "return"):
            raise ValueError(f"errors must be 'raise' or 'return', not {errors!r}")
        most = check_max_concurrency(max_concurrency)
        plan = self._plan_delete_prefix(self._pages(Scope(prefix, substring=flag("substring", substring))), most)
        return delete_prefix.told(plan, prefix, errors)

    def copy(self, from_: str, to: str, *, overwrite: bool = True) -> None:
        """Copy inside the store, without the content passing through here.

        Raises:
            AlreadyExistsError: `to` exists and `overwrite` is False.
            NotFoundError: there is no `from_`.
        """
        sync.run(self._plan_copy(from_, to, flag("overwrite", overwrite)))

    def copy_async(self, from_: str, to: str, *, overwrite: bool = True) -> CallFuture[None]:
        """`copy`, awaited."""
        return run_async(self._plan_copy(from_, to, flag("overwrite", overwrite)))

    def rename(self, from_: str, to: str, *, overwrite: bool = True) -> None:
        """Copy, then delete the source. Renaming to the same path changes nothing."""
        sync.run(self._plan_rename(from_, to, flag("overwrite", overwrite)))

    def rename_async(self, from_: str, to: str, *, overwrite: bool = True) -> CallFuture[None]:
        """`rename`, awaited."""
        return run_async(self._plan_rename(from_, to, flag("overwrite", overwrite)))
