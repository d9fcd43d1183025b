"""`Listing`: which store a file system's name is in, and what there is below a name.

Names are taken apart in `_paths.py`. No listing is kept. Coroutines run on fsspec's event loop or the caller's own.
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cumulo.exceptions import NotFoundError, NotSupportedError

from . import _paths
from ._untyped import AsyncFileSystem

if TYPE_CHECKING:
    from datetime import datetime

    from cumulo import ObjectMeta
    from cumulo.store import ObjectStoreMethods

_LIST_CHUNK = 1000


class _OfClassOrInstance:
    """A method of the class, and of an instance whose protocol is its own."""

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        self._function = function

    def __get__(self, instance: Any, owner: Any) -> Callable[[Any], Any]:
        return lambda path: self._function(instance if instance is not None else owner, path)


class Listing(AsyncFileSystem):
    """The part of a file system that finds. What it is the file system of, it is given by `_construct_store`."""

    _construct_store: Callable[[str], ObjectStoreMethods]
    """The store of a bucket, container or host."""

    # -- names

    @_OfClassOrInstance
    def _strip_protocol(self: Any, path: Any) -> Any:
        if isinstance(path, list):
            return [_paths.name_of(each, self.protocol) for each in path]  # pyright: ignore[reportUnknownVariableType]
        return _paths.name_of(path, self.protocol)

    def _split_path(self, path: str) -> tuple[str, str]:
        """(bucket, key) of a path or URL."""
        return _paths.split(self._strip_protocol(path), self.protocol)

    def store_and_key(self, path: str) -> tuple[ObjectStoreMethods, str]:
        """The store a path is in, and the object's path there. Raises `ValueError` where there is no bucket."""
        bucket, key = self._split_path(path)
        return self._store_of(bucket), key

    def store_and_file(self, path: str) -> tuple[ObjectStoreMethods, str]:
        """The same of what is opened. Raises `IsADirectoryError` for a bucket; a host's URL may be a file."""
        store, key = self.store_and_key(path)
        if not key and self.protocol not in ("http", "https"):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return store, key

    def _store_of(self, bucket: str) -> ObjectStoreMethods:
        if not bucket and self.protocol not in ("file", "memory"):
            raise ValueError(f"a path of {self.protocol} begins with a bucket, a container or a host")
        return self._construct_store(bucket)

    def _joined(self, bucket: str, key: str) -> str:
        return _paths.joined(bucket, key, self.protocol)

    @property
    def _is_local(self) -> bool:
        return self.protocol == "file"

    # -- what there is

    def _entry(self, bucket: str, meta: ObjectMeta) -> dict[str, Any]:
        return {
            "name": self._joined(bucket, meta["path"]),
            "size": meta["size"],
            "type": "file",
            "e_tag": meta["e_tag"],
            "last_modified": meta["last_modified"],
            "version": meta["version"],
        }

    def _directory(self, name: str) -> dict[str, Any]:
        return {"name": name, "size": 0, "type": "directory"}

    async def _info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        refuse_versions(kwargs)
        bucket, key = self._split_path(path)
        name = self._joined(bucket, key)
        store = self._store_of(bucket)
        if key and key != "/":
            with suppress(NotFoundError):
                return self._entry(bucket, await store.head_async(key))
            if self._is_local and os.path.isdir(name):
                return self._directory(name)
            async for _ in self._below(store, key):
                return self._directory(name)
            raise FileNotFoundError(path)
        if bucket:
            async for _ in self._below(store, key):  # an error where there is no such bucket
                break
        return self._directory(name)

    async def _below(self, store: ObjectStoreMethods, key: str, beginning: str = "") -> AsyncIterator[ObjectMeta]:
        """The objects below a prefix, whose names there begin so; none where a web server has no listings."""
        where = (f"{key}/" if key else "") + beginning
        try:
            async for chunk in store.list(where or None, chunk_size=_LIST_CHUNK, substring=bool(beginning)):
                for meta in chunk:
                    yield meta
        except NotSupportedError:
            if self.protocol not in ("http", "https"):
                raise

    async def _ls(self, path: str, detail: bool = False, **_kwargs: Any) -> list[Any]:
        bucket, key = self._split_path(path)
        name = self._joined(bucket, key)
        found = await self._store_of(bucket).list_with_delimiter_async(f"{key}/" if key else None)
        entries = [self._entry(bucket, meta) for meta in found["objects"] if not meta["path"].endswith("/")]
        entries += [self._directory(self._joined(bucket, prefix)) for prefix in found["common_prefixes"]]
        if not entries and key and not found["objects"]:
            info = await self._info(path)  # a file, or an error
            entries = [info] if info["type"] == "file" else []
        entries = sorted((entry for entry in entries if entry["name"] != name or entry["type"] == "file"),
                         key=lambda entry: entry["name"])  # fmt: skip
        return entries if detail else [entry["name"] for entry in entries]

    async def _find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        prefix: str = "",
        **kwargs: Any,
    ) -> Any:
        """One listing of all that is below, but where only some levels of it are wanted.

        With `prefix`, as in s3fs, only that whose names below `path` begin so.
        """
        bucket, key = self._split_path(path)
        name = self._joined(bucket, key)
        if maxdepth is not None or self._is_local:
            found = await AsyncFileSystem._find(self, path, maxdepth=maxdepth, withdirs=withdirs, detail=True, **kwargs)
            if prefix:
                found = {each: found[each] for each in found if each.startswith(f"{name.rstrip('/')}/{prefix}")}
            return found if detail else list(found)
        files: dict[str, Any] = {}
        directories: dict[str, Any] = {}
        async for meta in self._below(self._store_of(bucket), key, prefix):
            entry = self._entry(bucket, meta)
            if meta["path"].endswith("/"):  # where consoles mark a directory
                directories[entry["name"]] = self._directory(entry["name"])
            else:
                files[entry["name"]] = entry
            for parent in _paths.parents(entry["name"], name):
                directories.setdefault(parent, self._directory(parent))
        if not files and not directories and key and not prefix:
            with suppress(FileNotFoundError):
                info = await self._info(path)
                files = {info["name"]: info}
        elif name and not prefix:
            directories[name] = self._directory(name)
        found = {**directories, **files} if withdirs else files
        return {each: found[each] for each in sorted(found)} if detail else sorted(found)

    async def _du(self, path: str, total: bool = True, maxdepth: int | None = None, **kwargs: Any) -> Any:
        found = await self._find(path, maxdepth=maxdepth, detail=True, **kwargs)
        sizes = {name: entry["size"] for name, entry in found.items()}
        return sum(sizes.values()) if total else sizes

    def modified(self, path: str) -> datetime:
        """When the object was last written."""
        store, key = self.store_and_key(path)
        return store.head(key)["last_modified"]


def refuse_versions(options: dict[str, Any]) -> None:
    """Refuse what s3fs and gcsfs take for a version: the current one would be read in its place, unnoticed."""
    for name in ("version_id", "generation"):
        if options.get(name) is not None:
            raise NotSupportedError(
                f"{name}: a file system reads what is current; get and head of a store take versions"
            )
