"""What a benchmark case is: a `Case` names it and its targets, a `Workload` is one prepared run of it.

A case function takes the library's module and the origin and returns a `Workload`; the measuring process then calls
``warm_up``, ``run`` (the timed section) and ``check`` in this order. ``run`` counts what came back, so that a library
that does nothing fails; contents are compared in ``warm_up`` and ``check``, outside the timed section.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .origin import Origin

# A module with obstore's interface. No static type describes "either of two modules".
Library = Any


class Variant:
    """A library whose S3 stores get options that only it knows: to compare it with itself."""

    def __init__(self, library: Library, s3_options: dict[str, str]) -> None:
        self.library = library
        self.s3_options = s3_options

    def __getattr__(self, name: str) -> Any:
        return getattr(self.library, name)


class CheckError(AssertionError):
    """A library returned or sent something else than it should have."""


@dataclass(frozen=True)
class Work:
    """What a timed section has done."""

    operations: int
    bytes: int


@dataclass(frozen=True)
class Workload:
    """One prepared run."""

    run: Callable[[], Work]
    expected: Work
    warm_up: Callable[[], None]
    check: Callable[[], None] = lambda: None
    # Memory that the case itself holds (a payload to upload): not the library's.
    harness_bytes: int = 0
    # Rest before memory is read a last time: a dropped stream may give its buffers back on another thread.
    settle_s: float = 0.0


@dataclass(frozen=True)
class Target:
    """The least ratio peer/cumulo that the project wants: 2.5 in ``wall`` is "2.5 times faster"."""

    wall: float | None = None
    cpu: float | None = None
    peak: float | None = 1.0


@dataclass(frozen=True)
class Case:
    """A named case, its function and its targets."""

    name: str
    title: str
    prepare: Callable[[Library, Origin], Workload]
    target: Target = field(default_factory=Target)
    # What the case itself asks the library to hold at once; a stated buffer budget comes on top of it.
    asked_mib: float = 0.0
    # Memory cases are judged by what stays after them and not by how fast they were.
    max_growth_mib: float | None = None
    # Who is measured instead of the run's libraries: modules that share no interface (see `sdks`).
    libraries: tuple[str, ...] = ()
    # Extra cases have no target in the project's table and only run when asked for.
    extra: bool = False


def require(condition: bool, message: str) -> None:
    """An ``assert`` that ``python -O`` keeps."""
    if not condition:
        raise CheckError(message)


def require_same(actual: object, expected: object, what: str) -> None:
    """Two values are equal; neither is printed, they may be large."""
    require(actual == expected, f"{what} differs")
