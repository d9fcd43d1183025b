"""An interpreter that ends with transfers in flight ends: with its own exit status, promptly, without a word.

CUMULO_EXITS says how many times in all (60 unless given), each at a random moment.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults import FaultServer, Faulty, Object, Response, Trickle

from .support import PATH, STREAM, run_program

PROGRAMS = [
    "exit_with_futures",
    "exit_with_tasks",
    "exit_with_threads",
    "exit_with_loops",
    "exit_with_streams",
    "exit_with_uploads",
    "exit_with_undrained_news",
    "exit_in_an_open_loop",
    "exit_of_a_forked_child",
]
REPEATS = max(1, int(os.environ.get("CUMULO_EXITS", "60")) // len(PROGRAMS))
PROMPT_S = 10.0


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.timeout(60 + 2 * REPEATS)
def test_in_flight_at_exit(fault_server: FaultServer, name: str) -> None:
    fault_server.script(PATH, [Object(bytes(STREAM)), Object(bytes(STREAM)), _slow()])
    fault_server.script("/bucket/slow*", Response(read_rate=1e6))
    if name == "exit_with_undrained_news":
        fault_server.script(PATH, Object(bytes(STREAM)))

    def once(_: int) -> tuple[int, str, str]:
        began = time.monotonic()
        outcome = run_program(name, fault_server.url)
        assert time.monotonic() - began < PROMPT_S
        return outcome

    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(once, range(REPEATS))) == {(3, "", "")}


def test_over_tls(fault_server: FaultServer) -> None:
    fault_server.script(PATH, Object(bytes(STREAM)))
    url, ca = fault_server.tls_url(), fault_server.ca_file
    with ThreadPoolExecutor(2) as pool:
        outcomes = pool.map(lambda _: run_program("exit_over_tls", url, ca), range(max(4, REPEATS // 2)))
        assert set(outcomes) == {(3, "", "")}


def _slow() -> Faulty:
    return Faulty(Object(bytes(STREAM)), Trickle(2e6))
