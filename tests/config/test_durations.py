"""Durations: each form obstore takes means the same here, and what it refuses as text without a unit is seconds."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cumulo._config import milliseconds, parse_duration
from cumulo.exceptions import GenericError

DAY_S = 86400.0

UNITS = {
    **dict.fromkeys(("nanos", "nsec", "ns"), 1e-9),
    **dict.fromkeys(("micros", "usec", "us", "µs"), 1e-6),
    **dict.fromkeys(("millis", "msec", "ms"), 1e-3),
    **dict.fromkeys(("seconds", "second", "secs", "sec", "s"), 1.0),
    **dict.fromkeys(("minutes", "minute", "mins", "min", "m"), 60.0),
    **dict.fromkeys(("hours", "hour", "hrs", "hr", "h"), 3600.0),
    **dict.fromkeys(("days", "day", "d"), DAY_S),
    **dict.fromkeys(("weeks", "week", "wk", "w"), 7 * DAY_S),
    **dict.fromkeys(("months", "month", "M"), 30.44 * DAY_S),
    **dict.fromkeys(("years", "year", "yr", "y"), 365.25 * DAY_S),
}


@pytest.mark.parametrize(("unit", "seconds"), UNITS.items())
def test_units(unit, seconds):
    assert parse_duration(f"3{unit}") == pytest.approx(3 * seconds)
    assert parse_duration(f" 3 {unit} ") == pytest.approx(3 * seconds)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2h 37min", 9420),
        ("2h37min", 9420),
        ("5m 2h", 7500),
        ("5s5s", 10),
        ("1.5s", 1.5),
        ("1.5h 3.2min", 5592),
        ("32ms", 0.032),
        ("1us 2ns", 1.002e-6),
        ("0", 0),
        ("0s", 0),
        ("30", 30),
        ("1.5", 1.5),
        (0, 0),
        (5, 5),
        (0.25, 0.25),
        (timedelta(seconds=1.5), 1.5),
        (timedelta(days=2, microseconds=1), 2 * DAY_S + 1e-6),
        ("100y", 100 * 365.25 * DAY_S),
    ],
)
def test_forms(value, seconds):
    assert parse_duration(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    ["", " ", "abc", "-1s", "+1s", "1S", "1 parsec", ".5s", "1.s", "1e3s", "5s,3s", "1_000s", "٣s", "s", "1s x", "5 5"],
)
def test_text_that_is_no_duration(value):
    with pytest.raises(ValueError, match=r"^read_timeout"):
        parse_duration(value, "read_timeout")


@pytest.mark.parametrize(
    "value", [-1, -0.1, math.inf, -math.inf, math.nan, 10**400, timedelta(seconds=-1), "101y", "9" * 400 + "s"]
)
def test_out_of_range(value):
    with pytest.raises(ValueError, match="timeout must be between 0 and 100 years") as caught:
        parse_duration(value, "timeout")
    assert isinstance(caught.value, GenericError)  # what obstore raises
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("value", [None, True, b"5s", [5], {}])
def test_wrong_type(value):
    with pytest.raises(TypeError, match=r"^timeout must be a timedelta"):
        parse_duration(value, "timeout")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, 0), (0, 0), (0.0, 0), (1e-9, 1), (0.001, 1), (0.0011, 2), (1, 1000), (90.5, 90500), (1e9, 2**31 - 1)],
)
def test_milliseconds(seconds, expected):
    assert milliseconds(seconds) == expected


@given(st.floats(min_value=0, max_value=1e6))
def test_a_limit_never_becomes_none(seconds):
    assert (milliseconds(seconds) == 0) == (seconds == 0)


@given(st.text())
def test_any_text_is_a_duration_or_a_value_error(text):
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert seconds >= 0
