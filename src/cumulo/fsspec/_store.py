"""`FsspecStore`: the verbs of stores under fsspec's names. Coroutines run on fsspec's event loop or the caller's own.

What there is, `_listing.py` finds. A store is made for each bucket, container or host that is met, and the last few are
kept. Bulk calls are `get_many`, `put_many`, `get_ranges` and bulk deletes of a store.
"""

from __future__ import annotations

import os
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import warn

import cumulo
from cumulo.exceptions import NotFoundError, RangeNotSatisfiableError
from cumulo.store import from_url
from cumulo.transfer import copy_async

from . import _bulk, _paths
from ._file import BufferedFile, PackedFile, TextFile
from ._listing import Listing, refuse_versions
from ._untyped import DEFAULT_CALLBACK, AsyncFileSystem, NoOpCallback, compressions, get_compression, get_loop

if TYPE_CHECKING:
    from cumulo.store import ClientConfig, ObjectStoreMethods, RetryConfig

_MANY = 64
_STEP_BYTES = 5 << 20


class FsspecStore(Listing):
    """A file system of fsspec's over the stores of one protocol.

    Args:
        protocol: one of `SUPPORTED_PROTOCOLS`. Default: the class's own, for those that `register` makes.
        *args: handed on to fsspec.
        config: options of the stores.
        client_options: connections, TLS, proxies, timeouts; see `ClientConfig`.
        retry_config: retries; see `RetryConfig`.
        credential_provider: a sync or async callable that gives credentials.
        asynchronous: for use on the caller's own event loop, by the methods that begin with `_`.
        max_cache_size: how many stores, one a bucket, are kept.
        loop: the event loop of synchronous calls. Default: fsspec's.
        batch_size: how many files of a bulk call are under way at a time.
        **kwargs: options of the stores as keywords.
    """

    cachable = True
    _extra_tokenize_attributes = ("asynchronous",)

    def __init__(
        self,
        protocol: str | None = None,
        *args: Any,
        config: Any = None,
        client_options: ClientConfig | None = None,
        retry_config: RetryConfig | None = None,
        credential_provider: Any = None,
        asynchronous: bool = False,
        max_cache_size: int = 10,
        loop: Any = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        if protocol is not None:
            self.protocol = protocol
        if self.protocol not in _paths.SUPPORTED_PROTOCOLS:
            warn(f"no store is known for the protocol {self.protocol!r}: requests will fail", stacklevel=2)
        own = {name: kwargs.pop(name) for name in ("use_listings_cache", "listings_expiry_time") if name in kwargs}
        self._options: dict[str, Any] = {
            "config": config,
            "client_options": client_options,
            "retry_config": retry_config,
            "credential_provider": credential_provider,
            **kwargs,
        }
        self._construct_store = lru_cache(maxsize=max_cache_size)(self._make_store)
        asynchronous = asynchronous or bool(getattr(type(self), "asynchronous", False))  # as it was registered
        AsyncFileSystem.__init__(self, *args, asynchronous=asynchronous, loop=loop, batch_size=batch_size, **own)

    @property
    def loop(self) -> Any:
        """The event loop of synchronous calls; a forked child has one of its own."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._loop = None if self.asynchronous else get_loop()
        return self._loop

    def _make_store(self, bucket: str) -> ObjectStoreMethods:
        options = {name: value for name, value in self._options.items() if value is not None}
        if self.protocol in _paths.KEEPS_RAW_KEYS:
            options.setdefault("raw_keys", True)  # `a//b` and `a/` are names like others
        return from_url(_paths.url_of(bucket, self.protocol), **options)

    def sign(self, path: str, expiration: float = 100, **_kwargs: Any) -> str:
        """A URL that reads the object for `expiration` seconds, whoever has it."""
        store, key = self.store_and_key(path)
        return cumulo.sign(store, "GET", key, timedelta(seconds=expiration))  # type: ignore[arg-type]

    def invalidate_cache(self, path: str | None = None) -> None:
        """Nothing: no listing is kept."""

    # -- reading

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        refuse_versions(kwargs)
        store, key = self.store_and_key(path)
        options: Any = {}
        if start is not None or end is not None:
            if end is not None and (end < 0 or (start or 0) < 0):  # counted from an end that has to be known
                start, end, _ = slice(start, end).indices((await store.head_async(key))["size"])
            if end is not None and end <= (start or 0):
                return b""
            options["range"] = {"suffix": -start} if start is not None and start < 0 else (
                {"offset": start or 0} if end is None else (start or 0, end))  # fmt: skip
        try:
            result = await store.get_async(key, options=options)
        except RangeNotSatisfiableError:
            return b""  # as a file gives at its end
        first, last = result.range
        return b"".join([chunk async for chunk in result.stream(max(1, last - first))])

    async def _cat(
        self, path: Any, recursive: bool = False, on_error: str = "raise", batch_size: int | None = None, **kwargs: Any
    ) -> Any:
        if recursive:
            expanded = await self._expand_path(path)
            names = sorted({name for each in expanded for name in await self._find(each)})
        else:
            names = await self._expand_path(path)
        if kwargs:
            return await AsyncFileSystem._cat(self, names, on_error=on_error, batch_size=batch_size, **kwargs)
        found = await _bulk.contents(self, names, self._most(batch_size))
        if not isinstance(path, list) and names == [self._strip_protocol(path)]:
            return _bulk.whole(found[0]) if on_error == "raise" else found[0]
        contents = dict(zip(names, found, strict=True))
        if on_error == "raise":
            return {name: _bulk.whole(content) for name, content in contents.items()}
        return {n: content for n, content in contents.items() if on_error != "omit" or isinstance(content, bytes)}

    def _most(self, batch_size: int | None) -> int:
        most = batch_size or self.batch_size or _MANY
        return most if most > 0 else 1 << 20

    async def _cat_ranges(
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        batch_size: int | None = None,
        on_error: str = "return",
        **_kwargs: Any,
    ) -> list[Any]:
        if not isinstance(paths, list):
            raise TypeError(f"paths must be a list, not {type(paths).__name__}")
        begins: list[Any] = list(starts) if hasattr(starts, "__iter__") else [starts] * len(paths)
        stops: list[Any] = list(ends) if hasattr(ends, "__iter__") else [ends] * len(paths)
        if not len(paths) == len(begins) == len(stops):
            raise ValueError(f"{len(paths)} paths, {len(begins)} starts, {len(stops)} ends: they must be as many")
        wanted = [_bulk.Span(*each) for each in zip(paths, begins, stops, strict=True)]
        found = await _bulk.spans(self, wanted, max_gap, self._most(batch_size))
        return found if on_error == "return" else [_bulk.whole(content) for content in found]

    async def _get_file(
        self, rpath: str, lpath: Any, callback: Any = DEFAULT_CALLBACK, outfile: Any = None, **kwargs: Any
    ) -> None:
        refuse_versions(kwargs)
        if os.path.isdir(lpath):
            return
        store, key = self.store_and_key(rpath)
        try:
            if outfile is None and isinstance(callback, NoOpCallback):
                await store.download_async(key, lpath)
            else:
                await self._get_with_progress(store, key, lpath, callback, outfile)
        except NotFoundError:
            if not await self._isdir(rpath):
                raise
            os.makedirs(lpath, exist_ok=True)

    async def _get(
        self,
        rpath: Any,
        lpath: Any,
        recursive: bool = False,
        callback: Any = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        options = {"recursive": recursive, "maxdepth": maxdepth, "batch_size": batch_size or self.batch_size}
        if not isinstance(callback, NoOpCallback):  # which wants to hear of each file
            await AsyncFileSystem._get(self, rpath, lpath, callback=callback, **options, **kwargs)
            return
        pairs: list[tuple[str, str]] = []
        known: dict[str, dict[str, Any]] = {}

        async def note(remote: str, local: str, **_: Any) -> None:
            pairs.append((remote, local))

        async def find(path: str, detail: bool = False, **how: Any) -> Any:
            found = await self._find(path, detail=True, **how)
            known.update(found)
            return found if detail else sorted(found)

        await AsyncFileSystem._get(self._planner(_get_file=note, _find=find), rpath, lpath, **options)
        left = await _bulk.get_small(self, pairs, known, self._most(batch_size))
        remotes, locals_ = [remote for remote, _ in left], [local for _, local in left]
        await AsyncFileSystem._get(self, remotes, locals_, batch_size=options["batch_size"], **kwargs)

    def _planner(self, **own: Any) -> Any:
        """This file system with some methods of a call's own: fsspec then says what goes where, and moves nothing."""
        planner: Any = object.__new__(type(self))
        planner.__dict__.update(self.__dict__, **own)
        return planner

    async def _get_with_progress(
        self, store: ObjectStoreMethods, key: str, lpath: Any, callback: Any, outfile: Any
    ) -> None:
        result = await store.get_async(key)
        callback.set_size(result.meta["size"])
        file = outfile if outfile is not None else open(lpath, "wb")  # noqa: SIM115
        try:
            async for chunk in result.stream(_STEP_BYTES):
                file.write(chunk)
                callback.relative_update(len(chunk))
        except BaseException:
            if outfile is None:
                os.unlink(lpath)
            raise
        finally:
            if outfile is None:
                file.close()

    # -- writing

    async def _pipe_file(self, path: str, value: Any, mode: str = "overwrite", **_kwargs: Any) -> None:
        store, key = self.store_and_key(path)
        await store.put_async(key, value, mode=_mode(mode))

    async def _pipe(self, path: Any, value: Any = None, batch_size: int | None = None, **kwargs: Any) -> None:
        contents = {path: value} if isinstance(path, str) else path
        await _bulk.put_all(self, contents.items(), _mode(kwargs.get("mode", "overwrite")), self._most(batch_size))

    async def _put_file(
        self, lpath: Any, rpath: str, callback: Any = DEFAULT_CALLBACK, mode: str = "overwrite", **_kwargs: Any
    ) -> None:
        if os.path.isdir(lpath):
            await self._makedirs(rpath, exist_ok=True)
            return
        store, key = self.store_and_key(rpath)
        content: Any = Path(lpath)
        callback.set_size(os.path.getsize(lpath))
        if isinstance(callback, NoOpCallback):
            await store.put_async(key, content, mode=_mode(mode))
            return
        with open(lpath, "rb") as file:
            await store.put_async(key, _Told(file, callback), mode=_mode(mode))

    async def _put(
        self,
        lpath: Any,
        rpath: Any,
        recursive: bool = False,
        callback: Any = DEFAULT_CALLBACK,
        batch_size: int | None = None,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        options = {"recursive": recursive, "maxdepth": maxdepth, "batch_size": batch_size, "callback": callback}
        if not isinstance(callback, NoOpCallback):  # which wants to hear of each file
            await AsyncFileSystem._put(self, lpath, rpath, **options, **kwargs)
            return
        pairs: list[tuple[str, Path]] = []

        async def note(local: Any, remote: str, **_: Any) -> None:
            pairs.append((remote, Path(local)))

        await AsyncFileSystem._put(self._planner(_put_file=note), lpath, rpath, **options)
        await _bulk.put_all(self, pairs, _mode(kwargs.get("mode", "overwrite")), self._most(batch_size))

    async def _cp_file(self, path1: str, path2: str, **_kwargs: Any) -> None:
        bucket1, key1 = self._split_path(path1)
        bucket2, key2 = self._split_path(path2)
        if self._is_local and os.path.isdir(key1):
            os.makedirs(key2, exist_ok=True)
            return
        source, target = self._store_of(bucket1), self._store_of(bucket2)
        try:
            await (source.copy_async(key1, key2) if source is target else copy_async(source, key1, target, key2))
        except NotFoundError:
            if not await self._isdir(path1):  # of which there is nothing to copy
                raise

    async def _copy(self, path1: Any, path2: Any, *args: Any, on_error: str | None = None, **kwargs: Any) -> None:
        # fsspec's default for trees passes over what is not found: a target's bucket, too.
        await AsyncFileSystem._copy(self, path1, path2, *args, on_error=on_error or "raise", **kwargs)

    async def _mv_file(self, path1: str, path2: str, **_kwargs: Any) -> None:
        bucket1, key1 = self._split_path(path1)
        bucket2, key2 = self._split_path(path2)
        if bucket1 == bucket2:
            await self._store_of(bucket1).rename_async(key1, key2)
        else:
            await self._cp_file(path1, path2)
            await self._rm_file(path1)

    async def _mkdir(self, path: str, create_parents: bool = True, **_kwargs: Any) -> None:
        """A directory on the local disk. Elsewhere there are none: nothing."""
        if self._is_local:
            (os.makedirs if create_parents else os.mkdir)(self._strip_protocol(path))

    async def _makedirs(self, path: str, exist_ok: bool = False) -> None:
        if self._is_local:
            os.makedirs(self._strip_protocol(path), exist_ok=exist_ok)

    def rmdir(self, path: str) -> None:
        """Remove an empty directory of the local disk. Elsewhere there are none: nothing."""
        if self._is_local:
            os.rmdir(self._strip_protocol(path))

    # -- deleting

    async def _rm_file(self, path: str, **_kwargs: Any) -> None:
        store, key = self.store_and_key(path)
        await store.delete_async(key)

    async def _rm(
        self, path: Any, recursive: bool = False, batch_size: int | None = None, maxdepth: int | None = None, **_: Any
    ) -> None:
        buckets: dict[str, list[str]] = {}
        for name in await self._expand_path(path, maxdepth=maxdepth):
            bucket, key = self._split_path(name)
            keys = buckets.setdefault(bucket, [])
            keys += await self._keys_to_remove(name, maxdepth) if recursive else [key]
        for bucket, keys in buckets.items():
            files = [key for key in keys if not (self._is_local and os.path.isdir(key))]
            if files:
                await self._store_of(bucket).delete_async(files)
            for key in sorted(set(keys) - set(files), reverse=True):
                os.rmdir(key)

    async def _keys_to_remove(self, name: str, maxdepth: int | None) -> list[str]:
        if maxdepth is not None or self._is_local:
            found = await self._find(name, maxdepth=maxdepth, withdirs=self._is_local)
        else:  # as they are listed: marks of directories, too
            bucket, key = self._split_path(name)
            keys = [meta["path"] async for meta in self._below(self._store_of(bucket), key)]
            if keys:
                return keys
            found = await self._find(name)
        if not found and not await self._isdir(name):
            raise FileNotFoundError(name)
        return [self._split_path(each)[1] for each in found]

    # -- files

    def _open(
        self,
        path: str,
        mode: Any = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: Any = None,
        **kwargs: Any,
    ) -> BufferedFile:
        refuse_versions(kwargs)
        return BufferedFile(self, path, mode, block_size=block_size, autocommit=autocommit, **kwargs)

    def open(self, path: str, mode: str = "rb", compression: str | None = None, **kwargs: Any) -> Any:
        """A file; text for a mode without `b`. Leaving its `with` block by an error publishes nothing."""
        if "b" not in mode:
            text = {name: kwargs.pop(name) for name in ("encoding", "errors", "newline") if name in kwargs}
            return TextFile(self.open(path, mode.replace("t", "") + "b", compression=compression, **kwargs), **text)
        name = get_compression(path, compression)
        file = AsyncFileSystem.open(self, path, mode, **kwargs)
        if name is None:
            return file
        packed = compressions[name](file, mode=mode[0])
        return packed if mode == "rb" else PackedFile(packed, file)

    async def open_async(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        """A file whose methods are awaited: what `open_reader_async` and `open_writer_async` give."""
        refuse_versions(kwargs)
        store, key = self.store_and_file(path)
        size = kwargs.pop("block_size", None)
        options = {} if size is None else {"buffer_size": size}
        if mode == "rb":
            return await cumulo.open_reader_async(store, key, **{**options, **kwargs})
        if mode in ("wb", "xb"):
            how: Any = "create" if mode == "xb" else "overwrite"
            return cumulo.open_writer_async(store, key, mode=how, **{**options, **kwargs})
        raise ValueError(f"mode must be 'rb', 'wb' or 'xb', not {mode!r}")


class _Told:
    """A file whose reader is told to a callback."""

    def __init__(self, file: Any, callback: Any) -> None:
        self._file = file
        self._callback = callback

    def read(self, length: int) -> bytes:
        """What the file has next."""
        content: bytes = self._file.read(length)
        self._callback.relative_update(len(content))
        return content


def _mode(mode: str) -> Any:
    if mode not in ("create", "overwrite"):
        raise ValueError(f"mode must be 'create' or 'overwrite', not {mode!r}")
    return mode
