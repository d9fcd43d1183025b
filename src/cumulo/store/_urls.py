"""Which store a URL names, and what of the store's options it says.

The table of schemes and hosts, and a function for each kind of store that takes its URLs apart. Pure but for
`from_url`, which imports the store it makes. A URL is never repeated in an error beyond scheme and host: its user, path
and query may be secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

if TYPE_CHECKING:
    from cumulo._config import AzureConfig, ClientConfig, ConfigurationError, GCSConfig, RetryConfig, S3Config
    from cumulo._config.options import Table

    from ._every import ObjectStore

__all__ = ["Scheme", "from_url", "options_of", "parse_scheme"]

Scheme: TypeAlias = Literal["s3", "gcs", "http", "local", "memory", "azure"]

# What a scheme names where a host follows: a bucket, a container or a server.
_HOSTED: dict[str, Scheme] = {
    "s3": "s3", "s3a": "s3", "gs": "gcs", "az": "azure", "adl": "azure", "azure": "azure", "abfs": "azure",
    "abfss": "azure", "http": "http", "https": "http",
}  # fmt: skip
# Hosts of https URLs, by their ends, that are no mere web servers.
_SERVICES: dict[str, Scheme] = {
    "amazonaws.com": "s3",
    "r2.cloudflarestorage.com": "s3",
    "blob.core.windows.net": "azure",
    "dfs.core.windows.net": "azure",
    "blob.fabric.microsoft.com": "azure",
    "dfs.fabric.microsoft.com": "azure",
}
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html. A dash before the region is the old form.
_AWS_HOST = re.compile(
    r"(?:(?P<bucket>.+)\.)?s3(?P<fips>-fips)?(?P<dual>\.dualstack)?"
    r"(?:\.(?P<region>[a-z0-9-]+)|-(?P<old>[a-z]{2}(?:-[a-z]+)+-[0-9]))?\.amazonaws\.com"
)
_R2_HOST = re.compile(r".+\.r2\.cloudflarestorage\.com")
# The service's own hosts: Data Lake's (dfs) and the blob service are two faces of one account.
_AZURE_HOST = re.compile(r"([0-9a-z-]+)\.(?:dfs|blob)\.(core\.windows\.net|fabric\.microsoft\.com)")

_FORMS = {
    "s3": "s3://bucket/path, https://bucket.s3.region.amazonaws.com/path, https://s3.region.amazonaws.com/bucket/path "
    "or https://account.r2.cloudflarestorage.com/bucket/path",
    "gcs": "gs://bucket/path",
    "azure": "az://container/path, abfss://container@account.dfs.core.windows.net/path or "
    "https://account.blob.core.windows.net/container/path",
}


class _Place(NamedTuple):
    """What a URL says: the store's options, and the path below bucket or container, percent-encoded."""

    options: dict[str, Any]
    path: str


def parse_scheme(url: str) -> Scheme:
    """The kind of store that `from_url` makes of a URL.

    Returns:
        `"s3"`, `"gcs"`, `"azure"`, `"http"`, `"local"` or `"memory"`.

    Raises:
        ValueError: no URL, or of no kind that there is a store for.
    """
    parts = _split(url)
    scheme, host = parts.scheme, _host(parts).lower()
    if scheme == "file" and host in ("", "localhost"):
        return "local"
    if scheme == "memory" and not host:
        return "memory"
    if scheme in _HOSTED and host:
        kinds: list[Scheme] = [_HOSTED[scheme]]
        if scheme == "https":
            kinds.extend(kind for end, kind in _SERVICES.items() if f".{host}".endswith(f".{end}"))
        return kinds[-1]
    raise _refusal(
        f"no store is known for {_shown(parts)}: known are s3, s3a, gs, az, adl, azure, abfs and abfss URLs with a "
        "bucket or container, http and https URLs with a host, file:///path and memory:///"
    )


def from_url(
    url: str,
    *,
    config: S3Config | GCSConfig | AzureConfig | Mapping[str, Any] | None = None,
    client_options: ClientConfig | None = None,
    retry_config: RetryConfig | None = None,
    credential_provider: Callable[[], Any] | None = None,
    **kwargs: Any,
) -> ObjectStore:
    """The store that a URL names; the URL's path becomes its prefix.

    | URL | store |
    | --- | --- |
    | `s3://bucket/path` (or `s3a`), `https://bucket.s3.region.amazonaws.com/path`, `https://s3.region.amazonaws.com/bucket/path`, `https://account.r2.cloudflarestorage.com/bucket/path` | `S3Store` |
    | `gs://bucket/path` | `GCSStore` |
    | `az://container/path` (or `adl`, `azure`, `abfs`, `abfss`), `abfss://container@account.dfs.core.windows.net/path`, `https://account.blob.core.windows.net/container/path` | `AzureStore` |
    | `file:///path` | `LocalStore` |
    | `memory:///` | `MemoryStore`, a new one |
    | any other `http://` or `https://` | `HTTPStore` |

    Args:
        url: the URL.
        config: options of the store, as a dict; they go before what the URL says.
        client_options: connections, TLS, proxies, timeouts; see `ClientConfig`. For a file or memory URL nothing of
            `config`, `client_options` and `retry_config` has an effect, but that `config` is refused by the latter.
        retry_config: retries; see `RetryConfig`.
        credential_provider: a sync or async callable that gives credentials.
        **kwargs: options as keywords, or others of the store's `from_url`, such as a `LocalStore`'s `mkdir`.

    Raises:
        UnknownConfigurationKeyError: an option that there isn't; the nearest is named.
        ValueError: no such kind of URL; an option given twice, as by the URL and a keyword; or options for a store that
            has none.
    """  # noqa: E501
    kind = parse_scheme(url)
    if kind == "local":
        return _local(url, credential_provider, kwargs)
    if kind == "memory":
        return _memory(config, kwargs)
    options: dict[str, Any] = {"client_options": client_options, "retry_config": retry_config, **kwargs}
    if kind == "http":
        return _http(url, config, credential_provider, options)
    store: Any = getattr(import_module("cumulo.store"), _CLASSES[kind])
    made: ObjectStore = store.from_url(url, config=config, credential_provider=credential_provider, **options)
    return made


def divided(url: str) -> tuple[Scheme, str, str]:
    """A URL of a bucket, a container or a server in two: the kind of store, the URL up to its root, and the rest.

    The rest is as it stands, query and fragment included, and percent-encoded where the URL is http's.

    Raises:
        ValueError: no URL, or of no such thing.
    """
    kind = parse_scheme(url)
    parts = _split(url)
    path = parts.path[1:] if kind == "http" else _place_of(kind, parts).path
    root = len(f"{parts.scheme}://{parts.netloc}{parts.path}") - len(path)
    return kind, url[:root], url[root:]


def _local(url: str, credential_provider: object, kwargs: dict[str, Any]) -> ObjectStore:
    from .local import LocalStore

    if credential_provider is not None:
        raise _refusal("LocalStore does not accept a credential provider")
    return LocalStore.from_url(url, **kwargs)


def _memory(config: object, kwargs: dict[str, Any]) -> ObjectStore:
    from .memory import MemoryStore

    if config or kwargs:
        raise _refusal("MemoryStore does not accept any configuration")
    return MemoryStore()


def _http(url: str, config: object, credential_provider: object, options: dict[str, Any]) -> ObjectStore:
    from .http import HTTPStore

    known = {"client_options", "retry_config", "header_provider", "cookies"}
    if config or credential_provider is not None or not options.keys() <= known:
        raise _refusal(
            "HTTPStore does not accept any configuration but client_options, retry_config, header_provider and cookies"
        )
    return HTTPStore.from_url(url, **options)


def options_of(
    kind: Literal["s3", "gcs", "azure"],
    table: Table,
    url: str,
    prefix: str | None,
    config: Mapping[str, Any] | None,
    kwargs: Mapping[str, Any],
) -> dict[str, Any]:
    """A store class's arguments: what a URL says, and what `config`, which goes before it, and keywords do.

    Raises:
        ValueError: not a URL of this kind of store, or a keyword says what the URL does.
    """
    place = _place_of(kind, _split(url))
    from cumulo._given import given_as  # with what configures stores: not for URLs of those without options

    config = given_as("config", config)
    said = {table.name_of(name) for name, value in config.items() if value is not None}
    for name, value in kwargs.items():
        option = table.name_of(name)
        if option in place.options and option not in said and value is not None:
            raise _refusal(
                f"Duplicate key: {option!r} is given by the URL and as a keyword; "
                f"config={{{option!r}: ...}} goes before the URL"
            )
    if prefix is None:
        prefix = unquote(place.path) if kwargs.get("raw_keys") else _prefix(place.path)
    rest = {name: value for name, value in place.options.items() if name not in said}
    return {"prefix": prefix or None, "config": {**config, **rest}, **kwargs}


# -- the kinds of store


def _place_of(kind: str, parts: SplitResult) -> _Place:
    place = _PLACES[kind](parts) if kind in _PLACES else None
    if place is None:
        raise _refusal(f"{_shown(parts)} is no {_NAMES.get(kind, 'such')} URL: write {_FORMS.get(kind, 'another')}")
    return place


def _s3(parts: SplitResult) -> _Place | None:
    host = _host(parts).lower()
    if parts.scheme in ("s3", "s3a") and host:
        return _Place({"bucket": _host(parts)}, parts.path[1:])
    if parts.scheme != "https":
        return None
    if _R2_HOST.fullmatch(host):
        return _first_segment("bucket", parts, {"endpoint": f"https://{host}", "region": "auto"})
    aws = _AWS_HOST.fullmatch(host)
    if aws is None:
        return None
    options: dict[str, Any] = {}
    if region := aws["region"] or aws["old"]:
        options["region"] = region
    if aws["fips"]:
        options["use_fips_endpoint"] = True
    if aws["dual"]:
        options["use_dualstack_endpoint"] = True
    if aws["bucket"] is None:
        return _first_segment("bucket", parts, options)
    return _Place({"bucket": aws["bucket"], "virtual_hosted_style_request": True, **options}, parts.path[1:])


def _gcs(parts: SplitResult) -> _Place | None:
    return _Place({"bucket": _host(parts)}, parts.path[1:]) if parts.scheme == "gs" and _host(parts) else None


def _azure(parts: SplitResult) -> _Place | None:
    known = _AZURE_HOST.fullmatch(_host(parts).lower())
    options: dict[str, Any] = {"account_name": known[1]} if known else {}
    if known and known[2] == "fabric.microsoft.com":
        options["use_fabric_endpoint"] = True
    if parts.scheme == "https":
        return _first_segment("container_name", parts, options) if known else None
    if _HOSTED.get(parts.scheme) != "azure" or not _host(parts):
        return None
    if "@" not in parts.netloc:
        return _Place({"container_name": _host(parts)}, parts.path[1:])
    container = parts.netloc.partition("@")[0].partition(":")[0]
    return _Place({"container_name": container, **options}, parts.path[1:]) if known and container else None


def _first_segment(name: str, parts: SplitResult, options: dict[str, Any]) -> _Place | None:
    """Of a URL whose path begins with bucket or container; without one, it has to be said elsewhere."""
    first, _, rest = parts.path[1:].partition("/")
    if first:
        return _Place({name: unquote(first), **options}, rest)
    return None if rest else _Place(options, "")


_PLACES: dict[str, Callable[[SplitResult], _Place | None]] = {"s3": _s3, "gcs": _gcs, "azure": _azure}
_CLASSES = {"s3": "S3Store", "gcs": "GCSStore", "azure": "AzureStore"}
_NAMES = {"s3": "S3", "gcs": "Cloud Storage", "azure": "Azure"}


# -- URLs


def _refusal(message: str) -> ConfigurationError:
    from cumulo._config import ConfigurationError  # all options' tables come with it: not for `import cumulo` to load

    return ConfigurationError(message)


def _split(url: object) -> SplitResult:
    if not isinstance(url, str):
        raise TypeError(f"a URL must be a str, not {type(url).__name__}")
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        raise _refusal("the URL can't be understood: its host is none") from None
    if not parts.scheme:
        raise _refusal("a URL begins with its scheme, as in s3://bucket/path or file:///path")
    return parts


def _host(parts: SplitResult) -> str:
    """The host as it is written: a bucket's name may have capitals. User and port say nothing about it."""
    return re.sub(r":[0-9]*$", "", parts.netloc.rpartition("@")[2])


def _shown(parts: SplitResult) -> str:
    return f"{parts.scheme}://{_host(parts)}"


def _prefix(path: str) -> str:
    """The path, decoded, without dot segments (RFC 3986 5.2.4) and without a slash at its end.

    Raises:
        ValueError: it isn't UTF-8, or has an empty segment, which a prefix that is joined to paths would lose.
    """
    segments: list[str] = []
    for segment in path.split("/"):
        plain = segment.lower().replace("%2e", ".")
        if plain == "..":
            del segments[-1:]
        elif plain != ".":
            segments.append(segment)
    try:
        whole = unquote("/".join(segments), errors="strict").removesuffix("/")
    except UnicodeDecodeError:
        raise _refusal("the URL's path is not UTF-8, percent-encoded") from None
    if segments not in ([], [""]) and any(segment in ("", ".", "..") for segment in whole.split("/")):
        raise _refusal("the URL's path has an empty segment, or one of dots: give it as prefix= instead")
    return whole
