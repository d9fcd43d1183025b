"""The refresh thread: single flight, early refresh, failure and recovery, providers that raise or hang."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import threading
import time
import weakref
from datetime import datetime, timedelta
from typing import Any

import pytest

from cumulo._credentials import refresher, source_for
from cumulo._native import Credentials, Queue, Request, thread_queue
from tests.faults import Delay, Response

from .support import SECRET, TOKEN, Origin, Provider, credential, eventually, in_s, settings, signer_of


def provided(provider: Any) -> Credentials:
    source = source_for(settings(), provider)
    assert source is not None
    return source


def test_a_store_that_signs_nothing_has_no_source() -> None:
    assert source_for(settings(skip_signature=True), Provider()) is None


def test_explicit_keys_need_no_thread(origin: Origin) -> None:
    source = source_for(settings(access_key_id="AKEXPLICIT", secret_access_key=SECRET, session_token=TOKEN))
    assert origin.get(source).error is None
    assert origin.signers() == ["AKEXPLICIT"]
    assert origin.server.requests[0].header("x-amz-security-token") == TOKEN


@pytest.mark.parametrize("options", [{"access_key_id": "AK\n"}, {"access_key_id": "AK", "secret_access_key": "S\0"}])
def test_keys_with_control_characters_are_refused(options: dict[str, str]) -> None:
    from types import SimpleNamespace

    with pytest.raises(ValueError, match=r"missing|control characters"):
        source_for(SimpleNamespace(**options))


def test_sync_provider_runs_off_the_callers_thread(origin: Origin) -> None:
    provider = Provider(credential("AK1"))
    source = provided(provider)
    assert provider.calls == 0, "nothing is fetched before it is needed"
    for _ in range(3):
        assert origin.get(source).error is None
    assert origin.signers() == ["AK1"] * 3
    assert provider.calls == 1
    assert provider.threads == {"cumulo-credentials-fetch"}


async def _async_provider() -> dict[str, Any]:
    await asyncio.sleep(0.01)
    assert threading.current_thread().name == "cumulo-credentials"
    return credential("AKASYNC")


class AsyncCallable:
    async def __call__(self) -> dict[str, Any]:
        return await _async_provider()


@pytest.mark.parametrize(
    "provider",
    [_async_provider, AsyncCallable(), functools.partial(_async_provider), lambda: _async_provider()],  # noqa: PLW0108 - not known to be async before it is called
)
def test_async_providers_run_on_the_refreshers_loop(origin: Origin, provider: Any) -> None:
    assert origin.get(provided(provider)).error is None
    assert origin.signers() == ["AKASYNC"]


async def test_a_provider_bound_to_the_callers_loop_is_refused_clearly(origin: Origin) -> None:
    mine = asyncio.get_running_loop().create_future()

    async def provider() -> Any:
        return await mine

    source = provided(provider)
    request = await asyncio.to_thread(origin.get, source)
    assert request.error == "credentials"
    assert "make sessions and locks inside the provider" in source.failure()


def test_one_call_for_a_thousand_requests(origin: Origin) -> None:
    go = threading.Event()

    def answer() -> dict[str, Any]:
        go.wait(10)
        return credential("AK1", 3600)

    provider = Provider(answer)
    source = provided(provider)
    client, queue = origin.client(source), thread_queue()
    requests = [Request(client, "GET", b"/bucket/key", timeout_s=20) for _ in range(1000)]
    for request in requests:
        request.submit(queue)
    eventually(lambda: provider.calls)
    go.set()
    for request in requests:
        request.wait()
    assert [request.error for request in requests] == [None] * 1000
    assert provider.calls == 1
    assert set(origin.signers()) == {"AK1"}


def test_equal_options_share_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    first = source_for(settings(profile="a"))
    assert source_for(settings(profile="a")) is first
    assert source_for(settings(profile="b")) is not first
    monkeypatch.setenv("AWS_CONFIG_FILE", "/elsewhere")
    assert source_for(settings(profile="a")) is not first
    provider = Provider()
    assert provided(provider) is provided(provider)
    assert provided(provider) is not provided(Provider())


def test_a_provider_goes_with_its_stores() -> None:
    provider = Provider(credential("AK1"))
    alive = weakref.ref(provider)
    source = provided(provider)
    del provider, source
    gc.collect()
    assert alive() is None


def test_sources_of_options_are_kept_for_the_next_store_but_not_for_ever() -> None:
    for number in range(refresher.KEPT_SOURCES + 10):
        source_for(settings(profile=f"profile-{number}"))
    assert len(refresher._state.recent) == refresher.KEPT_SOURCES


def refresh_in_s(lives_s: float, threshold: timedelta | None = None) -> float:
    source = refresher.Source("x", Provider(), refresher.keys_of_provider, threshold)
    return source.refresh_ms(int((time.time() + lives_s) * 1000)) / 1000 - time.time()


def test_when_keys_are_asked_for_again() -> None:
    assert refresh_in_s(3600) == pytest.approx(3300, abs=1), "five minutes before they expire"
    assert refresh_in_s(600) == pytest.approx(540, abs=1), "a tenth of a short life"
    assert refresh_in_s(3600, timedelta(minutes=10)) == pytest.approx(3000, abs=1)
    assert refresh_in_s(100, timedelta(minutes=10)) == pytest.approx(50, abs=1), "never all the time"
    assert refresher.Source("x", Provider(), refresher.keys_of_provider).refresh_ms(0) == 0


def test_early_refresh_while_the_old_keys_serve(origin: Origin) -> None:
    provider = Provider(credential("AKOLD", 8))
    provider.refresh_threshold = timedelta(seconds=10)  # type: ignore[attr-defined] - half of the life: 4 s
    source = provided(provider)
    assert origin.get(source).error is None
    slow = threading.Event()
    provider.answer = lambda: slow.wait(30) and credential("AKNEW", 3600)
    time.sleep(4.1)
    assert origin.get(source).error is None
    assert origin.signers() == ["AKOLD", "AKOLD"], "it did not wait for the new keys"
    eventually(lambda: provider.calls == 2)
    slow.set()
    eventually(lambda: origin.get(source).error is None and origin.signers()[-1] == "AKNEW")
    assert origin.signers()[:2] == ["AKOLD", "AKOLD"]
    assert provider.calls == 2


def test_expired_keys_are_not_used(origin: Origin) -> None:
    provider = Provider(lambda: credential(f"AK{provider.calls}", 3))
    source = provided(provider)
    origin.get(source)
    time.sleep(3.2)
    assert origin.get(source).error is None
    assert origin.signers() == ["AK1", "AK2"]


def test_old_keys_serve_while_the_refresh_fails(origin: Origin) -> None:
    provider = Provider(credential("AKOLD", 6))
    provider.refresh_threshold = timedelta(seconds=10)  # type: ignore[attr-defined] - half of the life: 3 s
    source = provided(provider)
    origin.get(source)
    provider.answer = RuntimeError("the vault is sealed")
    time.sleep(3.1)
    started = time.monotonic()
    for _ in range(20):
        assert origin.get(source).error is None
    assert set(origin.signers()) == {"AKOLD"}
    assert 2 <= provider.calls <= 2 + time.monotonic() - started, "asked again once a second, not once a request"
    time.sleep(3)
    assert origin.get(source).error == "credentials"
    assert source.failure() == "credential provider Provider raised RuntimeError: the vault is sealed"
    provider.answer = credential("AKNEW", 3600)
    time.sleep(1.1)
    assert origin.get(source).error is None
    assert origin.signers()[-1] == "AKNEW"


def test_failure_is_told_to_all_who_wait_and_remembered_for_a_second(origin: Origin) -> None:
    provider = Provider(ValueError("no such role"))
    source = provided(provider)
    for _ in range(5):
        assert origin.get(source).error == "credentials"
    assert provider.calls == 1
    assert "no such role" in source.failure()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "returned NoneType instead of a dict"),
        ({"access_key_id": "AK", "expires_at": None}, "without 'secret_access_key'"),
        ({"access_key_id": "AK", "secret_access_key": SECRET}, "without 'expires_at'"),
        ({**credential("AK"), "expires_at": datetime(2100, 1, 1)}, "without a time zone"),
        ({**credential("AK"), "expires_at": "2100-01-01"}, "neither a datetime nor None"),
        ({**credential("AK"), "expires_at": in_s(-5)}, "keys that expired at"),
        ({**credential("AK"), "secret_access_key": SECRET + "\n"}, "control characters"),
        ({**credential("AK"), "access_key_id": ""}, "access key id is missing"),
        ({**credential("AK"), "token": 5}, "session token is no string"),
        (StopIteration(), "raised StopIteration"),
        (SystemExit(3), "raised SystemExit: 3"),
        (RuntimeError("x" * 5000), "raised RuntimeError: xxx"),
    ],
)
def test_wrong_answers_are_clear_errors(origin: Origin, answer: Any, message: str) -> None:
    source = provided(Provider(answer))
    assert origin.get(source).error == "credentials"
    assert message in source.failure()
    assert "credential provider Provider" in source.failure()
    assert SECRET not in source.failure()


@pytest.mark.parametrize("wrong", [5, "name"])
def test_wrong_providers_are_refused_at_once(wrong: Any) -> None:
    with pytest.raises(TypeError, match="callable"):
        source_for(settings(), wrong)


def test_a_wrong_threshold_is_refused_at_once() -> None:
    provider = Provider()
    provider.refresh_threshold = 5  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="timedelta"):
        source_for(settings(), provider)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_hanging_provider_holds_up_nobody_else(origin: Origin, kind: str) -> None:
    stop = threading.Event()

    async def hang() -> Any:
        await asyncio.Event().wait()

    hanging = provided(Provider(lambda: stop.wait(30)) if kind == "sync" else hang)
    slow = Request(origin.client(hanging), "GET", b"/bucket/key", timeout_s=1)
    slow.submit(thread_queue())
    for number in range(20):
        assert origin.get(provided(Provider(credential(f"AK{number}")))).error is None
    started = time.monotonic()
    slow.wait()
    assert slow.error == "total_timeout", "its own deadline"
    assert time.monotonic() - started < 20
    stop.set()


def test_a_provider_that_never_answers_has_failed(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresher, "ANSWER_TIMEOUT_S", 0.3)
    go = threading.Event()
    provider = Provider(lambda: go.wait(30) and credential("AKLATE"))
    source = provided(provider)
    assert origin.get(source).error == "credentials"
    assert "has not answered within 0.3 s" in source.failure()
    time.sleep(1.1)
    assert origin.get(source).error == "credentials", "asked for again, but not called again"
    assert provider.calls == 1
    go.set()
    time.sleep(1.1)
    assert origin.get(source).error is None, "what it answered at last serves"
    assert provider.calls == 1
    assert origin.signers() == ["AKLATE"]


def test_a_hanging_async_provider_is_cancelled(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresher, "ANSWER_TIMEOUT_S", 0.3)
    cancelled: list[bool] = []

    async def provider() -> Any:
        if not cancelled:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                cancelled.append(True)
                raise
        return credential("AKAGAIN")

    source = provided(provider)
    assert origin.get(source).error == "credentials"
    eventually(lambda: cancelled)
    time.sleep(1.1)
    assert origin.get(source).error is None


def test_rejected_keys_are_dropped_and_the_request_is_sent_once_more(origin: Origin) -> None:
    provider = Provider(lambda: credential(f"AK{provider.calls}"))
    source = provided(provider)
    assert origin.get(source).error is None
    time.sleep(5.1)  # keys that have just been fetched are not at fault
    data = Response.of(b"data")
    denied = Response.error(403, "ExpiredToken")
    origin.server.script("/bucket/key", lambda request: denied if signer_of(request) == "AK1" else data)
    request = origin.get(source)
    assert request.error is None
    assert bytes(request.take_body()) == b"data"
    assert origin.signers() == ["AK1", "AK1", "AK2"]
    assert provider.calls == 2

    origin.server.script("/bucket/key", Response.error(403, "AccessDenied"))
    request = origin.get(source)
    assert (request.error, request.failure[0][0]) == ("status", 403)
    assert origin.signers()[3:] == ["AK2"], "these are new: it is a matter of rights"
    assert provider.calls == 2


def test_secrets_are_in_no_log_error_or_repr(origin: Origin, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    provider = Provider(lambda: credential("AK1", 1))
    source = provided(provider)
    origin.get(source)
    provider.answer = RuntimeError(f"cannot renew {SECRET} {TOKEN}")
    time.sleep(1.2)
    assert origin.get(source).error == "credentials"
    assert source.failure() == "credential provider Provider raised RuntimeError: cannot renew <secret> <secret>"
    last = source.owner.last
    seen = [*map(repr, (source, source.owner, last, tuple(refresher._state.sources))), str(last), caplog.text]
    assert "cumulo.credentials" in caplog.text
    assert not [text for text in seen if SECRET in text or TOKEN in text]


def test_a_source_can_go_while_it_is_wanted(origin: Origin) -> None:
    queue = Queue(True)  # nobody reads it: what is pushed stays there

    for _ in range(5):
        source = Credentials(queue)
        request = Request(origin.client(source), "GET", b"/bucket/key", timeout_s=0.05)
        request.submit(thread_queue())
        request.wait()
        assert request.error == "total_timeout"
        del source, request
        gc.collect()
    from cumulo._native import take_wanted

    assert take_wanted(queue) == []


def test_a_refusal_that_comes_late_is_tried_with_the_keys_that_are_there_by_now(origin: Origin) -> None:
    provider = Provider(lambda: credential(f"AK{provider.calls}"))
    source = provided(provider)
    origin.get(source)
    time.sleep(5.1)
    denied, served = Response.error(403, "ExpiredToken"), Response.of(b"data")
    delays = iter((0.3, 0.8))  # by the first refusal the keys are dropped, by the second there are new ones

    def answer(request: Any) -> Response:
        return denied.having(Delay(next(delays))) if signer_of(request) == "AK1" else served

    origin.server.script("/bucket/key", answer)
    requests = [Request(origin.client(source), "GET", b"/bucket/key", timeout_s=10) for _ in range(2)]
    for request in requests:
        request.submit(thread_queue())
    for request in requests:
        request.wait()
    assert [request.error for request in requests] == [None, None]
    assert provider.calls == 2
