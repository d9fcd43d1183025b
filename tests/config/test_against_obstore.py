"""What obstore takes, this takes too: the same values given to both."""

from __future__ import annotations

import obstore.exceptions
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.store import S3Store

from cumulo._config import resolve_client, resolve_retry, resolve_s3

UNITS = [
    *("nanos", "nsec", "ns", "micros", "usec", "us", "µs", "millis", "msec", "ms", "seconds", "second", "sec", "s"),
    *("minutes", "minute", "min", "m", "hours", "hour", "hr", "h", "days", "day", "d", "weeks", "week", "w"),
    *("months", "month", "M", "years", "year", "y", "S", "x", "hrs", "mins", "secs", "wk", "yr", "yrs", "sek", "Ms"),
]
REFUSALS = (obstore.exceptions.BaseError, TypeError, ValueError)


def obstore_takes(*args, **options) -> bool:
    try:
        S3Store(*args, **options)
    except REFUSALS:
        return False
    return True


spans = st.builds(
    "{}{}{}{}".format,
    st.one_of(st.integers(0, 33), st.decimals(0, 33, places=2)),  # three of them in years are less than our 100
    st.sampled_from(["", " "]),
    st.sampled_from(UNITS),
    st.sampled_from(["", " ", "  "]),
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.lists(spans, max_size=3).map("".join), st.text(max_size=6)))
def test_durations(text):
    if obstore_takes("b", client_options={"timeout": text}):
        assert resolve_client({"timeout": text}, {}).explicit["timeout"] is not None


@pytest.mark.parametrize(
    "word", ["true", "TRUE", "1", "on", "Yes", "y", "false", "0", "OFF", "no", "N", "t", "f", "2", ""]
)
def test_booleans(word):
    theirs = obstore_takes("b", skip_signature=word)
    try:
        resolve_s3("b", {"skip_signature": word}, None, {})
    except ValueError:
        ours = False
    else:
        ours = True
    assert ours == theirs


@pytest.mark.parametrize(
    "options",
    [
        {"aws_region": "x"},
        {"AWS_REGION": "x"},
        {"default_region": "x"},
        {"endpoint_url": "http://h"},
        {"aws_endpoint_url_s3": "http://h"},
        {"endpoint_url_sts": "http://h"},
        {"request_payer": "Requester"},
        {"checksum_algorithm": "CRC64NVME"},
        {"conditional_put": "disabled"},
        {"copy_if_not_exists": "header: a: b:c"},
        {"copy_if_not_exists": "header-with-status: a: b: 409"},
        {"server_side_encryption": "aws:kms:dsse", "sse_kms_key_id": "x"},
        {"allow_http": True},
        {"timeout": "5s"},
        {"access_key_id": "x", "secret_access_key": "y", "token": "z"},
    ],
)
def test_options(options):
    assert obstore_takes("b", **options)
    resolve_s3("b", None, options, {})


@pytest.mark.parametrize(
    "options",
    [
        {"config": {"region": "x"}, "region": "x"},
        {"aws_region": "x", "region": "x"},
        {"bucket_name": "b"},
        {"access_key_id": "x"},
        {"secret_access_key": "x"},
        {"nope": "x"},
        {"copy_if_not_exists": "x"},
        {"server_side_encryption": "sse-c"},
    ],
)
def test_refusals(options):
    assert not obstore_takes("b", **options)
    config = options.pop("config", None)
    with pytest.raises(ValueError):
        resolve_s3("b", config, options, {})


@pytest.mark.parametrize("config", [{}, {"max_retries": 3}, {"backoff": {"base": 3}}])
def test_retry_configs_are_shown_alike(config):
    assert resolve_retry(config).as_config() == S3Store("b", retry_config=config).retry_config


@pytest.mark.parametrize("headers", [{"A": "b"}, {"a": b"b"}])
def test_headers_are_shown_alike(headers):
    theirs = S3Store("b", client_options={"default_headers": headers}).client_options
    assert theirs is not None
    assert resolve_client({"default_headers": headers}, {}).explicit["default_headers"] == theirs["default_headers"]
