"""A process that has used up its file descriptors: an error it can catch, and all is well when there are some again."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.faults import FaultServer, Object

from .support import PATH

PROGRAM = """
import os, resource, sys, time
import cumulo
from cumulo.store import S3Store

def used_up():
    held = []
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return held

quick = {"max_retries": 2, "backoff": {"init_backoff": 0.01}}
store = S3Store("bucket", endpoint=sys.argv[1], skip_signature=True, client_options={"allow_http": True},
                retry_config=quick)
before = sys.argv[2] == "before"
if not before:
    assert store.get("key").bytes() == b"content"
    print("used", flush=True)
    sys.stdin.readline()
    while cumulo.runtime.stats()["connections"]:  # what closes after this would leave a descriptor
        time.sleep(0.01)
resource.setrlimit(resource.RLIMIT_NOFILE, (80, 80))
calls = [lambda: store.get("key").bytes(), lambda: store.put("key", b"x"), lambda: store.list().collect()]
import cumulo.exceptions, cumulo._errors, cumulo._operations.put, cumulo._operations.list
held = used_up()
for call in calls:
    try:
        call()
    except OSError as error:
        assert "file" in str(error), error
    else:
        raise AssertionError("no error")
for each in held:
    os.close(each)
assert store.get("key").bytes() == b"content"
print("done")
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_no_descriptors(fault_server: FaultServer, when: str) -> None:
    """Before the first use, and after it, when all connections are gone."""
    fault_server.script(PATH, Object(b"content"))
    command = [sys.executable, "-c", PROGRAM, fault_server.url, when]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
        assert child.stdout is not None
        if when == "after":
            assert child.stdout.readline() == "used\n"
            fault_server.close_connections()
        out, err = child.communicate("\n", timeout=60)
    assert (child.returncode, err, out) == (0, "", "done\n")
