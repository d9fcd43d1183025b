"""Cases about starting: what it takes to import the library, and to have a store in hand.

Each is the whole of a new interpreter's life, twenty times: what starting Python takes is in both libraries' figures.
"""

from __future__ import annotations

import os
import subprocess
import sys

from .origin import Origin
from .workload import Library, Work, Workload, require

_TIMES = 20
# As programs run that are installed: with their bytecode kept.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def imported(library: Library, _origin: Origin) -> Workload:
    """`import library`, and the names of its verbs."""
    return _programs(f"import {library.__name__} as obs; obs.get, obs.put, obs.list")


def first_store(library: Library, _origin: Origin) -> Workload:
    """An S3 store made, in a program that does nothing else."""
    return _programs(f"from {library.__name__}.store import S3Store; S3Store('bucket', region='us-east-1')")


def _programs(program: str) -> Workload:
    def run() -> Work:
        for _ in range(_TIMES):
            subprocess.run([sys.executable, "-c", program], check=True, env=_ENVIRONMENT)
        return Work(_TIMES, 0)

    def warm_up() -> None:
        require(run() == Work(_TIMES, 0), "a program did not end")

    return Workload(run=run, expected=Work(_TIMES, 0), warm_up=warm_up)
