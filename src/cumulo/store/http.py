"""`HTTPStore`: what is below a URL of any web server; with WebDAV, to be listed and copied too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from cumulo._config import ConfigurationError, resolve_client, resolve_retry
from cumulo._config.http import HTTPTarget, http_base
from cumulo._drivers import sync
from cumulo._errors import Context
from cumulo._given import flag
from cumulo._keys import URLKeys
from cumulo._operations import delete, download, get, into, passing, put, ranges, web
from cumulo._operations.follow import followed
from cumulo._operations.resume import keep_of
from cumulo._operations.webdav import DavPages
from cumulo._providers.cookies import Cookies
from cumulo._providers.http import Clients, HTTPProvider, check_attributes, kept
from cumulo._providers.native_client import make_client
from cumulo._records import replace
from cumulo._redirected import Redirected
from cumulo.exceptions import AlreadyExistsError

from ._base import ObjectStoreMethods
from ._native_store import Made, NativeStore, rebuilding

if TYPE_CHECKING:
    import os

    from cumulo._config import ClientConfig, ClientSettings, RetryConfig
    from cumulo._drivers.effects import Plan
    from cumulo._native import Bytes, Client, Credentials
    from cumulo._operations.delete_prefix import DeletedPrefix
    from cumulo._operations.list import Scope
    from cumulo._operations.target import FileTarget
    from cumulo._providers.base import PutPlan
    from cumulo._result import GetResult
    from cumulo._types import Attributes, Buffer, GetOptions, ObjectMeta, PutResult, PutSource


class HTTPStore(NativeStore):
    """The objects below a URL: any web server's for reading, a WebDAV server's for everything.

    Reading asks for ranges and cuts them out of the whole where a server knows none. Redirects are followed, ten at
    most: to another host without credentials, cookies and `default_headers`, and away from TLS only with `allow_http`.
    Writing is one PUT for each object, after MKCOL for the collections that are missing. `copy` is COPY, `rename` is
    MOVE, and listings are a PROPFIND for each collection; servers without these answer with `NotSupportedError`.

    Args:
        url: what all paths are below. User and password in it are sent as basic authentication; its query goes with
            every request. `http://` needs `client_options={"allow_http": True}`.
        client_options: connections, TLS, proxies, timeouts, `default_headers`; see `ClientConfig`. Nothing of it is
            taken from the environment but proxies.
        retry_config: retries; see `RetryConfig`.
        header_provider: a sync or async callable that returns headers for each request to the URL's own host, as a
            dict, or as `(dict, expires_at)` with a `datetime` that has a time zone. It is called when there is a
            first request, before the headers expire, and after 401 or 403; never on the caller's thread or loop.
        cookies: keep the cookies that servers set, in memory, and send them back to those servers. A forked child and
            a pickled copy begin with none.

    Raises:
        UnknownConfigurationKeyError: a client option that there isn't; the nearest is named.
        ValueError: a URL or an option's value that can't be.
    """

    _speaks = "http"

    def __init__(
        self,
        url: str,
        *,
        client_options: ClientConfig | None = None,
        retry_config: RetryConfig | None = None,
        header_provider: Callable[[], Any] | None = None,
        cookies: bool = False,
    ) -> None:
        self._target = http_base(url)
        self._url = url
        self._explicit: dict[str, Any] = {"url": url}
        self._client_settings = resolve_client(client_options, {}, env_prefix="")
        self._retry = resolve_retry(retry_config)
        self._retry_given = retry_config is not None
        self._provider_given = header_provider
        self._prefix_given = None
        self._cookies_given = flag("cookies", cookies)
        self._keys = URLKeys()
        self._host = f"{self._target.host}:{self._target.port}"
        self._plain_reads = not cookies
        self._check(header_provider)

    def _check(self, header_provider: object) -> None:
        if not self._target.tls and not self._client_settings.allow_http:
            raise ConfigurationError(
                f"{self._target.plain_url} has no TLS: set allow_http to use it all the same, as in "
                "client_options={'allow_http': True}"
            )
        if header_provider is not None and not callable(header_provider):
            raise TypeError("header_provider must be callable")
        names = {name for name, _ in self._client_settings.default_headers}
        if self._target.authorization is not None and "authorization" in names:
            raise ConfigurationError("the URL has user and password, and default_headers an Authorization: give one")

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        client_options: ClientConfig | None = None,
        retry_config: RetryConfig | None = None,
        header_provider: Callable[[], Any] | None = None,
        cookies: bool = False,
    ) -> HTTPStore:
        """The same as the constructor."""
        return cls(url, client_options=client_options, retry_config=retry_config, header_provider=header_provider,
                   cookies=cookies)  # fmt: skip

    # -- the native half

    def _make(self) -> Made:
        source = self._source()
        settings = self._client_settings
        if self._target.authorization is not None:
            own = (*settings.default_headers, ("authorization", self._target.authorization))
            settings = replace(settings, default_headers=own)
        client = self._client(self._target, settings, source)
        clients = Clients(self._target, client, self._client_settings, self._client)
        jar = Cookies() if self._cookies_given else None
        provider: Any = HTTPProvider(self, clients, self._keys, self._client_settings, jar)
        self._clients = clients
        return Made(client, provider, source)

    def _client(self, target: HTTPTarget, settings: ClientSettings, source: Credentials | None = None) -> Client:
        return make_client(target, settings, self._retry, source, bucket="", auth="headers", query=target.query,
                           cuts=True)  # fmt: skip

    def _source(self) -> Credentials | None:
        if self._provider_given is None:
            return None
        from cumulo._credentials.headers import header_source

        return header_source(self._provider_given)

    @property
    def _web(self) -> Any:
        return self._use().provider

    def _check_put(self, plan: PutPlan) -> None:
        check_attributes(plan)

    # -- plans: followed to where redirects lead

    def _plan_get(
        self, path: str, options: GetOptions | None, part_size: int | None = None, max_concurrency: int | None = None
    ) -> Plan[GetResult]:
        return followed(self._web, lambda at: web.get(at, path, options, part_size, max_concurrency))

    def _plan_whole(self, path: str) -> Plan[GetResult]:
        return self._plan_get(path, None)

    def _plan_get_into(
        self, path: str, buffer: Buffer, options: GetOptions | None, part_size: int | None, max_concurrency: int | None
    ) -> Plan[int]:
        return followed(self._web, lambda at: web.get_into(at, path, buffer, options, part_size, max_concurrency))

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
        def target() -> FileTarget:
            return download.target_of(self, path, file, resume=resume, fsync=fsync)

        def fetched(at: HTTPProvider) -> Plan[ObjectMeta]:
            return web.download(at, path, target, options, part_size, max_concurrency, resume=resume)

        return followed(self._web, fetched)

    def _plan_get_range_into(
        self, path: str, buffer: Buffer, start: int, end: int | None, length: int | None
    ) -> Plan[int]:
        return followed(self._web, lambda at: into.get_range_into(at, path, buffer, start, end, length))

    def _plan_get_ranges_into(
        self, path: str, buffers: Sequence[Buffer], starts: Sequence[int], coalesce: int
    ) -> Plan[list[int]]:
        return followed(self._web, lambda at: into.get_ranges_into(at, path, buffers, starts, coalesce))

    def _plan_get_range(self, path: str, start: int, end: int, met: Redirected | None = None) -> Plan[Bytes]:
        return followed(self._web, lambda at: web.get_range(at, path, start, end), met)

    _plan_get_pinned = ObjectStoreMethods._plan_get_pinned  # from what sends whole objects only, too

    def _plan_get_ranges(self, path: str, wanted: Sequence[tuple[int, int]], coalesce: int) -> Plan[list[Bytes]]:
        return followed(self._web, lambda at: get.get_ranges(at, path, wanted, coalesce))

    def _plan_head(self, path: str) -> Plan[ObjectMeta]:
        return followed(self._web, lambda at: web.head(at, path))

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
        """One request, whatever `use_multipart`, `chunk_size`, `max_concurrency` and `resume` are."""
        keep_of(resume, file, path)
        self._keys.written_key(path)
        plan = put.checked(attributes, tags, mode)
        self._check_put(plan)
        put.check_numbers(chunk_size, max_concurrency)
        return web.put(self._web, path, file, plan)

    def _plan_delete(self, paths: str | Sequence[str]) -> Plan[None]:
        for path in delete.paths_of(paths):
            self._keys.written_key(path)
        return followed(self._web, lambda at: delete.delete(at, paths))

    def _plan_delete_prefix(self, pages: Any, most: int) -> Plan[DeletedPrefix]:
        return ObjectStoreMethods._plan_delete_prefix(self, pages, most)  # redirects are followed there

    def _kept(self, attributes: Attributes) -> Attributes:
        return kept(attributes)

    def _plan_open(self, path: str, part_bytes: int, max_concurrency: int) -> Plan[passing.Opened]:
        return passing.opened((yield from self._plan_get(path, None, part_bytes, max_concurrency)))

    def _plan_copy_from(self, source: ObjectStoreMethods, from_: str, to: str, overwrite: bool) -> Plan[None] | None:
        return None  # who knows how two URLs belong together?

    def _plan_copy(self, from_: str, to: str, overwrite: bool) -> Plan[None]:
        for path in (from_, to):
            self._keys.written_key(path)
        return web.transfer(self._web, "copy", "COPY", from_, to, overwrite=overwrite)

    def _plan_rename(self, from_: str, to: str, overwrite: bool) -> Plan[None]:
        if self._keys.written_key(from_) == self._keys.written_key(to):
            yield from self._plan_head(from_)
            if not overwrite:
                raise AlreadyExistsError(f"rename {from_!r} in {self!r}: it is there already", path=to)
            return
        yield from web.transfer(self._web, "rename", "MOVE", from_, to, overwrite=overwrite)

    def _pages(self, scope: Scope) -> Any:
        start = self._keys.offset(scope.offset) if scope.offset is not None else None
        prefix = self._keys.list_prefix(scope.prefix, substring=scope.substring)
        return DavPages(self._web, self._target, prefix, start, delimiter=scope.delimiter)

    # -- the short cut for ranges, from which a redirect leads back to the plan

    def get_range(self, path: str, *, start: int, end: int | None = None, length: int | None = None) -> Bytes:
        """`ObjectStoreMethods.get_range`, by a shorter way."""
        first, last = ranges.span(start, end, length)
        try:
            return super().get_range(path, start=first, end=last)
        except Redirected as redirect:
            return sync.run(self._plan_get_range(path, first, last, redirect))

    def _context_of(self, path: str, first: int, last: int) -> Context:
        return Context(self, "get_range", path, redo=partial(self._plan_get_range, path, first, last))

    # -- what a store is

    @property
    def url(self) -> str:
        """The URL, as it was given."""
        return self._url

    @property
    def header_provider(self) -> Callable[[], Any] | None:
        """The header provider given, if any."""
        return self._provider_given

    def stats(self) -> dict[str, int]:
        """`NativeStore.stats`, with the requests to where redirects have led."""
        self._use()
        return self._clients.stats()

    def _arguments(self) -> dict[str, Any]:
        return {
            "client_options": self.client_options,
            "retry_config": self.retry_config,
            "header_provider": self._provider_given,
            "cookies": self._cookies_given,
        }

    def _identity(self) -> tuple[Any, ...]:
        return (*super()._identity(), self._cookies_given)

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments for packages that make a store of their own by them, in obstore's form."""
        return (self._url,), rebuilding({**self._arguments(), "cookies": self._cookies_given or None})

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self._url, self._arguments())

    def __repr__(self) -> str:
        return f"HTTPStore({self._target.plain_url!r})"


def _rebuilt(kind: type[HTTPStore], url: str, arguments: dict[str, Any]) -> HTTPStore:
    return kind(url, **arguments)
