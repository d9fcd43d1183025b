"""What a store is: its prefix in every verb, equality, pickles, what it never tells, and life after a fork."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import cumulo
from cumulo.store import S3Store
from tests.faults import FaultServer, Object, Response
from tests.servers import S3Server

from .support import NO_RETRY, PATH, SECRET, TOKEN, fault_store, server_store


@pytest.mark.parametrize("prefix", ["p/q", "/p/q/", "p/q/"])
def test_every_verb_is_below_the_prefix(server: S3Server, prefix: str) -> None:
    whole = server_store(server)
    whole.put("p/qq/other", b"not below")
    store = server_store(server, bucket=whole.config["bucket"], prefix=prefix)
    store.put("a/x", b"0123")
    assert store.get("a/x").bytes() == b"0123"
    assert store.get("a/x").meta["path"] == "a/x"
    assert store.head("a/x")["path"] == "a/x"
    assert store.get_range("a/x", start=1, end=3) == b"12"
    assert store.get_ranges("a/x", starts=[0, 2], lengths=[1, 1]) == [b"0", b"2"]
    store.copy("a/x", "b")
    store.rename("b", "c")
    assert _paths(store) == ["a/x", "c"]
    assert _paths(store, "a") == ["a/x"]
    assert [meta["path"] for meta in store.list(offset="a/x").collect()] == ["c"]
    level = store.list_with_delimiter()
    assert (level["common_prefixes"], [meta["path"] for meta in level["objects"]]) == (["a"], ["c"])
    assert _paths(whole) == ["p/q/a/x", "p/q/c", "p/qq/other"]
    store.delete("c")
    store.delete(["a/x"])
    assert _paths(whole) == ["p/qq/other"]


def _paths(store: S3Store, prefix: str | None = None) -> list[str]:
    return [meta["path"] for meta in store.list(prefix).collect()]


def test_a_raw_prefix_is_the_beginning_of_keys(server: S3Server) -> None:
    whole = server_store(server, raw_keys=True)
    store = server_store(server, bucket=whole.config["bucket"], prefix="/p//x", raw_keys=True)
    store.put("y/", b"1")
    assert _paths(whole) == ["/p//xy/"]
    assert _paths(store) == ["y/"]
    assert _paths(store, "y") == ["y/"]
    assert store.prefix == "/p//x"


def test_functions_and_methods_are_the_same(faulty: S3Store, fault_server: FaultServer) -> None:
    fault_server.script(PATH, Object(b"data"))
    assert cumulo.get(faulty, "key").bytes() == faulty.get("key").bytes() == b"data"
    assert cumulo.head(faulty, "key") == faulty.head("key")


SECRETS = (SECRET, TOKEN)


def _secret_store(server: FaultServer, **options: Any) -> S3Store:
    return fault_store(server, session_token=TOKEN, **options)


def test_equality_and_hash(fault_server: FaultServer) -> None:
    one, other = _secret_store(fault_server), _secret_store(fault_server)
    assert one == other
    assert hash(one) == hash(other)
    one.stats()  # used or not makes no difference
    assert one == other
    assert one == pickle.loads(pickle.dumps(one))
    different: list[Any] = [
        _secret_store(fault_server, prefix="p"),
        _secret_store(fault_server, raw_keys=True),
        _secret_store(fault_server, retry_config=NO_RETRY),
        _secret_store(fault_server, client_options={"user_agent": "x"}),
        fault_store(fault_server),
        "a string",
        None,
    ]
    for store in different:
        assert one != store


def _in_child(store: S3Store, queue: Any) -> None:
    queue.put((bytes(store.get("a").bytes()), store.prefix))


def test_a_pickled_store_works_in_a_spawned_process(ministack: S3Server) -> None:
    store = server_store(ministack, prefix="p/q")
    store.put("a", b"from the parent")
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(store, queue))
    child.start()
    assert queue.get(timeout=60) == (b"from the parent", "p/q")
    child.join(60)
    assert child.exitcode == 0


def test_pickles_do_not_hold_what_came_from_the_environment(
    fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    store = S3Store("bucket", endpoint=fault_server.url, client_options={"allow_http": True})
    fault_server.script(PATH, Object(b"x"))
    store.get("key").bytes()
    assert fault_server.requests[0].header("x-amz-security-token") == TOKEN
    pickled = pickle.dumps(store)
    assert not any(secret.encode() in pickled for secret in SECRETS)
    pickle.loads(pickled).get("key").bytes()
    assert fault_server.requests[1].header("x-amz-security-token") == TOKEN


def _texts_of(error: BaseException) -> list[str]:
    return [str(error), repr(error), repr(vars(error)), repr(pickle.dumps(error))]


@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_secrets_are_in_no_error_repr_or_log(
    fault_server: FaultServer, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    fault_server.script(PATH, Response.error(status))
    store = _secret_store(fault_server, retry_config=NO_RETRY)
    with caplog.at_level(logging.DEBUG), pytest.raises(cumulo.exceptions.BaseError) as caught:
        store.get("key")
    told = [*_texts_of(caught.value), repr(store), str(store), caplog.text]
    assert not [text for text in told for secret in SECRETS if secret in text]
    assert fault_server.requests[0].header("x-amz-security-token") == TOKEN


def _fork(child: Callable[[], Any]) -> int:
    """The exit status of a forked child: 0 when `child` returns True."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if child() else 3)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(4)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_store_made_before_a_fork_works_on_both_sides(ministack: S3Server) -> None:
    store = server_store(ministack)
    store.put("a", b"1")
    asyncio.run(_read(store))
    assert store.futures.get_range("a", start=0, end=1).result(30) == b"1"

    def child() -> bool:
        store.put("child", b"c")
        asyncio.run(_read(store))
        future = store.futures.get_range("a", start=0, end=1)
        return store.get("a").bytes() == b"1" and future.result(30) == b"1"

    for _ in range(3):
        assert _fork(child) == 0
        assert store.get("child").bytes() == b"c"
        assert store.futures.head("a").result(30)["size"] == 1


async def _read(store: S3Store) -> None:
    assert await store.get_range_async("a", start=0, end=1) == b"1"


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_result_from_before_a_fork_fails_in_the_child_and_goes_on_in_the_parent(ministack: S3Server) -> None:
    store = server_store(ministack)
    store.put("a", bytes(8 << 20))
    result = store.get("a")
    stream = iter(store.get("a").stream(min_chunk_size=1 << 20))
    assert len(next(stream)) == 1 << 20

    def child() -> bool:
        for use in (result.bytes, lambda: next(stream)):
            try:
                use()
            except cumulo.exceptions.ForkedError:
                continue
            return False
        return store.get("a").bytes() == bytes(8 << 20)

    assert _fork(child) == 0
    assert sum(map(len, stream)) == 7 << 20
    assert result.bytes() == bytes(8 << 20)


EXITING = """
import asyncio, sys
from cumulo.store import S3Store
store = S3Store("bucket", endpoint=sys.argv[1], skip_signature=True, client_options={"allow_http": True})
async def main():
    asyncio.get_running_loop().slow_callback_duration = 60  # how busy this machine is says nothing of us
    for _ in range(20):
        store.get_range_async("key", start=0, end=10)
    store.put_async("key", bytes(20 << 20))
    await asyncio.sleep(0.2)
asyncio.run(main())
held = [store.futures.get("key") for _ in range(5)]
"""


def test_an_interpreter_that_ends_with_transfers_in_flight_ends_quietly(fault_server: FaultServer) -> None:
    fault_server.default = Response.never()
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", EXITING, fault_server.url], capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert len(fault_server.requests) > 20
