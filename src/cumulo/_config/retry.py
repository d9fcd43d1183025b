"""When a failed request is tried again, and after how long."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypedDict, cast

from cumulo._records import record

from .durations import parse_duration
from .errors import ConfigurationError
from .options import Option, Table
from .values import whole_number

__all__ = ["BackoffConfig", "RetryConfig", "RetrySettings", "resolve_retry"]


class BackoffConfig(TypedDict, total=False):
    """How the pause before a retry grows.

    Its length is drawn at random from a span, whose end grows with each failure in a row. A server's `Retry-After`
    goes before it.
    """

    init_backoff: timedelta | float | str
    """The span's end after the first failure. Default: 100 milliseconds."""

    max_backoff: timedelta | float | str
    """Where the span stops growing. Default: 15 seconds."""

    base: float
    """What the span is multiplied by after each further failure, 1 or more. Default: 2."""


class RetryConfig(TypedDict, total=False):
    """When a request that failed is sent again, for `retry_config`.

    Tried again are: connections that break or can't be opened, requests that stall, and responses that say 429 or
    5xx. A body that breaks off goes on from the byte it stopped at. What can't heal, such as a wrong certificate or
    any other 4xx, fails at once.
    """

    backoff: BackoffConfig
    """How long to wait before each retry. Default: `BackoffConfig`'s own defaults."""

    max_retries: int
    """How often in a row one request is tried again. Default: 10. 0 never does. A download that breaks off
    after it got on by 64 KiB counts anew."""

    retry_timeout: timedelta | float | str
    """How long after a request was first sent, or last got on, it may still be tried again. Default: 3 minutes. A try
    that has begun goes on to its own end, and the time a stream waits for its reader does not count, nor that in
    which an upload's content goes out."""


@record(frozen=True)
class RetrySettings:
    """Retry options, typed and complete. `RetryConfig` says what each means."""

    max_retries: int = 10
    retry_timeout_s: float = 180.0
    init_backoff_s: float = 0.1
    max_backoff_s: float = 15.0
    base: float = 2.0

    def as_config(self) -> RetryConfig:
        """All of them in the form that stores take and show."""
        return {
            "backoff": {
                "init_backoff": timedelta(seconds=self.init_backoff_s),
                "max_backoff": timedelta(seconds=self.max_backoff_s),
                "base": self.base,
            },
            "max_retries": self.max_retries,
            "retry_timeout": timedelta(seconds=self.retry_timeout_s),
        }


def _mapping(value: object, label: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{label} must be a dict, not {type(value).__name__}")
    return cast("Mapping[str, Any]", value)


def _base(value: object, label: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{label} must be a number, not {type(value).__name__}")
    if not 1 <= value <= 1000:
        raise ConfigurationError(f"{label} must be between 1 and 1000, got {value}")
    return float(value)


_RETRY = Table(
    "retry",
    (
        Option("backoff", _mapping),
        Option("max_retries", whole_number(0, 2**31 - 1)),
        Option("retry_timeout", parse_duration),
    ),
    hints={"max_attempts": "max_retries", "retries": "max_retries", "timeout": "retry_timeout"},
)
_BACKOFF = Table(
    "backoff",
    (Option("init_backoff", parse_duration), Option("max_backoff", parse_duration), Option("base", _base)),
)


def resolve_retry(config: Mapping[str, Any] | None = None) -> RetrySettings:
    """Complete retry options from the defaults.

    Raises:
        UnknownConfigurationKeyError: a key that `RetryConfig` or `BackoffConfig` does not have.
        ValueError: a value that can't be used.
        TypeError: a value of the wrong type.
    """
    values = _RETRY.gather(config)
    backoff = _BACKOFF.gather(values.pop("backoff", None))
    named = {f"{name}_s" if name != "base" else name: value for name, value in backoff.items()}
    if "retry_timeout" in values:
        named["retry_timeout_s"] = values.pop("retry_timeout")
    if "max_backoff" not in backoff:
        named["max_backoff_s"] = max(RetrySettings.max_backoff_s, named.get("init_backoff_s", 0.0))
    settings = RetrySettings(**values, **named)
    if settings.init_backoff_s > settings.max_backoff_s:
        raise ConfigurationError("init_backoff must not be longer than max_backoff")
    return settings
