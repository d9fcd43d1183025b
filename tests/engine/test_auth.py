"""Signing: with the keys of the moment and the server's clock, healed once when either was wrong."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from threading import Thread
from typing import Any

import pytest

from cumulo import _native as native
from tests.faults import FaultServer, Object, Request, Response

from .support import CHILD_S, PATH, Dispatcher, error_of, get, request

OBJECT = Object(b"data")
TRUSTED_S = 5.2
"""Keys that are younger than five seconds are not what a refusal is about."""
Connect = Callable[..., native.Client]


def static_keys(key: str = "AKIDSTATIC", token: str | None = None) -> native.Credentials:
    """Keys that do not change."""
    credentials = native.Credentials()
    credentials.publish(key, "secret", token)
    return credentials


class Refresher:
    """Publishes AKID1, AKID2 ... whenever fresh keys are wanted."""

    def __init__(self) -> None:
        self.queue = native.Queue()
        self.credentials = native.Credentials(self.queue)
        self.asked = 0
        self.stopping = False
        self.options: dict[str, Any] = {}

    def run(self) -> None:
        while not self.stopping:
            self.queue.wait_poke(1000)
            for wanted in native.take_wanted(self.queue):
                self.asked += 1
                wanted.publish(f"AKID{self.asked}", "secret", **self.options)


@contextmanager
def refreshed(**options: Any) -> Iterator[Refresher]:
    """A refresher with its thread."""
    refresher = Refresher()
    refresher.options = options
    thread = Thread(target=refresher.run)
    thread.start()
    yield refresher
    refresher.stopping = True
    refresher.queue.poke()
    thread.join()


def signed(connect: Connect, credentials: native.Credentials, **options: Any) -> native.Client:
    """A client that signs for S3."""
    return connect(credentials=credentials, region="eu-central-1", **options)


def key_of(asked: Request) -> str:
    """The access key a request was signed with."""
    return (asked.header("authorization") or "").partition("Credential=")[2].partition("/")[0]


def date_of(asked: Request) -> datetime:
    """When a request says it was signed."""
    return datetime.strptime(asked.header("x-amz-date") or "", "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)


def test_what_is_signed(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, OBJECT)
    assert get(signed(connect, static_keys(token="a-token")), range=("bounded", 0, 4)) == b"data"
    (asked,) = fault_server.requests
    authorization = asked.header("authorization") or ""
    assert authorization.startswith("AWS4-HMAC-SHA256 Credential=AKIDSTATIC/")
    assert "/eu-central-1/s3/aws4_request" in authorization
    assert asked.header("x-amz-security-token") == "a-token"
    assert abs(date_of(asked) - datetime.now(timezone.utc)) < timedelta(minutes=1)


@pytest.mark.parametrize("sign_payload", [True, False])
def test_the_payload(fault_server: FaultServer, connect: Connect, sign_payload: bool) -> None:
    fault_server.script(PATH, Object(None))
    body = b"payload" * 100_000
    request(signed(connect, static_keys(), sign_payload=sign_payload), "PUT", body=body).perform()
    expected = hashlib.sha256(body).hexdigest() if sign_payload else "UNSIGNED-PAYLOAD"
    assert fault_server.requests[0].header("x-amz-content-sha256") == expected
    assert fault_server.requests[0].body == body


def test_not_signed(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, OBJECT)
    anonymous = native.Credentials()
    anonymous.publish(None)
    get(signed(connect, static_keys()), unsigned=True)
    get(signed(connect, anonymous))
    assert [each.header("authorization") for each in fault_server.requests] == [None, None]


def test_each_attempt_is_signed_anew(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, [Response.error(503, retry_after=1), OBJECT])
    get(signed(connect, static_keys()))
    first, second = fault_server.requests
    assert date_of(second) > date_of(first)
    assert second.header("authorization") != first.header("authorization")


# -- the clock


def skewed(hours: float) -> Callable[[Request], Response]:
    """A server whose clock is ahead, and that takes no other."""

    def answer(asked: Request) -> Response:
        now = datetime.now(timezone.utc) + timedelta(hours=hours)
        if abs(date_of(asked) - now) < timedelta(minutes=15):
            return OBJECT(asked)
        return Response.error(403, "RequestTimeTooSkewed", date=now.timestamp())

    return answer


@pytest.mark.parametrize("hours", [-7, 3])
def test_a_wrong_clock_heals(fault_server: FaultServer, connect: Connect, hours: float) -> None:
    client = signed(connect, static_keys())
    fault_server.script(PATH, skewed(hours))
    assert get(client) == b"data"
    assert [each.status for each in fault_server.requests] == [403, 200]
    # Whoever comes later knows, on every connection and with every client of this endpoint.
    assert get(client) == b"data"
    assert get(signed(connect, static_keys("AKIDOTHER"))) == b"data"
    assert [each.status for each in fault_server.requests[2:]] == [200, 200]


def test_many_with_a_wrong_clock(fault_server: FaultServer, connect: Connect) -> None:
    client = signed(connect, static_keys())
    fault_server.script(PATH, skewed(5))
    with Dispatcher() as dispatcher:
        wanted = [request(client) for _ in range(100)]
        dispatcher.finish(wanted)
    assert {each.error for each in wanted} == {None}


def test_a_wrong_clock_that_does_not_heal(fault_server: FaultServer, connect: Connect) -> None:
    client = signed(connect, static_keys())
    fault_server.script(PATH, Response.error(403, "RequestTimeTooSkewed"))
    error = error_of(lambda: get(client))
    assert (error.status, error.attempts) == (403, 2)


def test_a_wrong_clock_of_a_server_without_one(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, Response.error(403, "RequestTimeTooSkewed").header("Date", "yesterday"))
    error = error_of(lambda: get(signed(connect, static_keys())))
    assert (error.status, error.attempts) == (403, 1)


# -- the keys


def test_it_waits_for_the_first_keys(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, OBJECT)
    credentials = native.Credentials(native.Queue())
    client = signed(connect, credentials)
    with Dispatcher() as dispatcher:
        wanted = [request(client) for _ in range(50)]
        done = [dispatcher.submit(each) for each in wanted]
        time.sleep(0.05)
        assert not fault_server.requests
        credentials.publish("AKIDLATE", "secret")
        assert all(each.wait(CHILD_S) for each in done)
    assert {key_of(each) for each in fault_server.requests} == {"AKIDLATE"}
    assert {each.error for each in wanted} == {None}


def test_there_are_no_keys(fault_server: FaultServer, connect: Connect) -> None:
    credentials = native.Credentials(native.Queue())
    client = signed(connect, credentials)
    with Dispatcher() as dispatcher:
        wanted = request(client)
        done = dispatcher.submit(wanted)
        credentials.publish_failure("the source is dry")
        assert done.wait(CHILD_S)
    assert (wanted.error, wanted.attempts) == ("credentials", 0)
    assert credentials.failure() == "the source is dry"
    assert not fault_server.requests


def test_waiting_for_keys_can_be_cancelled_and_timed(fault_server: FaultServer, connect: Connect) -> None:
    client = signed(connect, native.Credentials(native.Queue()))
    assert error_of(lambda: get(client, timeout_s=0.1)).error == "total_timeout"
    with Dispatcher() as dispatcher:
        wanted = request(client)
        done = dispatcher.submit(wanted)
        wanted.cancel()
        assert done.wait(CHILD_S)
    assert wanted.error == "cancelled"


def test_expired_keys_are_not_used(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, OBJECT)
    with refreshed() as refresher:
        refresher.credentials.publish("AKIDOLD", "secret", expires_ms=int(time.time() * 1000) - 1)
        assert get(signed(connect, refresher.credentials)) == b"data"
    assert [key_of(each) for each in fault_server.requests] == ["AKID1"]


def test_many_requests_ask_for_keys_once(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, OBJECT)
    with refreshed() as refresher, Dispatcher() as dispatcher:
        client = signed(connect, refresher.credentials)
        done = [dispatcher.submit(request(client)) for _ in range(200)]
        assert all(each.wait(CHILD_S) for each in done)
    assert refresher.asked == 1


def test_keys_of_the_moment_are_not_at_fault(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, Response.error(403))
    with refreshed() as refresher:
        error = error_of(lambda: get(signed(connect, refresher.credentials)))
        assert (error.status, error.attempts, refresher.asked) == (403, 1, 1)
    error = error_of(lambda: get(signed(connect, static_keys())))
    assert (error.status, error.attempts) == (403, 1)


def test_refused_keys_are_dropped_and_tried_once_more(fault_server: FaultServer, connect: Connect) -> None:
    refusals = {"401": (401, None), "403": (403, None), "400": (400, "ExpiredToken"), "always": (403, None)}

    def answer(asked: Request) -> Response:
        name = asked.path.rpartition("/")[2]
        return OBJECT(asked) if key_of(asked) == "AKID2" and name != "always" else Response.error(*refusals[name])

    fault_server.script("/bucket/*", answer)
    fault_server.script("/bucket/first", OBJECT)
    sources = {name: refreshed() for name in refusals}
    refreshers = {name: source.__enter__() for name, source in sources.items()}
    clients = {name: signed(connect, refresher.credentials) for name, refresher in refreshers.items()}
    for client in clients.values():
        get(client, "/bucket/first")
    time.sleep(TRUSTED_S)
    for name, client in clients.items():
        if name != "always":
            assert get(client, f"/bucket/{name}") == b"data"
            assert [key_of(each) for each in fault_server.seen(f"/bucket/{name}")] == ["AKID1", "AKID2"]
    error = error_of(lambda: get(clients["always"], "/bucket/always"))
    assert (error.status, error.attempts, refreshers["always"].asked) == (403, 2, 2)
    for source in sources.values():
        source.__exit__(None, None, None)
