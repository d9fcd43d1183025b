"""What the engine's tests share: a native client for a server, and the shortest ways to ask it for something."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cumulo import _native as native

ROOT = Path(__file__).parents[2]
PATH = "/bucket/key"
CHILD_S = 30.0
"""How long a child process may take before it counts as hung."""


class EngineError(Exception):
    """A failed request as the engine tells it, before any store's error mapping."""

    def __init__(self, request: native.Request) -> None:
        self.error: str = request.error
        self.status, self.headers, self.body = 0, dict[str, str](), b""
        self.crt_error: str | None = request.crt_error
        self.attempts: int = request.attempts
        if self.error != "forked":
            (self.status, self.headers, _, _), self.body = request.failure
        super().__init__(self.error, self.crt_error, self.status, self.attempts)


def make_client(url: str, **changes: Any) -> native.Client:
    """A client with quick retries; any option of `native.Client` can be changed."""
    parts = urlsplit(url)
    options: dict[str, Any] = {
        "host": parts.hostname,
        "port": parts.port or (443 if parts.scheme == "https" else 80),
        "tls": parts.scheme == "https",
        "host_header": parts.netloc,
        "base": b"/bucket/",
        "max_connections": 64,
        "connect_timeout_ms": 5000,
        "idle_timeout_ms": 20000,
        "stall_timeout_ms": 15000,
        "total_timeout_ms": 0,
        "max_retries": 10,
        "retry_timeout_ms": 30000,
        "backoff_init_ms": 5,
        "backoff_max_ms": 50,
        "backoff_base": 2.0,
    }
    options |= changes
    # Clients of one key share connections and what was fixed when they were made: so all options are in it.
    key = repr(sorted((name, value) for name, value in options.items() if name != "credentials"))
    return native.Client(key=key, **options)


def make_signing_client(url: str, **changes: Any) -> native.Client:
    """One whose requests are signed with the SHA-256 of their bodies, as S3's are in the clear."""
    credentials = native.Credentials()
    credentials.publish("AKIDEXAMPLE", "secret")
    return make_client(url, credentials=credentials, region="us-east-1", sign_payload=True, **changes)


def request(client: native.Client, method: str = "GET", path: str = PATH, **options: Any) -> native.Request:
    """A request, not yet submitted."""
    return native.Request(client, method, path.encode(), **options)


def get(client: native.Client, path: str = PATH, **options: Any) -> bytes:
    """The whole object, gathered by the engine."""
    return bytes(request(client, path=path, **options).perform().take_body())


def error_of(call: Callable[[], object]) -> EngineError:
    """What a call fails with."""
    try:
        call()
    except EngineError as error:
        return error
    raise AssertionError("it did not fail")


STREAM = 8 << 20
"""Enough for a stream: shorter bodies are fetched before their consumer gives room."""


def open_stream(client: native.Client, path: str = PATH, **options: Any) -> native.Request:
    """A stream whose headers are there."""
    stream = request(client, path=path, sink="stream", announce_headers=True, **options)
    return stream.perform(True)


def read_piece(stream: native.Request, size: int = 65536) -> bytes:
    """The next piece of a stream; empty at its end. Waits on this thread."""
    if not stream.pieces_waiting and not stream.feed_piece(size):
        stream.raise_if_failed()
        raise AssertionError("the stream takes no room")
    taken = stream.progress[2]
    while True:
        piece = stream.take_piece()
        if piece is not None:
            return piece
        if stream.finished:
            stream.raise_if_failed()
            return stream.take_piece() or b""
        stream.wait(pieces=taken + 1)


def read_stream(stream: native.Request, size: int = 65536) -> Iterator[bytes]:
    """All pieces of a stream; just one if the body is short."""
    short = stream.prefetched
    if short is not None:
        stream.wait()
        stream.raise_if_failed()
        yield bytes(short)
        return
    while piece := read_piece(stream, size):
        yield piece


async def ended(started: native.Request) -> native.Request:
    """Submit to the running loop and wait for the end, whatever it is."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def news(_: native.Request) -> None:
        if started.finished and not done.done():
            done.set_result(None)

    started.waiter = news
    started.submit(native.loop_queue(loop))
    await done
    started.waiter = None
    return started


async def settled(seconds: float = 5) -> None:
    """Let the running loop hand out what has ended, until nothing is under way; the leak check judges."""
    until = time.monotonic() + seconds
    while native.runtime_stats()["requests"] and time.monotonic() < until:  # noqa: ASYNC110 - it is the loop that must turn
        await asyncio.sleep(0.005)


class Dispatcher:
    """A thread that hands out news, as the one for `concurrent.futures` does."""

    def __init__(self) -> None:
        self.queue = native.Queue()
        self._stop = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Dispatcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        self.queue.poke()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop:
            self.queue.wait_and_drain(1000)

    def submit(self, started: native.Request) -> threading.Event:
        """Start a request; the event is set when it has ended."""
        done = threading.Event()
        started.waiter = lambda each: done.set() if each.finished else None
        started.submit(self.queue)
        return done

    def finish(self, requests: Iterable[native.Request], seconds: float = CHILD_S) -> None:
        """Start them all, and wait until the last has ended."""
        until = time.monotonic() + seconds
        for done in [self.submit(each) for each in requests]:
            assert done.wait(until - time.monotonic()), "requests do not end"


def fork(work: Callable[[], object]) -> int:
    """The process id of a forked child that does `work`, and exits with 0 if that went well."""
    with warnings.catch_warnings():
        # Python 3.12 and later warn of forking with threads, which is what is tested here.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def join_child(pid: int, seconds: float = CHILD_S) -> None:
    """Wait for a forked child, and fail if it failed or hangs."""
    until = time.monotonic() + seconds
    while True:
        ended_pid, status = os.waitpid(pid, os.WNOHANG)
        if ended_pid:
            assert os.waitstatus_to_exitcode(status) == 0, "the child failed: see its traceback on stderr"
            return
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise AssertionError("the child hangs")
        time.sleep(0.002)


def in_child(work: Callable[[], object]) -> None:
    """Do `work` in a forked child and wait for it."""
    join_child(fork(work))


@contextmanager
def raw_server(serve: Callable[[socket.socket], None], times: int = 1) -> Iterator[str]:
    """A server of so many connections, one by one, for what the fault server does not do: `serve` has the socket."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            for _ in range(times):
                sock, _ = listener.accept()
                with sock:
                    serve(sock)
        except BaseException as error:
            failures.append(error)

    with socket.socket() as listener:
        # Little room on its side: what it does not read stays with the client.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(CHILD_S)
        thread = threading.Thread(target=run)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(CHILD_S)
    if failures:
        raise failures[0]


@contextmanager
def program(name: str, *arguments: object, module: str = "programs") -> Iterator[subprocess.Popen[str]]:
    """A fresh interpreter that runs a function of programs.py; killed if it is still there at the end."""
    command = [sys.executable, "-m", f"tests.engine.{module}", name, *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()


def run_program(
    name: str, *arguments: object, seconds: float = CHILD_S, module: str = "programs"
) -> tuple[int, str, str]:
    """Run it to its end: exit status, stdout, stderr."""
    with program(name, *arguments, module=module) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{name} does not end") from None
        return process.returncode, out, err
