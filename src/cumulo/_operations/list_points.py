"""Where a range of keys may be split, from what has been seen of it. Pure; any answer is a right one, some are better.

Keys are ordered by their UTF-8 bytes, which is the order of their code points.
"""

from __future__ import annotations

_LANDMARKS = "05AMafmsz\u00ff\u3000\u9fff"
"""What names may begin with, whatever has been seen."""


def directory_ends(first: str, last: str, end: str | None, prefix: str) -> list[str]:
    """Points behind each directory that all of a page from `first` to `last` is in, of those before `end`."""
    shared = _shared(first, last)
    points = [last[:at] + chr(ord("/") + 1) for at in range(len(prefix), shared) if last[at] == "/"]
    return [point for point in points if _is_between(point, last, end)]


def points_between(first: str, last: str, end: str | None, prefix: str, alphabet: set[str], most: int) -> list[str]:
    """Up to `most` points behind `last` and before `end` (None: where keys stop to begin with `prefix`), in order.

    `first` and `last` are a page's, `alphabet` the characters of its keys. Each point is what the page's keys share, or
    less of it, and then a later character than theirs. Digits, and the first character that is not shared, are taken to
    count up; of others it is asked whether there is anything behind them at all. No character gets more than its share
    of the points.
    """
    levels: list[list[str]] = []
    shared = _shared(first, last)
    for at in range(len(prefix), min(shared + 1, len(last))):
        begins = at == len(prefix) or last[at - 1] == "/"
        later = _later(last[at], alphabet if at == shared or last[at].isdigit() else set[str](), begins=begins)
        between = sorted(point for point in (last[:at] + char for char in later) if _is_between(point, last, end))
        if between:
            levels.append(between)
    found: set[str] = set()
    for index, level in enumerate(levels):
        share = max(1, (most - len(found)) // (len(levels) - index))
        found.update(level[(2 * each + 1) * len(level) // (2 * share)] for each in range(min(share, len(level))))
    return sorted(found)[:most]


def _later(char: str, alphabet: set[str], *, begins: bool) -> set[str]:
    nearest = {chr(ord(char) + 1)} if ord(char) < 0x10FFFF else set[str]()
    return {other for other in nearest.union(alphabet, _LANDMARKS if begins else "") if other > char}


def _shared(first: str, last: str) -> int:
    """How many characters both begin with."""
    for at, (one, other) in enumerate(zip(first, last, strict=False)):
        if one != other:
            return at
    return min(len(first), len(last))


def _is_between(point: str, last: str, end: str | None) -> bool:
    return point > last and (end is None or point < end) and _is_text(point)


def _is_text(point: str) -> bool:
    """Whether it can be asked for: surrogates can't."""
    try:
        point.encode()
    except UnicodeEncodeError:
        return False
    return True
