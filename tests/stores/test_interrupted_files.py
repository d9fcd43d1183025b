"""Ctrl-C at any moment of a call of a file: the next call neither waits for ever nor goes on from half a state."""

from __future__ import annotations

import subprocess
import sys

import pytest

HANGS_AFTER_S = 120
PROGRAM = """
import gc, random, signal, sys

import cumulo
from cumulo.exceptions import GenericError
from cumulo.store import MemoryStore

def press(number, frame):
    raise KeyboardInterrupt

def read():
    reader.seek(0)
    assert reader.read(10) == b"0123456789"

def write():
    writer.write(b"0123456789")

def broken_write():
    global writer
    try:
        write()
    except (GenericError, ValueError) as error:
        assert "cut short" in str(error) or writer.closed
    writer.discard()
    writer = cumulo.open_writer(store, "written")

store = MemoryStore()
store.put("object", b"0123456789" * 10_000)
reader, writer = cumulo.open_reader(store, "object"), cumulo.open_writer(store, "written")
use, use_again = {"reading": (read, read), "writing": (write, broken_write)}[sys.argv[1]]
signal.signal(signal.SIGALRM, press)
gc.disable()  # what is raised in a finalizer is lost
for number in range(3000):
    if number % 100 == 0:
        gc.collect()
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 2e-4))
        while True:
            use()
    except KeyboardInterrupt:
        pass
    use_again()
writer.discard()
"""


@pytest.mark.parametrize("what", ["reading", "writing"])
def test_a_call_can_be_broken_off_anywhere(what: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, what], capture_output=True, text=True, timeout=HANGS_AFTER_S, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
