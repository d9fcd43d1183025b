"""`Extents`: what a reader keeps, against a list that is searched from one end to the other."""

from __future__ import annotations

import os
import random

import pytest

from cumulo._native import Extent, Extents

CONTENT = os.urandom(2000)
LIMIT = 400


class Plain:
    """The same, the one that was used last at the end."""

    def __init__(self) -> None:
        self.held: list[Extent] = []

    def find(self, at: int) -> Extent | None:
        last = max((each for each in self.held if each.start <= at), key=lambda each: each.start, default=None)
        if last is None or at >= last.end:
            return None
        self.held.remove(last)
        self.held.append(last)
        return last

    def add(self, extent: Extent) -> None:
        if len(extent.content) > LIMIT // 2:
            return
        if any(each.start <= extent.start and extent.end <= each.end for each in self.held):
            return
        self.held = [each for each in self.held if each.start < extent.start or extent.end < each.end]
        self.held.append(extent)
        while sum(len(each.content) for each in self.held) > LIMIT:
            del self.held[0]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("longest", [10, 100, 300])
def test_finds_what_was_used_last(seed: int, longest: int) -> None:
    chosen = random.Random(seed)
    kept, plain = Extents(LIMIT), Plain()
    for _ in range(1500):
        start = chosen.randrange(len(CONTENT) - longest)
        extent = Extent(start, CONTENT[start : start + chosen.randint(1, longest)])
        kept.add(extent)
        plain.add(extent)
        at = chosen.randrange(len(CONTENT))
        assert kept.find(at) is plain.find(at)
    assert {kept.find(at) for at in range(len(CONTENT))} - {None} == set(plain.held)
    kept.clear()
    assert [at for at in range(len(CONTENT)) if kept.find(at) is not None] == []


def test_a_span() -> None:
    extent = Extent(100, CONTENT[:50])
    assert (extent.start, extent.end, extent.content) == (100, 150, CONTENT[:50])
    assert extent.cut(110, 120) == CONTENT[10:20]
    assert extent.cut(110, 999) == CONTENT[10:50]
    assert extent.cut(100, 150) is extent.content
