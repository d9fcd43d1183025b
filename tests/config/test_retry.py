"""Retry options: defaults, obstore's forms, and what is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cumulo._config import RetrySettings, resolve_retry
from cumulo.exceptions import UnknownConfigurationKeyError

DEFAULT = {
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=15), "base": 2.0},
    "max_retries": 10,
    "retry_timeout": timedelta(minutes=3),
}


@pytest.mark.parametrize("config", [None, {}, {"backoff": {}}, {"backoff": None}, {"max_retries": None}])
def test_defaults_are_obstores(config):
    assert resolve_retry(config) == RetrySettings(10, 180.0, 0.1, 15.0, 2.0)
    assert resolve_retry(config).as_config() == DEFAULT


def test_all_given():
    settings = resolve_retry(
        {
            "max_retries": 3,
            "retry_timeout": timedelta(seconds=7),
            "backoff": {"init_backoff": "50ms", "max_backoff": 2, "base": 3},
        }
    )
    assert settings == RetrySettings(3, 7.0, 0.05, 2.0, 3.0)
    assert resolve_retry(settings.as_config()) == settings


def test_a_long_first_pause_lifts_the_default_maximum():
    settings = resolve_retry({"backoff": {"init_backoff": "20s"}})
    assert (settings.init_backoff_s, settings.max_backoff_s) == (20, 20)


def test_no_retries():
    assert resolve_retry({"max_retries": 0}).max_retries == 0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"max_retries": -1}, "max_retries must be between 0"),
        ({"max_retries": 2**40}, "max_retries must be between"),
        ({"retry_timeout": -1}, "retry_timeout must be between 0"),
        ({"backoff": {"base": 0}}, "base must be between 1"),
        ({"backoff": {"base": float("nan")}}, "base must be between 1"),
        ({"backoff": {"init_backoff": 5, "max_backoff": 1}}, "init_backoff must not be longer"),
        ({"backoff": {"init_backoff": 5, "INIT_BACKOFF": 1}}, "given twice"),
    ],
)
def test_values_that_make_no_sense(config, message):
    with pytest.raises(ValueError, match=message):
        resolve_retry(config)


@pytest.mark.parametrize(
    "config",
    [
        {"max_retries": 1.5},
        {"max_retries": True},
        {"backoff": 5},
        {"backoff": {"base": "2"}},
        {"backoff": {"base": True}},
        {"retry_timeout": b"1s"},
        {5: 1},
    ],
)
def test_wrong_types(config):
    with pytest.raises(TypeError):
        resolve_retry(config)


@pytest.mark.parametrize(
    ("config", "hint"),
    [
        ({"max_retrys": 1}, "'max_retries'"),
        ({"timeout": 1}, "'retry_timeout'"),
        ({"zzz": 1}, "known are backoff, max_retries, retry_timeout"),
        ({"backoff": {"initbackoff": 1}}, "'init_backoff'"),
    ],
)
def test_unknown_keys(config, hint):
    with pytest.raises(UnknownConfigurationKeyError, match=hint):
        resolve_retry(config)
