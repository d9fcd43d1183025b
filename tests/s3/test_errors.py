"""Errors: which status and code become which class, what they tell, and what is tried again."""

from __future__ import annotations

import builtins
import pickle
import time
from typing import Any

import pytest

from cumulo import exceptions as e
from cumulo.store import S3Store
from tests.faults import FaultServer, Object, Response
from tests.faults.responses import REQUEST_ID
from tests.servers import S3Server

from .support import FAST_RETRY, NO_RETRY, PATH, SECRET, TOKEN, fault_store, server_store

# status, code, class, how many requests with FAST_RETRY's three retries
ROWS: list[tuple[int, str | None, type[e.BaseError], int]] = [
    (301, "PermanentRedirect", e.GenericError, 1),
    (307, "TemporaryRedirect", e.GenericError, 1),
    (400, "InvalidArgument", e.GenericError, 1),
    (400, "RequestTimeout", e.RequestTimeoutError, 4),
    (400, "ExpiredToken", e.UnauthenticatedError, 1),
    (400, "InvalidToken", e.UnauthenticatedError, 1),
    (400, "AuthorizationHeaderMalformed", e.GenericError, 1),
    (401, "Unauthorized", e.UnauthenticatedError, 1),
    (403, "AccessDenied", e.PermissionDeniedError, 1),
    (403, "InvalidAccessKeyId", e.UnauthenticatedError, 1),
    (403, "SignatureDoesNotMatch", e.UnauthenticatedError, 1),
    (404, "NoSuchKey", e.NotFoundError, 1),
    (404, "NoSuchBucket", e.NotFoundError, 1),
    (404, "NoSuchVersion", e.NotFoundError, 1),
    (405, "MethodNotAllowed", e.GenericError, 1),
    (408, "RequestTimeout", e.RequestTimeoutError, 4),
    (408, None, e.RequestTimeoutError, 4),
    (409, "BucketAlreadyExists", e.GenericError, 1),
    (409, "OperationAborted", e.GenericError, 4),
    (409, "ConditionalRequestConflict", e.GenericError, 4),
    (410, "Gone", e.NotFoundError, 1),
    (411, "MissingContentLength", e.GenericError, 1),
    (412, "PreconditionFailed", e.PreconditionError, 1),
    (413, "EntityTooLarge", e.GenericError, 1),
    (416, "InvalidRange", e.RangeNotSatisfiableError, 1),
    (418, None, e.GenericError, 1),
    (429, "TooManyRequests", e.ThrottledError, 4),
    (500, "InternalError", e.ServerError, 4),
    (501, "NotImplemented", e.NotSupportedError, 1),
    (502, "BadGateway", e.ServerError, 4),
    (503, "SlowDown", e.ThrottledError, 4),
    (503, "ServiceUnavailable", e.ServerError, 4),
    (504, "GatewayTimeout", e.ServerError, 4),
    (599, None, e.ServerError, 4),
]


@pytest.mark.parametrize(("status", "code", "kind", "attempts"), ROWS, ids=[f"{row[0]}-{row[1]}" for row in ROWS])
def test_the_class_of_each_answer(
    fault_server: FaultServer, faulty: S3Store, status: int, code: str | None, kind: type[e.BaseError], attempts: int
) -> None:
    answer = Response.error(status, code, "told <why>") if code else Response(status)
    fault_server.script(PATH, answer)
    with pytest.raises(e.BaseError) as caught:
        faulty.get("key")
    error = caught.value
    assert type(error) is kind
    assert (error.operation, error.path, error.store) == ("get", "key", repr(faulty))
    assert (error.status, error.code, error.attempts) == (status, code, attempts)
    assert len(fault_server.requests) == attempts
    if code:
        assert error.request_id == REQUEST_ID
        assert error.body == answer.body
        assert "told <why>" in str(error)
    assert f"HTTP {status}" in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (kind, str(error), vars(error))


@pytest.mark.parametrize("status", [304, 403, 404, 412, 416, 503])
def test_head_has_no_body_to_say_a_code(fault_server: FaultServer, faulty: S3Store, status: int) -> None:
    fault_server.script(PATH, Response(status, b"<Error><Code>Code</Code></Error>"))
    with pytest.raises(e.BaseError) as caught:
        faulty.head("key")
    assert (caught.value.status, caught.value.code, caught.value.body) == (status, None, b"")
    assert caught.value.operation == "head"


def test_built_in_classes() -> None:
    pairs: list[tuple[type[e.BaseError], tuple[type[BaseException], ...]]] = [
        (e.NotFoundError, (FileNotFoundError,)),
        (e.AlreadyExistsError, (FileExistsError,)),
        (e.PermissionDeniedError, (PermissionError,)),
        (e.UnauthenticatedError, (PermissionError,)),
        (e.RequestTimeoutError, (builtins.TimeoutError, e.GenericError)),
        (e.ConnectionFailedError, (builtins.ConnectionError, e.GenericError)),
        (e.ThrottledError, (e.ServerError, e.GenericError)),
        (e.RangeNotSatisfiableError, (ValueError, e.GenericError)),
        (e.ChecksumError, (e.GenericError,)),
        (e.ObjectChangedError, (e.GenericError,)),
        (e.SourceChangedError, (e.GenericError,)),
        (e.NotSupportedError, (NotImplementedError,)),
        (e.InvalidPathError, (ValueError,)),
        (e.UnknownConfigurationKeyError, (ValueError,)),
    ]
    for kind, bases in pairs:
        assert issubclass(kind, (e.BaseError, *bases))
        assert all(issubclass(kind, base) for base in bases)


def test_412_of_a_create_is_already_exists(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script(PATH, Response.error(412))
    with pytest.raises(e.AlreadyExistsError):
        faulty.put("key", b"", mode="create")
    with pytest.raises(e.PreconditionError):
        faulty.put("key", b"", mode={"e_tag": '"x"'})


def test_409_of_a_create_is_tried_again(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script(PATH, [Response.error(409), Object(None)])
    faulty.put("key", b"", mode="create")
    fault_server.script(PATH, Response.error(409))
    with pytest.raises(e.AlreadyExistsError):
        faulty.put("key", b"", mode="create")


def test_the_region_of_a_redirect_is_named(fault_server: FaultServer, faulty: S3Store) -> None:
    moved = Response.redirect("http://other.example/", 301).header("x-amz-bucket-region", "eu-west-3")
    fault_server.script(PATH, moved)
    for verb in ("get", "head"):
        with pytest.raises(e.GenericError, match="'eu-west-3'"):
            getattr(faulty, verb)("key")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("verb", ["get", "head", "delete", "put"])
def test_no_redirect_is_followed(fault_server: FaultServer, status: int, verb: str) -> None:
    """Neither the object nor a credential crosses to a host that a server names."""
    store = fault_store(fault_server, session_token=TOKEN)
    other = fault_server.url_at("127.0.0.2")
    fault_server.script("/bucket/key", Response(status, headers=(("Location", f"{other}/stolen"),)))
    fault_server.script("/stolen", Object(b"not the object"))
    with pytest.raises(e.GenericError, match="127.0.0.2.*not followed"):
        store.put("key", b"x") if verb == "put" else getattr(store, verb)("key")
    assert len(fault_server.requests) == 1
    assert {connection.listener for connection in fault_server.connections.all} == {fault_server.url}


def test_a_wrong_clock_is_corrected_once(fault_server: FaultServer, faulty: S3Store) -> None:
    """The server's Date tells by how much; the next request is signed by its clock."""
    date = time.time() + 7200
    skewed = Response.error(403, "RequestTimeTooSkewed", date=date)
    fault_server.script(PATH, [skewed, Object(b"data")])
    assert faulty.get("key").bytes() == b"data"
    first, second = (request.header("x-amz-date") or "" for request in fault_server.requests)
    moved = time.mktime(time.strptime(second, "%Y%m%dT%H%M%SZ")) - time.mktime(time.strptime(first, "%Y%m%dT%H%M%SZ"))
    assert 7100 < moved < 7300
    fault_server.script(PATH, skewed)
    with pytest.raises(e.UnauthenticatedError, match="clock"):
        faulty.get("key")


def test_a_long_page_makes_a_short_message(fault_server: FaultServer) -> None:
    store = fault_store(fault_server, retry_config=NO_RETRY)
    for answer in (Response.html(503, 200_000), Response.of(b"x" * 200_000, status=503, content_type="text/plain"),
                   Response.error(503, "C" * 5000, "m" * 100_000)):  # fmt: skip
        fault_server.script(PATH, answer)
        with pytest.raises(e.ServerError) as caught:
            store.get("key")
        assert len(str(caught.value)) < 1000
        assert 1000 < len(caught.value.body) <= 65536
        assert bytes(answer.body).startswith(caught.value.body[:1000])
        assert len(pickle.dumps(caught.value)) < 80_000


def test_a_web_page_in_place_of_an_answer(fault_server: FaultServer, faulty: S3Store) -> None:
    page = b"<html><head><title>Login &amp; terms</title></head><body>" + b"x" * 5000 + b"</body></html>"
    fault_server.script(PATH, Response.of(page, status=403, content_type="text/html; charset=utf-8"))
    with pytest.raises(e.PermissionDeniedError, match="HTTP 403: a web page 'Login & terms': .*proxy") as caught:
        faulty.get("key")
    assert len(str(caught.value)) < 300


def test_no_web_page_where_none_came(fault_server: FaultServer, faulty: S3Store) -> None:
    """Servers give the answer to a HEAD the type of a page that it has not."""
    fault_server.script(PATH, Response(404, b"", (("Content-Type", "text/html; charset=utf-8"),)))
    for verb in ("head", "get"):
        with pytest.raises(e.NotFoundError, match=r"HTTP 404$"):
            getattr(faulty, verb)("key")


def test_other_bytes_than_asked_for_are_named(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script(PATH, Object(b"0123456789" * 10, ranges="shifted"))
    with pytest.raises(e.GenericError, match=r"other bytes .*Content-Range: bytes 11-20/100\).*proxy") as caught:
        faulty.get_range("key", start=10, end=20)
    assert caught.value.attempts == 2, "said twice, it is how that server is"


def test_plain_http_to_a_tls_port(fault_server: FaultServer) -> None:
    store = fault_store(fault_server, endpoint=fault_server.tls_url().replace("https:", "http:"))
    with pytest.raises(ConnectionError, match="TLS, its URL begins with https://"):
        store.head("key")


def test_tls_to_a_plain_port(fault_server: FaultServer) -> None:
    store = fault_store(fault_server, endpoint=fault_server.url.replace("http:", "https:"))
    with pytest.raises(ConnectionError, match="port without TLS"):
        store.head("key")


@pytest.mark.parametrize("code", ["AccessDenied", "ExpiredToken"])
def test_what_to_do_is_said(fault_server: FaultServer, faulty: S3Store, code: str) -> None:
    fault_server.script(PATH, Response.error(403, code))
    with pytest.raises(PermissionError, match=f"HTTP 403: {code}: a scripted error: .*credentials"):
        faulty.get("key")


@pytest.mark.parametrize("retries", [0, 1, 3])
@pytest.mark.parametrize("answer", [Response.error(503), Response.dropped("rst"), Response.dropped("fin")])
def test_how_often_it_is_tried_again(fault_server: FaultServer, retries: int, answer: Response) -> None:
    store = fault_store(fault_server, retry_config={**FAST_RETRY, "max_retries": retries})
    fault_server.script(PATH, answer)
    with pytest.raises(e.GenericError) as caught:
        store.head("key")
    assert len(fault_server.requests) == retries + 1
    assert caught.value.attempts == retries + 1


def test_the_retry_timeout_ends_it(fault_server: FaultServer) -> None:
    config: Any = {"max_retries": 1000, "retry_timeout": 0.5, "backoff": {"init_backoff": 0.05, "max_backoff": 0.05}}
    fault_server.script(PATH, Response.error(503))
    with pytest.raises(e.ServerError) as caught:
        fault_store(fault_server, retry_config=config).get("key")
    assert 2 < caught.value.attempts < 30


def test_retry_after_is_honoured(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script(PATH, [Response.error(503, retry_after=1), Object(b"data")])
    assert faulty.get("key").bytes() == b"data"
    first, second = fault_server.requests
    assert second.received - first.received >= 0.99


def test_a_retry_after_beyond_the_retry_timeout_is_not_waited_for(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script(PATH, Response.error(503, retry_after=3600))
    with pytest.raises(e.ThrottledError):
        faulty.get("key")
    assert len(fault_server.requests) == 1


def test_errors_of_real_servers(server: S3Server) -> None:
    store = server_store(server)
    store.put("x", b"x")
    with pytest.raises(e.NotFoundError) as missing:
        store.get("no")
    assert (missing.value.code, missing.value.status) == ("NoSuchKey", 404)
    with pytest.raises(e.RangeNotSatisfiableError):
        store.get_range("x", start=5, end=6)
    with pytest.raises(e.NotFoundError) as bucket:
        server_store(server, bucket="missing-bucket").get("x")
    assert bucket.value.code == "NoSuchBucket"


@pytest.mark.parametrize("name", ["ministack", "swift"])
def test_wrong_keys(request: pytest.FixtureRequest, name: str) -> None:
    server: S3Server = request.getfixturevalue(name)
    store = server_store(server, secret_access_key=SECRET)
    with pytest.raises(PermissionError) as caught:
        store.put("x", b"")
    assert isinstance(caught.value, e.UnauthenticatedError)
    assert caught.value.code == "SignatureDoesNotMatch"  # type: ignore[attr-defined]
    assert SECRET not in str(caught.value) + repr(vars(caught.value))


def test_what_is_said_fits_what_was_asked(fault_server: FaultServer, faulty: S3Store) -> None:
    """That there may be no such object, only of what needs one."""
    denied = Response.error(403, "AccessDenied")
    fault_server.script(PATH, denied)
    fault_server.script("/bucket", denied)
    missing = "or there is no such object"
    asked: list[tuple[Any, bool]] = [
        (lambda: faulty.get("key"), True),
        (lambda: faulty.get_range("key", start=0, length=1), True),
        (lambda: faulty.put("key", b""), False),
        (lambda: faulty.delete("key"), False),
        (lambda: faulty.list().collect(), False),
    ]
    for ask, may_be_missing in asked:
        with pytest.raises(e.PermissionDeniedError, match="the credentials may not do this") as caught:
            ask()
        assert (missing in str(caught.value)) == may_be_missing


def test_unsigned_requests_are_not_said_to_have_credentials(fault_server: FaultServer) -> None:
    fault_server.script(PATH, Response.error(403, "AccessDenied"))
    with pytest.raises(e.PermissionDeniedError, match="requests are not signed") as caught:
        fault_store(fault_server, skip_signature=True).get("key")
    assert "credentials" not in str(caught.value)


def test_a_region_that_is_right_is_not_said_to_be_another(fault_server: FaultServer) -> None:
    """AWS names the bucket's region with other failures as well."""
    expired = Response.error(400, "ExpiredToken").header("x-amz-bucket-region", "eu-west-3")
    fault_server.script(PATH, expired)
    for region, is_named in (("eu-west-3", False), ("us-east-1", True)):
        with pytest.raises(e.UnauthenticatedError) as caught:
            fault_store(fault_server, region=region).get("key")
        assert ("the bucket is in region" in str(caught.value)) == is_named


@pytest.mark.parametrize("status", [400, 403])
def test_a_head_that_is_refused_says_who_knows_more(fault_server: FaultServer, faulty: S3Store, status: int) -> None:
    fault_server.script(PATH, Response(status))
    with pytest.raises(e.BaseError, match="HTTP 40[03]: the answer to a HEAD gives no reason; that to a get does"):
        faulty.head("key")
