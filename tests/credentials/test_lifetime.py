"""Fork and exit."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cumulo._credentials import source_for

from .support import Origin, Provider, credential, settings

SUPPORT = Path(__file__).resolve().parents[2]


def in_child(check: Callable[[], bool]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if check() else 1)
        finally:
            os._exit(2)
    until = time.monotonic() + 20
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    pytest.fail("the child hangs")


def test_a_forked_child_has_a_refresher_of_its_own(origin: Origin) -> None:
    provider = Provider(lambda: credential(f"AK{provider.calls}-{os.getpid()}"))
    source = source_for(settings(), provider)
    assert origin.get(source).error is None
    parent = os.getpid()

    def check() -> bool:
        mine = source_for(settings(), provider)
        return mine is not source and origin.get(mine).error is None

    assert in_child(check) == 0
    assert origin.get(source).error is None, "the parent goes on with its own"
    assert origin.get(source_for(settings(), Provider(credential("AKNEW")))).error is None
    signers = origin.signers()
    assert signers[0] == signers[2] == f"AK1-{parent}"
    assert signers[1].startswith("AK2-")
    assert signers[3] == "AKNEW"


def test_credentials_of_the_parent_are_refused_in_the_child(origin: Origin) -> None:
    source = source_for(settings(), Provider(credential("AK1")))

    def check() -> bool:
        try:
            origin.client(source)
        except RuntimeError as error:
            return "before a fork" in str(error)
        return False

    assert in_child(check) == 0


def test_fork_while_a_refresh_is_under_way(origin: Origin) -> None:
    provider = Provider(lambda: (time.sleep(0.5), credential("AK1"))[1])
    source = source_for(settings(), provider)
    from cumulo._native import Request, thread_queue

    request = Request(origin.client(source), "GET", b"/bucket/key", timeout_s=10)
    request.submit(thread_queue())
    time.sleep(0.1)

    def check() -> bool:
        return origin.get(source_for(settings(), provider)).error is None

    assert in_child(check) == 0
    request.wait()
    assert request.error is None


EXIT = """
    import asyncio, sys, threading, time
    sys.path.insert(0, {root!r})
    from cumulo._credentials import source_for
    from cumulo._native import Client, Request, thread_queue
    from types import SimpleNamespace

    def blocks():
        time.sleep(60)

    async def waits():
        await asyncio.sleep(60)

    async def stubborn():
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass

    kept = []
    for provider in (blocks, waits, stubborn):
        source = source_for(SimpleNamespace(), provider)
        client = Client(key="x", host="127.0.0.1", port={port}, tls=False, host_header="x", max_connections=4,
                        connect_timeout_ms=1000, idle_timeout_ms=1000, stall_timeout_ms=0, total_timeout_ms=0,
                        max_retries=0, retry_timeout_ms=0, backoff_init_ms=1, backoff_max_ms=1, backoff_base=2.0,
                        region="us-east-1", credentials=source)
        request = Request(client, "GET", b"/bucket/key")
        request.submit(thread_queue())
        kept.append((client, request))
    time.sleep(0.3)
    print("leaving", flush=True)
"""


def test_exit_with_refreshes_under_way_is_prompt_and_quiet(origin: Origin) -> None:
    port = int(origin.server.url.rpartition(":")[2])
    program = textwrap.dedent(EXIT).format(root=str(SUPPORT), port=port)
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", program], capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "leaving\n", "")
    assert time.monotonic() - started < 30


def test_exit_ends_a_credential_process(aws: Path, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    (aws / "config").write_text(f"[default]\ncredential_process = sh -c 'echo $$ > {mark}; exec sleep 60'\n")
    program = f"""
        import sys, threading, time, pathlib
        from cumulo._credentials import chain, refresher, source_for
        from cumulo._config import resolve_s3
        from cumulo._native import Client, Request, thread_queue
        source = source_for(resolve_s3("b"))
        threading.Thread(target=source.owner.call, daemon=True).start()
        while not pathlib.Path({str(mark)!r}).exists():
            time.sleep(0.01)
        time.sleep(0.1)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], timeout=60, check=True)
    pid = int(mark.read_text())
    until = time.monotonic() + 30
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < until
        time.sleep(0.02)
