"""`S3Store`: a bucket of Amazon S3, or of anything that speaks its API."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cumulo._config import endpoint_of, resolve_client, resolve_retry, resolve_s3
from cumulo._drivers.effects import Plan
from cumulo._errors import Context
from cumulo._keys import Keys
from cumulo._native import Client, Credentials, generation, get_range, get_range_async
from cumulo._operations import copy, delete, get, into, put, ranges
from cumulo._operations.list import Pages
from cumulo._operations.parts import DEFAULT_PART_BYTES
from cumulo._providers.native_client import make_client
from cumulo._providers.s3 import S3Provider
from cumulo._result import GetResult
from cumulo.exceptions import AlreadyExistsError, NotSupportedError

from ._base import ObjectStoreMethods

if TYPE_CHECKING:
    import asyncio

    from cumulo._config import ClientConfig, RetryConfig, S3Config
    from cumulo._native import Bytes
    from cumulo._types import Buffer, GetOptions, ObjectMeta, PutResult, PutSource


class S3Store(ObjectStoreMethods):
    """A bucket, by name, with how to reach it and as whom.

    Options come from `config`, from keywords, and from the environment (`AWS_<KEY>` and the AWS tools' own variables),
    in that order; see `S3Config` for each. Credentials that are given nowhere are looked for as the AWS tools do.

    Args:
        bucket: the bucket's name.
        prefix: what all paths are below.
        config: options as a dict.
        client_options: connections, TLS, proxies, timeouts; see `ClientConfig`.
        retry_config: retries; see `RetryConfig`.
        credential_provider: a sync or async callable that gives credentials.
        raw_keys: take and give every key untouched: slashes at its ends too.
        **kwargs: options as keywords.

    Raises:
        UnknownConfigurationKeyError: an option that there isn't; the nearest is named.
        ValueError: an option's value that can't be.
    """

    def __init__(
        self,
        bucket: str | None = None,
        *,
        prefix: str | None = None,
        config: S3Config | Mapping[str, Any] | None = None,
        client_options: ClientConfig | None = None,
        retry_config: RetryConfig | None = None,
        credential_provider: Callable[[], Any] | None = None,
        raw_keys: bool = False,
        **kwargs: Any,
    ) -> None:
        self._settings = resolve_s3(bucket, config, kwargs)
        self._client_settings = resolve_client({**self._settings.client_options, **(client_options or {})})
        self._retry = resolve_retry(retry_config)
        self._retry_given = retry_config is not None
        self._provider_given = credential_provider
        self._prefix_given = prefix
        self._keys = Keys.of(prefix, raw=bool(raw_keys))
        self._endpoint = endpoint_of(self._settings, self._client_settings)
        self._host = f"{self._endpoint.host}:{self._endpoint.port}"
        # On AWS every upload carries a checksum; other servers only get one when asked to.
        self._checksum = self._settings.checksum_algorithm or ("CRC64NVME" if self._endpoint.is_aws else None)
        # Ranges that need no header of their own take the short cut below.
        self._plain_reads = not self._settings.request_payer and self._settings.sse_customer_key_base64 is None
        self._made: tuple[int, Client, S3Provider, Credentials | None] | None = None
        if credential_provider is not None and not callable(credential_provider):
            raise TypeError("credential_provider must be callable")

    # -- the native half, made on first use and anew in a forked child

    def _use(self) -> tuple[int, Client, S3Provider, Credentials | None]:
        made = self._made
        if made is None or made[0] != generation():
            source = self._source()
            client = make_client(self._endpoint, self._client_settings, self._retry, self._settings, source)
            if source is not None and self._endpoint.service == "s3express":
                source, client = self._session(client)
            content_type = self._client_settings.default_content_type
            provider = S3Provider(self, client, self._keys, self._settings, content_type, self._checksum)
            made = self._made = (generation(), client, provider, source)
        return made

    def _session(self, client: Client) -> tuple[Credentials | None, Client]:
        from cumulo._credentials import source_for
        from cumulo._providers.s3_session import SessionProvider

        self._session_provider = SessionProvider(self, client)  # lives as long as its keys are used
        source = source_for(self._settings, self._session_provider)
        made = make_client(self._endpoint, self._client_settings, self._retry, self._settings, source, session=True)
        return source, made

    def _source(self) -> Credentials | None:
        if self._settings.skip_signature:
            return None
        keys = self._settings.static_keys() if self._provider_given is None else None
        if keys is not None:
            source = Credentials()
            source.publish(*keys)
            return source
        from cumulo._credentials import source_for  # only those who need it pay for its imports

        return source_for(self._settings, self._provider_given)

    def _credentials_failure(self) -> str:
        source = self._use()[3]
        return source.failure() if source is not None else ""

    # -- plans

    def _plan_get(
        self, path: str, options: GetOptions | None, part_size: int | None = None, max_concurrency: int | None = None
    ) -> Plan[GetResult]:
        return get.get(self._use()[2], path, options, part_size, max_concurrency)

    def _plan_get_into(
        self, path: str, buffer: Buffer, options: GetOptions | None, part_size: int | None, max_concurrency: int | None
    ) -> Plan[int]:
        return into.get_into(self._use()[2], path, buffer, options, part_size, max_concurrency)

    def _plan_get_range_into(
        self, path: str, buffer: Buffer, start: int, end: int | None, length: int | None
    ) -> Plan[int]:
        return into.get_range_into(self._use()[2], path, buffer, start, end, length)

    def _plan_get_ranges_into(
        self, path: str, buffers: Sequence[Buffer], starts: Sequence[int], coalesce: int
    ) -> Plan[list[int]]:
        return into.get_ranges_into(self._use()[2], path, buffers, starts, coalesce)

    def _plan_get_range(self, path: str, start: int, end: int) -> Plan[Bytes]:
        return get.get_range(self._use()[2], path, start, end)

    def _plan_get_ranges(self, path: str, wanted: Sequence[tuple[int, int]], coalesce: int) -> Plan[list[Bytes]]:
        return get.get_ranges(self._use()[2], path, wanted, coalesce)

    def _plan_head(self, path: str) -> Plan[ObjectMeta]:
        return get.head(self._use()[2], path)

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
    ) -> Plan[PutResult]:
        self._keys.key(path)
        plan = put.checked(attributes, tags, mode)
        if (plan.create or plan.if_match) and self._settings.conditional_put == "disabled":
            raise NotSupportedError("conditional puts are switched off by conditional_put='disabled'")
        return put.put(
            self._use()[2], path, file, plan, use_multipart=use_multipart, chunk_bytes=chunk_size,
            max_concurrency=max_concurrency,
        )  # fmt: skip

    def _plan_delete(self, paths: str | Sequence[str]) -> Plan[None]:
        for path in delete.paths_of(paths):
            self._keys.key(path)
        return delete.delete(self._use()[2], paths)

    def _plan_copy(self, from_: str, to: str, overwrite: bool) -> Plan[None]:
        how = self._settings.copy_if_not_exists
        absent = None
        if how is not None and how.header is not None:
            absent = (how.header, how.value or "", how.status)
        return copy.copy(self._use()[2], from_, to, overwrite=overwrite, absent=absent)

    def _plan_rename(self, from_: str, to: str, overwrite: bool) -> Plan[None]:
        if self._keys.key(from_) == self._keys.key(to):
            yield from self._plan_head(from_)  # a copy onto itself and a delete would lose it
            if not overwrite:
                raise AlreadyExistsError(f"rename {from_!r} in {self!r}: it is there already", path=to)
            return
        yield from self._plan_copy(from_, to, overwrite)
        yield from self._plan_delete(from_)

    def _pages(self, prefix: str | None, offset: str | None, *, delimiter: bool) -> Pages:
        start = self._keys.offset(offset) if offset is not None else None
        return Pages(self._use()[2], self._keys.list_prefix(prefix), start, delimiter=delimiter)

    # -- the short cut for ranges: no plan, straight to the engine

    def get_range(self, path: str, *, start: int, end: int | None = None, length: int | None = None) -> Bytes:
        """`ObjectStoreMethods.get_range`, by a shorter way."""
        first, last = ranges.span(start, end, length)
        if self._plain_reads and last - first <= DEFAULT_PART_BYTES:
            return get_range(self._use()[1], self._keys.key(path), first, last, self._context_of(path))
        return super().get_range(path, start=first, end=last)

    def get_range_async(
        self, path: str, *, start: int, end: int | None = None, length: int | None = None
    ) -> asyncio.Future[Bytes]:
        """`ObjectStoreMethods.get_range_async`, by a shorter way."""
        first, last = ranges.span(start, end, length)
        if self._plain_reads and last - first <= DEFAULT_PART_BYTES:
            return get_range_async(self._use()[1], self._keys.key(path), first, last, self._context_of(path))
        return super().get_range_async(path, start=first, end=last)

    def _context_of(self, path: str) -> Context:
        return Context(self, "get_range", path)

    # -- what a store is

    @property
    def prefix(self) -> str | None:
        """The prefix given, if any."""
        return self._prefix_given

    @property
    def config(self) -> dict[str, Any]:
        """The options given in Python, secrets included; not those from the environment."""
        return dict(self._settings.explicit)

    @property
    def client_options(self) -> dict[str, Any] | None:
        """The client options given, if any."""
        return dict(self._client_settings.explicit) or None

    @property
    def retry_config(self) -> Any:
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
            `connections_opened`, `throttled` (answers that asked to slow down). Of all stores of this endpoint and
            bucket in the process, reads apart from writes: `read_window` and `write_window`, how many requests may be
            in flight (0: the server has never asked to slow down); `reads_in_flight` and `writes_in_flight`;
            `reads_waiting` and `writes_waiting` for their turn.
        """
        return self._use()[1].stats()

    def _identity(self) -> tuple[Any, ...]:
        return (
            self._settings.explicit, self._prefix_given, self._client_settings.explicit, self._retry,
            self._provider_given, self._keys.raw,
        )  # fmt: skip

    def __eq__(self, other: object) -> bool:
        return isinstance(other, S3Store) and type(self) is type(other) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash((self._settings.bucket, self._prefix_given, self._keys.raw))

    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]:
        return (), {
            "prefix": self._prefix_given,
            "config": self.config,
            "client_options": self.client_options,
            "retry_config": self.retry_config,
            "credential_provider": self._provider_given,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = self.__getnewargs_ex__()[1]
        return _rebuilt, (type(self), {**arguments, "raw_keys": self._keys.raw})

    def __repr__(self) -> str:
        prefix = f", prefix={self._prefix_given!r}" if self._prefix_given else ""
        return f"S3Store(bucket={self._settings.bucket!r}{prefix})"


def _rebuilt(kind: type[S3Store], arguments: dict[str, Any]) -> S3Store:
    return kind(**arguments)
