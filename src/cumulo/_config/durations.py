"""Durations: what a user may write, as seconds."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import TypeAlias

from .errors import ConfigurationError

__all__ = ["Duration", "milliseconds", "parse_duration"]

Duration: TypeAlias = timedelta | int | float | str
"""A span of time: a `timedelta`, a number of seconds, or text such as `"2h 37min"`, `"1.5s"` or `"32ms"`."""

_DAY_S = 86400.0
# Months and years have the mean lengths that obstore gives them. "M" and "m" differ: units are case-sensitive.
_UNITS: dict[str, float] = {
    unit: seconds
    for units, seconds in (
        ("nanos nsec ns", 1e-9),
        ("micros usec us µs μs", 1e-6),
        ("millis msec ms", 1e-3),
        ("seconds second secs sec s", 1.0),
        ("minutes minute mins min m", 60.0),
        ("hours hour hrs hr h", 3600.0),
        ("days day d", _DAY_S),
        ("weeks week wks wk w", 7 * _DAY_S),
        ("months month M", 30.44 * _DAY_S),
        ("years year yrs yr y", 365.25 * _DAY_S),
    )
    for unit in units.split()
}
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_SPAN = re.compile(rf"\s*({_NUMBER})\s*([^\W\d_]+)\s*")
_SECONDS = re.compile(rf"\s*{_NUMBER}\s*")
# Longer ones are mistakes: of the unit, mostly.
_LONGEST_S = 100 * 365.25 * _DAY_S


def parse_duration(value: object, label: str = "duration") -> float:
    """Turn what a user wrote into seconds.

    Args:
        value: a `timedelta`, a number of seconds, or text: one or more numbers, each with a unit from `ns` to
            `years`, added up. Text without a unit is seconds.
        label: what the value is, for the error's message.

    Raises:
        ValueError: it is negative, longer than 100 years, or not understood.
        TypeError: it is none of these types.
    """
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, str):
        seconds = _from_text(value, label)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = math.inf if value > _LONGEST_S else float(value)
    else:
        raise TypeError(
            f"{label} must be a timedelta, a number of seconds or text such as '30s', not {type(value).__name__}"
        )
    if not 0 <= seconds <= _LONGEST_S:  # as well for what is not a number
        raise ConfigurationError(f"{label} must be between 0 and 100 years, got {str(value)[:60]!r}")
    return seconds


def milliseconds(seconds: float | None) -> int:
    """A duration as the engine takes it: whole milliseconds in 31 bits (24 days), and 0 for no limit.

    A limit of less than a millisecond is rounded up, as it would turn into none.
    """
    return 0 if not seconds else min(math.ceil(seconds * 1000), 2**31 - 1)


def _from_text(text: str, label: str) -> float:
    if _SECONDS.fullmatch(text):
        return float(text)
    total, at = 0.0, 0
    while match := _SPAN.match(text, at):
        number, unit = match.groups()
        if unit not in _UNITS:
            raise ConfigurationError(
                f"{label}: unknown unit {unit[:20]!r} in {text[:60]!r}; units are such as ms, s, min, h, d"
            )
        total += float(number) * _UNITS[unit]
        at = match.end()
    if at == 0 or at != len(text):
        raise ConfigurationError(f"{label}: {text[:60]!r} is not a duration; write it as '30s', '1.5s' or '2h 37min'")
    return total
