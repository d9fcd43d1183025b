"""`NativeStore`: what stores have in common whose requests go through the native engine.

A store class says how its requests are made and by whom (`_make`); the verbs, the short cut for ranges, pickling and
equality are here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, TypeVar, cast

from cumulo._drivers.effects import Plan
from cumulo._errors import Context
from cumulo._keys import Keys
from cumulo._native import Client, Credentials, PinnedRanges, generation, get_range, get_range_async
from cumulo._operations import copy, delete, download, get, into, passing, put, ranges
from cumulo._operations.list import Pages, Scope
from cumulo._operations.parts import DEFAULT_PART_BYTES
from cumulo._result import GetResult
from cumulo.exceptions import AlreadyExistsError

from ._base import ObjectStoreMethods

if TYPE_CHECKING:
    import os

    from cumulo._config import ClientConfig, ClientSettings, RetryConfig, RetrySettings
    from cumulo._native import Bytes
    from cumulo._operations.delete_prefix import DeletedPrefix
    from cumulo._operations.resume import Keep
    from cumulo._providers.base import Provider, PutPlan, VersionProvider
    from cumulo._types import Buffer, CallFuture, GetOptions, ObjectMeta, PutResult, PutSource


_OUR_TUNING = frozenset({"bulk_client"})
_OUR_CLIENT_TUNING = frozenset({"hedge", "max_connections"})


P = ParamSpec("P")
StoreT = TypeVar("StoreT", bound="NativeStore")
T = TypeVar("T")


def when_ready(
    method: Callable[Concatenate[StoreT, P], Plan[T]],
) -> Callable[Concatenate[StoreT, P], Plan[T]]:
    """A plan that begins when the store knows where its requests go."""

    @wraps(method)
    def plan(self: StoreT, *args: P.args, **kwargs: P.kwargs) -> Plan[T]:
        waiting = self._unready()
        if waiting is None:
            return method(self, *args, **kwargs)
        return _later(waiting, lambda: method(self, *args, **kwargs))

    return plan


def _later(waiting: Plan[None], then: Callable[[], Plan[T]]) -> Plan[T]:
    yield from waiting
    return (yield from then())


class LaterPages:
    """The pages of a listing of a store that is not ready yet."""

    def __init__(self, waiting: Plan[None], make: Callable[[], Any]) -> None:
        self._waiting = waiting
        self._make = make
        self._pages: Any = None
        self.most_ahead: int | None = 0
        """What is set is passed on to the pages, where it means something."""

    def next_page(self) -> Plan[Any]:
        if self._pages is None:
            yield from self._waiting
            self._pages = self._make()
            if self.most_ahead is None:
                self._pages.most_ahead = None
        plan: Plan[Any] = self._pages.next_page()
        return (yield from plan)


class Made(NamedTuple):
    """The native half of a store, in one process."""

    client: Client
    provider: Provider
    source: Credentials | None


class NativeStore(ObjectStoreMethods):
    """The verbs by a provider's requests. The fields are set by the store class's `__init__`."""

    _explicit: dict[str, Any]
    """The options given in Python."""
    _client_settings: ClientSettings
    _retry: RetrySettings
    _retry_given: bool
    _provider_given: Callable[[], Any] | None
    _prefix_given: str | None
    _keys: Keys
    _host: str
    """Host and port, for messages."""
    _plain_reads: bool
    """Whether ranges need no header of their own: they take the short cut then."""
    _updates_by_version = False
    """Whether an update may name the version it replaces in place of the ETag."""
    _made: tuple[int, Made] | None = None

    # -- the native half, made on first use and anew in a forked child

    def _make(self) -> Made:
        raise NotImplementedError

    def _use(self) -> Made:
        made = self._made
        if made is None or made[0] != generation():
            made = self._made = (generation(), self._make())
        return made[1]

    def _credentials_failure(self) -> str:
        source = self._use().source
        return source.failure() if source is not None else ""

    def _credentials_cause(self) -> BaseException | None:
        """What the credential provider, or another source of credentials, has raised."""
        failure = getattr(getattr(self._use().source, "owner", None), "failure", None)
        return failure.__cause__ if failure is not None else None

    def _check_put(self, plan: PutPlan) -> None:
        """Raises for what this store can't do."""

    def _absent_header(self) -> tuple[str, str, int] | None:
        """The header that makes a copy one that never overwrites, its value, and the status of a refusal."""
        return None

    # -- plans

    @when_ready
    def _plan_get(
        self, path: str, options: GetOptions | None, part_size: int | None = None, max_concurrency: int | None = None
    ) -> Plan[GetResult]:
        return get.get(self._use().provider, path, options, part_size, max_concurrency)

    @when_ready
    def _plan_whole(self, path: str) -> Plan[GetResult]:
        return get.get(self._use().provider, path, None, at_once=True)

    @when_ready
    def _plan_get_into(
        self, path: str, buffer: Buffer, options: GetOptions | None, part_size: int | None, max_concurrency: int | None
    ) -> Plan[int]:
        return into.get_into(self._use().provider, path, buffer, options, part_size, max_concurrency)

    @when_ready
    def _plan_download(
        self,
        path: str,
        file: str | os.PathLike[str],
        *,
        options: GetOptions | None,
        part_size: int | None,
        max_concurrency: int | None,
        resume: bool,
        fsync: bool,
    ) -> Plan[ObjectMeta]:
        target = download.target_of(self, path, file, resume=resume, fsync=fsync)
        return download.download(self._use().provider, path, target, options, part_size, max_concurrency, resume=resume)

    @when_ready
    def _plan_get_range_into(
        self, path: str, buffer: Buffer, start: int, end: int | None, length: int | None
    ) -> Plan[int]:
        return into.get_range_into(self._use().provider, path, buffer, start, end, length)

    @when_ready
    def _plan_get_ranges_into(
        self, path: str, buffers: Sequence[Buffer], starts: Sequence[int], coalesce: int
    ) -> Plan[list[int]]:
        return into.get_ranges_into(self._use().provider, path, buffers, starts, coalesce)

    @when_ready
    def _plan_get_range(self, path: str, start: int, end: int) -> Plan[Bytes]:
        return get.get_range(self._use().provider, path, start, end)

    @when_ready
    def _plan_get_pinned(self, path: str, etag: str, start: int, end: int) -> Plan[bytes]:
        return get.get_pinned(self._use().provider, path, etag, start, end)

    @when_ready
    def _plan_get_ranges(self, path: str, wanted: Sequence[tuple[int, int]], coalesce: int) -> Plan[list[Bytes]]:
        return get.get_ranges(self._use().provider, path, wanted, coalesce)

    @when_ready
    def _plan_head(self, path: str) -> Plan[ObjectMeta]:
        return get.head(self._use().provider, path)

    @when_ready
    def _plan_put(
        self,
        path: str,
        file: PutSource,
        *,
        attributes: Any,
        tags: Any,
        mode: Any,
        use_multipart: bool | None,
        chunk_size: int,
        max_concurrency: int,
        resume: bool | str | os.PathLike[str] = False,
    ) -> Plan[PutResult]:
        self._keys.written_key(path)
        keep = None if resume is False else self._keep_of(resume, file, path)
        plan = put.checked(attributes, tags, mode, by_version=self._updates_by_version)
        self._check_put(plan)
        return put.put(
            self._use().provider, path, file, plan, use_multipart=use_multipart, chunk_bytes=chunk_size,
            max_concurrency=max_concurrency, keep=keep,
        )  # fmt: skip

    def _keep_of(self, resume: Any, file: Any, path: str) -> Keep | None:
        from cumulo._operations.resume import keep_of  # with what tokens need

        return keep_of(resume, file, f"{self!r} at {self._host}: {self._keys.key(path)}", self)

    @when_ready
    def _plan_delete(self, paths: str | Sequence[str]) -> Plan[None]:
        for path in delete.paths_of(paths):
            self._keys.written_key(path)
        return delete.delete(self._use().provider, paths)

    @when_ready
    def _plan_delete_version(self, path: str, version: str) -> Plan[None]:
        if not self._keeps_versions:
            raise self._no_versions()
        self._keys.written_key(path)
        return delete.delete(self._use().provider, path, version)

    def _version_pages(self, scope: Scope) -> Any:
        if not self._keeps_versions:
            raise self._no_versions()
        from cumulo._operations.versions import VersionPages

        prefix = self._keys.list_prefix(scope.prefix, substring=scope.substring)

        def pages() -> Any:
            return VersionPages(cast("VersionProvider", self._use().provider), prefix)

        waiting = self._unready()
        return pages() if waiting is None else LaterPages(waiting, pages)

    @when_ready
    def _plan_delete_prefix(self, pages: Any, most: int) -> Plan[DeletedPrefix]:
        from cumulo._operations.delete_prefix import Deletion

        return Deletion(self._use().provider.as_listed(), most).run(pages)

    @property
    def _raw_keys(self) -> bool:
        return self._keys.raw

    @when_ready
    def _plan_copy(self, from_: str, to: str, overwrite: bool) -> Plan[None]:
        self._keys.written_key(to)
        provider = self._use().provider
        return copy.named(self._copy_by_server(provider, provider, from_, to, overwrite), from_, self)

    def _copy_by_server(self, provider: Any, origin: Provider, from_: str, to: str, overwrite: bool) -> Plan[None]:
        """`provider` is a CopyProvider, where this method is not another."""
        return copy.copy(provider, from_, to, overwrite=overwrite, absent=self._absent_header(), origin=origin)

    def _plan_copy_from(self, source: ObjectStoreMethods, from_: str, to: str, overwrite: bool) -> Plan[None] | None:
        if not isinstance(source, NativeStore):
            return None
        origin = source._use().provider
        provider = self._use().provider.copying_from(origin)
        if provider is None:
            return None
        return copy.named(self._copy_by_server(provider, origin, from_, to, overwrite), from_, source)

    def shares_account_with(self, other: NativeStore) -> bool:
        """Whether both are of one kind, of one service, asked as the same one."""
        return (
            type(self) is type(other)
            and self._provider_given is other._provider_given
            and self._account_identity() == other._account_identity()
        )

    def _account_identity(self) -> Any:
        """Which service is asked, and as whom, but for a credential provider."""
        raise NotImplementedError

    def _check_path(self, path: str, *, written: bool = False) -> None:
        (self._keys.written_key if written else self._keys.key)(path)

    @when_ready
    def _plan_open(self, path: str, part_bytes: int, max_concurrency: int) -> Plan[passing.Opened]:
        return passing.open_object(self._use().provider, path, part_bytes, max_concurrency)

    def _plan_rename(self, from_: str, to: str, overwrite: bool) -> Plan[None]:
        if self._keys.written_key(from_) == self._keys.written_key(to):
            yield from self._plan_head(from_)  # a copy onto itself and a delete would lose it
            if not overwrite:
                raise AlreadyExistsError(f"rename {from_!r} in {self!r}: it is there already", path=to)
            return
        yield from self._plan_copy(from_, to, overwrite)
        yield from self._plan_delete(from_)

    def _pages(self, scope: Scope) -> Any:
        start = self._keys.offset(scope.offset) if scope.offset is not None else None
        prefix = self._keys.list_prefix(scope.prefix, substring=scope.substring)

        def pages() -> Any:
            provider = self._use().provider
            if scope.max_concurrency == 1 or scope.delimiter or not provider.lists_in_order:
                return Pages(provider, prefix, start, scope, strip=self._keys.strip)
            from cumulo._operations.list_parallel import ParallelPages

            return ParallelPages(provider, prefix, start, scope, strip=self._keys.strip)

        waiting = self._unready()
        return pages() if waiting is None else LaterPages(waiting, pages)

    # -- the short cut for ranges: no plan, straight to the engine

    def get_range(self, path: str, *, start: int, end: int | None = None, length: int | None = None) -> Bytes:
        """`ObjectStoreMethods.get_range`, by a shorter way."""
        first, last = ranges.span(start, end, length)
        if self._plain_reads and last - first <= DEFAULT_PART_BYTES:
            return get_range(self._use().client, self._keys.key(path), first, last, self._context_of(path, first, last))
        return super().get_range(path, start=first, end=last)

    def get_range_async(
        self, path: str, *, start: int, end: int | None = None, length: int | None = None
    ) -> CallFuture[Bytes]:
        """`ObjectStoreMethods.get_range_async`, by a shorter way."""
        first, last = ranges.span(start, end, length)
        if self._plain_reads and last - first <= DEFAULT_PART_BYTES:
            client, context = self._use().client, self._context_of(path, first, last)
            future = get_range_async(client, self._keys.key(path), first, last, context)
            if future is not None:
                return future
        return super().get_range_async(path, start=first, end=last)

    def _pinned_ranges(self, path: str, etag: bytes) -> PinnedRanges | None:
        if not self._plain_reads:
            return None
        return PinnedRanges(self._use().client, self._keys.key(path), etag, Context(self, "get_range", path))

    def _context_of(self, path: str, first: int, last: int) -> Context:
        return Context(self, "get_range", path)

    # -- what a store is

    @property
    def prefix(self) -> str | None:
        """The prefix given, if any."""
        return self._prefix_given

    @property
    def config(self) -> Any:
        """The options given in Python, secrets included; not those from the environment."""
        return dict(self._explicit)

    @property
    def client_options(self) -> ClientConfig | None:
        """The client options given, if any."""
        return cast("ClientConfig", dict(self._client_settings.explicit)) or None

    @property
    def retry_config(self) -> RetryConfig | None:
        """The retry options given, if any."""
        return self._retry.as_config() if self._retry_given else None

    @property
    def credential_provider(self) -> Callable[[], Any] | None:
        """The credential provider given, if any."""
        return self._provider_given

    def stats(self) -> dict[str, int]:
        """Counters since the store was first used here, and what throttling has come to now.

        Returns:
            Counters: `requests`, `attempts`, `retries`, `errors`, `bytes_received`, `bytes_sent`,
            `connections_opened`, `throttled` (answers that asked to slow down), `hedges` and `hedges_won` (GETs that
            were sent twice, and those of which the second was answered first). Of all stores of this endpoint and
            bucket in the process, reads apart from writes: `read_window` and `write_window`, how many requests may be
            in flight (0: the server has never asked to slow down); `reads_in_flight` and `writes_in_flight`;
            `reads_waiting` and `writes_waiting` for their turn.
        """
        return self._use().client.stats()

    def _identity(self) -> tuple[Any, ...]:
        return (
            self._explicit, self._prefix_given, self._client_settings.explicit, self._retry,
            self._provider_given, self._keys.raw,
        )  # fmt: skip

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NativeStore) and type(self) is type(other) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash((type(self), repr(self), self._keys.raw))

    def _arguments(self) -> dict[str, Any]:
        """What makes this store again."""
        return {
            "prefix": self._prefix_given,
            "config": self.config,
            "client_options": self.client_options,
            "retry_config": self.retry_config,
            "credential_provider": self._provider_given,
            "raw_keys": self._keys.raw or None,
        }

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments for packages that make a store of their own by them, in obstore's form."""
        return (), rebuilding(self._arguments())

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), {name: value for name, value in self._arguments().items() if value is not None})


def rebuilding(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments for another package's store: those given, without options that only tune ours.

    What decides where requests go, and as whom, stays in: a package that does not know it then says so.
    """
    found = {name: value for name, value in arguments.items() if value is not None}
    for name, only_ours in (("config", _OUR_TUNING), ("client_options", _OUR_CLIENT_TUNING)):
        if name in found:
            found[name] = {key: value for key, value in found[name].items() if key not in only_ours}
    if not found.get("client_options"):
        found.pop("client_options", None)
    return found


def _rebuilt(kind: type[NativeStore], arguments: dict[str, Any]) -> NativeStore:
    return kind(**arguments)
