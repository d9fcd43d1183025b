"""What there is: the objects of a `cp`, and the lines of an `ls`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from cumulo._operations.resume import TOKEN
from cumulo.exceptions import NotFoundError, NotSupportedError

from .local import walk
from .plan import Move, Refusal, folder, move_of, one_target
from .text import reason

if TYPE_CHECKING:
    from cumulo import ObjectMeta
    from cumulo.store._native_store import NativeStore

    from .connect import Connection
    from .urls import Location

_PAGE = 1000


@dataclass(frozen=True)
class Entry:
    """One line of a listing; a folder has no size."""

    name: str
    size: int | None = None
    modified: datetime | None = None


async def one_move(connection: Connection, source: Location, target: Location) -> Move:
    """The single object of a `cp`."""
    size = (await connection.store(source).head_async(source.path))["size"] if source.remote else _file_size(source)
    return Move(source, one_target(source, target, is_directory=_is_directory(target)), size)


def _file_size(location: Location) -> int:
    size = os.stat(location.path).st_size
    if _is_directory(location):
        raise ValueError(f"{location} is a directory: add --recursive to copy what is in it")
    return size


def _is_directory(location: Location) -> bool:
    return location.kind == "local" and os.path.isdir(location.path)


async def all_moves(connection: Connection, source: Location, target: Location) -> AsyncIterator[Move | Refusal]:
    """Every object of a recursive `cp`, while they are being listed."""
    if source.kind == "local":
        for move in _local_moves(source, target):
            yield move
        return
    async for chunk in connection.store(source).list_async(folder(source.path), chunk_size=_PAGE):
        for meta in chunk:
            move = move_of(source, target, meta["path"], meta["size"])
            if move is not None:
                yield move


def _local_moves(source: Location, target: Location) -> Iterator[Move | Refusal]:
    if not os.path.isdir(source.path):
        os.stat(source.path)  # says so if there is nothing at all
        raise ValueError(f"{source} is not a directory: leave out --recursive")
    if target.kind == "local" and _is_inside(target.path, source.path):
        raise ValueError(f"{target} is inside {source}: its copies would be copied again")
    for found in walk(source.path):
        if isinstance(found, Refusal):
            yield found
            continue
        if TOKEN.fullmatch(os.path.basename(found[0])):
            continue  # of an upload that `--resume` left or makes just now
        move = move_of(source, target, found[0].replace(os.sep, "/"), found[1].st_size)
        if move is not None:
            yield move


def _is_inside(path: str, directory: str) -> bool:
    path, directory = os.path.realpath(path), os.path.realpath(directory)
    return os.path.commonpath([path, directory]) == directory


def entries(connection: Connection, location: Location, *, recursive: bool) -> Iterator[Entry | Refusal]:
    """What `ls` shows: the object itself, or what is in the folder."""
    if location.kind == "local":
        yield from _local_entries(location.path, recursive)
        return
    store, path = connection.store(location), location.path
    if path and location.kind == "http":
        yield from _web_entries(store, location, recursive)
        return
    found = False
    if not location.is_folder:
        try:
            yield _of_meta(store.head(path), path.rpartition("/")[0])
            found = True
        except NotFoundError as error:
            if error.code == "NoSuchBucket":
                raise
    for entry in _folder_entries(store, folder(path), recursive):
        found = True
        yield entry
    if path and not found:
        raise FileNotFoundError(f"there is nothing at {location}")


def _web_entries(store: NativeStore, location: Location, recursive: bool) -> Iterator[Entry]:
    """The folder first: web servers answer a HEAD for one as if it were an object. Files need no listing."""
    refused: NotSupportedError | None = None
    found = False
    try:
        for entry in _folder_entries(store, folder(location.path), recursive):
            found = True
            yield entry
    except NotSupportedError as error:
        refused = error
    if found:
        return
    try:
        if location.is_folder:
            raise refused or FileNotFoundError(f"there is nothing at {location}")
        yield _of_meta(store.head(location.path), location.path.rpartition("/")[0])
    except NotFoundError:
        raise FileNotFoundError(f"there is nothing at {location}") from None


def _folder_entries(store: NativeStore, prefix: str, recursive: bool) -> Iterator[Entry]:
    if recursive:
        for chunk in store.list(prefix, chunk_size=_PAGE):
            for meta in chunk:
                yield _of_meta(meta, prefix)
        return
    level = store.list_with_delimiter(prefix)
    found = [Entry(name.removeprefix(prefix).removesuffix("/") + "/") for name in level["common_prefixes"]]
    found += [_of_meta(meta, prefix) for meta in level["objects"]]
    yield from sorted(found, key=lambda entry: entry.name)


def _of_meta(meta: ObjectMeta, prefix: str) -> Entry:
    name = meta["path"].removeprefix(folder(prefix)) or meta["path"]
    return Entry(name, meta["size"], meta["last_modified"])


def _local_entries(path: str, recursive: bool) -> Iterator[Entry | Refusal]:
    if not os.path.isdir(path):
        yield _of_status(os.path.basename(path), os.stat(path))
    elif recursive:
        for found in walk(path):
            yield found if isinstance(found, Refusal) else _of_status(*found)
    else:
        for name in sorted(os.listdir(path)):
            below = os.path.join(path, name)
            try:
                status = os.stat(below)
            except OSError as error:
                yield Refusal(below, reason(error))
                continue
            yield Entry(name + "/") if os.path.isdir(below) else _of_status(name, status)


def _of_status(name: str, status: os.stat_result) -> Entry:
    return Entry(name, status.st_size, datetime.fromtimestamp(status.st_mtime, timezone.utc))
