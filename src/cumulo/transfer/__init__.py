"""Copies between stores: on one server or of two providers, of memory, of the local disk.

Each function copies one object, whole or not at all, and is there in the three ways: `copy`, `copy_async`, and
`copy_future` for a `concurrent.futures.Future`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cumulo._drivers import run_async, run_in_background, sync

from ._copy import plan

if TYPE_CHECKING:
    from concurrent.futures import Future

    from cumulo import Attributes
    from cumulo._types import CallFuture
    from cumulo.store import ObjectStoreMethods

__all__ = ["copy", "copy_async", "copy_future"]


def copy(
    source: ObjectStoreMethods,
    from_: str,
    target: ObjectStoreMethods,
    to: str,
    *,
    overwrite: bool = True,
    attributes: Attributes | None = None,
    part_size: int | None = None,
    max_concurrency: int | None = None,
) -> None:
    """Copy an object of one store to another.

    Where both are of one provider and account, the server copies, from bucket to bucket too, as `copy` of a store does.
    Otherwise the content passes through this process: parts of one version of the source are read while others are
    sent. No more is held than `2 * max_concurrency + 1` parts, 136 MiB by default; what all copies together read ahead
    stays within the process's `memory_bytes`. The target is there when it is complete; after an error or a cancel it is
    what it was before.

    Attributes are kept, but for the storage class, and by all targets but the local disk, which has none. Tags are kept
    where both sides have them (S3).

    Args:
        source: where the object is.
        from_: its path there.
        target: where it is to be.
        to: its path there.
        overwrite: False fails if there is such an object. Cloud Storage can say so of uploads in one request only: the
            object may then be no larger than `part_size * max_concurrency`.
        attributes: set these, such as a `Content-Type`, in place of the source's of that name. The content then passes
            through this process in any case.
        part_size: bytes of a part, where the content passes through here. Default: 8 MiB, and more where the target
            would otherwise have too many parts.
        max_concurrency: how many parts are read, and how many are sent, at a time. Default: 8.

    Raises:
        NotFoundError: there is no such object.
        AlreadyExistsError: with `overwrite=False`, when there is something at `to`.
        ObjectChangedError: the source was replaced while it was copied.
        SourceChangedError: a local file was written to while it was copied.
        NotSupportedError: the target can't hold such an object.
    """
    sync.run(plan(source, from_, target, to, overwrite, attributes, part_size, max_concurrency))


def copy_async(
    source: ObjectStoreMethods,
    from_: str,
    target: ObjectStoreMethods,
    to: str,
    *,
    overwrite: bool = True,
    attributes: Attributes | None = None,
    part_size: int | None = None,
    max_concurrency: int | None = None,
) -> CallFuture[None]:
    """`copy`, awaited."""
    return run_async(plan(source, from_, target, to, overwrite, attributes, part_size, max_concurrency))


def copy_future(
    source: ObjectStoreMethods,
    from_: str,
    target: ObjectStoreMethods,
    to: str,
    *,
    overwrite: bool = True,
    attributes: Attributes | None = None,
    part_size: int | None = None,
    max_concurrency: int | None = None,
) -> Future[None]:
    """`copy` as a `concurrent.futures.Future`, whose cancel stops it."""
    return run_in_background(plan(source, from_, target, to, overwrite, attributes, part_size, max_concurrency))
