"""Options of the HTTP client that a store sends its requests with."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, TypedDict

from cumulo._records import field, record
from cumulo.exceptions import NotSupportedError

from .durations import parse_duration
from .errors import ConfigurationError
from .options import Option, Table
from .proxy import parse_proxy_url
from .values import parse_bool, parse_headers, parse_pem, parse_text, whole_number

__all__ = ["CLIENT_OPTIONS", "ClientConfig", "ClientSettings", "client_options_among", "resolve_client"]

DEFAULT_CONNECT_TIMEOUT_S = 5.0
DEFAULT_READ_TIMEOUT_S = 15.0
DEFAULT_POOL_IDLE_TIMEOUT_S = 90.0
DEFAULT_MAX_CONNECTIONS = 256


class ClientConfig(TypedDict, total=False):
    """Options of a store's HTTP client, for `client_options`.

    Durations are a `timedelta`, a number of seconds, or text: numbers with a unit (`ns`, `us`, `ms`, `s`, `min`,
    `h`, `d`, `w`, `M` for months of 30.44 days, `y` for years of 365.25 days, or their long names), added up, such
    as `"2h 37min"`, `"1.5s"`, `"32ms"`.

    Each key can also come from the environment: for `S3Store` as `AWS_` and the key in upper case, such as
    `AWS_ALLOW_HTTP=true`. What is given in Python goes before the environment.
    """

    allow_http: bool
    """Talk to endpoints without TLS, `http://...`. Default: False, and such an endpoint is refused."""

    allow_invalid_certificates: bool
    """Take any certificate from the server: expired, for another host, or self-signed. Default: False.

    Whoever sits on the way can then read and change everything, credentials included. To trust a private CA, name
    it with `root_certificate` instead.
    """

    connect_timeout: str | timedelta | float
    """How long opening a connection to an address may take, TLS included, before it counts as failed and another is
    tried, or the same again. Default: 5 seconds."""

    default_content_type: str
    """The `Content-Type` of objects that are put without one. Default: none is sent, and the server picks its own."""

    default_headers: dict[str, str] | dict[str, bytes]
    """Headers to send with every request. Default: none. Those that say how long a request is or where it goes
    (such as `Content-Length` and `Host`) are refused. In the environment: a JSON object."""

    hedge: bool
    """Send a GET a second time when it has had no answer for longer than 19 of 20 others took; the first answer is
    used and the other request cancelled. Default: False. At most one request in 20 more is sent. Only for reads of
    objects, and not before 50 of them were answered."""

    http1_only: bool
    """Use HTTP/1.1 only. Default: True, and False changes nothing: this client speaks no other version."""

    http2_keep_alive_interval: str | timedelta | float
    """Accepted, and without effect under HTTP/1.1."""

    http2_keep_alive_timeout: str | timedelta | float
    """Accepted, and without effect under HTTP/1.1."""

    http2_keep_alive_while_idle: str | bool
    """Accepted, and without effect under HTTP/1.1."""

    http2_max_frame_size: str | int
    """Accepted, and without effect under HTTP/1.1."""

    http2_only: bool
    """Use HTTP/2 only. True is refused with `NotSupportedError`: this client speaks HTTP/1.1."""

    max_connections: int | str
    """How many connections to one endpoint may be open at a time. Default: 256. Requests beyond it wait for one to
    become free, in order. More is rarely faster; a small server, or one that counts connections, may want fewer."""

    pool_idle_timeout: str | timedelta | float
    """How long a connection that nothing uses stays open for the next request. Default: 90 seconds. 0 closes it at
    once. Set it below the time after which a load balancer on the way forgets connections."""

    pool_max_idle_per_host: int | str
    """How many unused connections to an endpoint stay open. Default: all of them, up to `max_connections`. 0 opens
    a new connection for each request."""

    proxy_url: str
    """The HTTP proxy to go through, such as `"http://user:password@proxy.example.com:3128"`; `https://` for one that
    is itself reached by TLS. User and password are percent-encoded. Default: what `HTTPS_PROXY`, `HTTP_PROXY`,
    `ALL_PROXY` and `NO_PROXY` say. Given here, these variables have no effect; `""` means no proxy at all."""

    proxy_ca_certificate: str
    """The CA of the proxy's own TLS certificate, in PEM form. Default: the system's CAs. Only used with an
    `https://` `proxy_url`."""

    proxy_excludes: str
    """Hosts that are reached without the proxy in `proxy_url`, as in `NO_PROXY`: names (with all hosts below them),
    IP addresses and CIDR blocks, each perhaps with a port, separated by commas. Default: none. Without `proxy_url`
    it has no effect."""

    randomize_addresses: bool
    """Spread connections over all addresses of the host's name, whatever their order. Default: True. False: the first
    in the name server's order that works. Either way an address that takes no connection is left aside for a while,
    and the others are tried before a request fails."""

    read_timeout: str | timedelta | float
    """How long a request may go without a byte sent or received before it is cut off and tried again; what was
    already received is kept. Default: 15 seconds. 0 waits forever. A transfer that makes progress is never cut."""

    root_certificate: str | bytes
    """Certificates of CAs to trust beside the system's, in PEM form, one after the other. Default: none."""

    timeout: str | timedelta | float
    """How long a request may take as a whole, from opening a connection to the body's last byte, however well it
    advances. Default: none (so is 0); `read_timeout` notices requests that hang. The answer to the creation of an
    upload in parts is waited for two seconds longer: without it nobody could take the upload back."""

    user_agent: str
    """The `User-Agent` header. Default: `cumulo/` and the version."""


_MILLION = 1_000_000

_IN_RETRY_CONFIG = "how often requests are tried again is said in retry_config={'max_retries': ...}"
_VERIFIED = "certificates are verified unless allow_invalid_certificates=True; root_certificate adds one to trust"

CLIENT_OPTIONS = Table(
    "client",
    (
        Option("allow_http", parse_bool),
        Option("allow_invalid_certificates", parse_bool),
        Option("connect_timeout", parse_duration),
        Option("default_content_type", parse_text),
        Option("default_headers", parse_headers),
        Option("hedge", parse_bool),
        Option("http1_only", parse_bool),
        Option("http2_keep_alive_interval", parse_duration),
        Option("http2_keep_alive_timeout", parse_duration),
        Option("http2_keep_alive_while_idle", parse_bool),
        Option("http2_max_frame_size", whole_number(0, 2**32 - 1)),
        Option("http2_only", parse_bool),
        Option("max_connections", whole_number(1, _MILLION)),
        Option("pool_idle_timeout", parse_duration),
        Option("pool_max_idle_per_host", whole_number(0, 2**63 - 1)),
        Option("proxy_url", parse_text),
        Option("proxy_ca_certificate", parse_pem),
        Option("proxy_excludes", parse_text),
        Option("randomize_addresses", parse_bool),
        Option("read_timeout", parse_duration),
        Option("root_certificate", parse_pem),
        Option("timeout", parse_duration),
        Option("user_agent", parse_text),
    ),
    hints={
        "ca_certificate": "root_certificate",
        "ca_cert": "root_certificate",
        "headers": "default_headers",
        "no_proxy": "proxy_excludes",
        "proxy": "proxy_url",
        "max_retries": _IN_RETRY_CONFIG,
        "retries": _IN_RETRY_CONFIG,
        "total_timeout": "timeout",
        "use_ssl": "allow_http=True allows to do without TLS, which is otherwise asked for",
        "verify": _VERIFIED,
        "verify_ssl": _VERIFIED,
    },
)
_DURATIONS = frozenset(option.name for option in CLIENT_OPTIONS.options if option.parse is parse_duration)


@record(frozen=True)
class ClientSettings:
    """A client's options, typed and complete. `ClientConfig` says what each means.

    Attributes:
        explicit: what was given in Python, by canonical name: durations as `timedelta`, headers as a dict of bytes.
            Enough, with an environment, to make these settings again; pickles hold nothing else.
        env_prefix: where in the environment the rest was looked for.
        ca_bundle: a file of certificates to trust in place of the system's, from `AWS_CA_BUNDLE`.
    """

    allow_http: bool = False
    allow_invalid_certificates: bool = False
    connect_timeout_s: float = DEFAULT_CONNECT_TIMEOUT_S
    default_content_type: str | None = None
    default_headers: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    hedge: bool = False
    max_connections: int = DEFAULT_MAX_CONNECTIONS
    pool_idle_timeout_s: float = DEFAULT_POOL_IDLE_TIMEOUT_S
    pool_max_idle_per_host: int | None = None
    proxy_url: str | None = field(default=None, repr=False)
    proxy_ca_certificate: bytes | None = field(default=None, repr=False)
    proxy_excludes: str | None = None
    randomize_addresses: bool = True
    read_timeout_s: float | None = DEFAULT_READ_TIMEOUT_S
    root_certificate: bytes | None = field(default=None, repr=False)
    timeout_s: float | None = None
    user_agent: str | None = None
    ca_bundle: str | None = None
    explicit: dict[str, Any] = field(default_factory=dict[str, Any], repr=False, hash=False)
    env_prefix: str = field(default="AWS_", repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # The environment may hold secrets, such as a proxy's password; it is read again where the pickle is opened.
        return _resolve_again, (self.explicit, self.env_prefix)


def _resolve_again(explicit: dict[str, Any], env_prefix: str) -> ClientSettings:
    return resolve_client(explicit, env_prefix=env_prefix)


def resolve_client(
    options: Mapping[str, Any] | None, env: Mapping[str, str] | None = None, *, env_prefix: str = "AWS_"
) -> ClientSettings:
    """Complete a client's options from the environment and the defaults.

    Args:
        options: the keys of `ClientConfig`, in any case. A value of None counts as not given.
        env: the environment, by default the process's.
        env_prefix: what stands before a key's name in the environment.

    Raises:
        UnknownConfigurationKeyError: a key that `ClientConfig` does not have.
        ValueError: a value that can't be used.
        TypeError: a value of the wrong type.
        NotSupportedError: HTTP/2 only, or a proxy that is not an HTTP proxy.
    """
    env = os.environ if env is None else env
    given = CLIENT_OPTIONS.gather(options)
    values = {**CLIENT_OPTIONS.from_env(env, env_prefix, skip=given), **given}
    _check(values)
    explicit = {name: _as_given(name, value) for name, value in given.items()}
    ca_bundle = env.get("AWS_CA_BUNDLE") or None if env_prefix == "AWS_" else None
    return ClientSettings(**_fields(values), ca_bundle=ca_bundle, explicit=explicit, env_prefix=env_prefix)


def _check(values: Mapping[str, Any]) -> None:
    if values.get("http2_only"):
        raise NotSupportedError("http2_only: this client speaks HTTP/1.1, and can't be limited to HTTP/2")
    if values.get("proxy_url"):
        parse_proxy_url(values["proxy_url"], "proxy_url")
    if values.get("connect_timeout") == 0:
        raise ConfigurationError("connect_timeout must be longer than 0")


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Option values as fields of `ClientSettings`: durations with their unit, and 0 as None where it means no limit."""
    fields: dict[str, Any] = {}
    for name, value in values.items():
        if name == "http1_only" or name.startswith("http2_"):
            continue
        if name == "pool_idle_timeout":
            # Closed at once, not kept forever: the shortest limit that the engine does not take for none.
            fields["pool_idle_timeout_s"] = value or 0.001
        elif name in _DURATIONS:
            fields[f"{name}_s"] = value or None
        else:
            fields[name] = value
    return fields


def _as_given(name: str, value: Any) -> Any:
    """A parsed value in the form that `ClientConfig` takes and `client_options` shows."""
    if name in _DURATIONS:
        # A timedelta counts microseconds. Less than one must not become 0, which can mean "no limit".
        return max(timedelta(seconds=value), timedelta(microseconds=1 if value else 0))
    return dict(value) if name == "default_headers" else value


def client_options_among(
    table: Table, sources: Iterable[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A store's options apart from the client's that stand among them, as `obstore` allows.

    Returns:
        What is left of each source, and the client's options by canonical name: checked, but as they were given.

    Raises:
        ValueError: a client option given twice, or a value that can't be used.
    """
    mine: list[dict[str, Any]] = []
    options: dict[str, Any] = {}
    for source in sources:
        mine.append({})
        for key, value in source.items():
            name = None if not isinstance(key, str) or table.find(key) else _client_name(key, table.prefix)
            if name is None:
                mine[-1][key] = value
            elif name in options:
                raise ConfigurationError(f"Duplicate key: client option {name!r} is given twice")
            else:
                options[name] = value
    CLIENT_OPTIONS.gather(options)
    return mine, options


def _client_name(key: str, prefix: str) -> str | None:
    option = CLIENT_OPTIONS.find(key.lower().removeprefix(prefix))
    return option.name if option else None
