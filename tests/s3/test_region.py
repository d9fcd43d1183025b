"""The region of a bucket at AWS: found out where it is not given, named where it is wrong.

No server here is at amazonaws.com: a proxy leads AWS's hosts to the fault server, which gives the documented answers
(Amazon S3 API reference, HeadBucket; user guide, "Making requests using path-style").
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

import cumulo.transfer
from cumulo.exceptions import BaseError, ConnectionFailedError
from cumulo.store import MemoryStore, S3Store, from_url
from tests.faults import FaultServer, Object, Request, Response
from tests.faults.responses import XML_HEAD
from tests.faults.tunnel import Tunnel, tunnel
from tests.servers import S3Server

from .support import FAST_RETRY, NO_RETRY, SECRET, list_page

WEST = "s3.eu-west-1.amazonaws.com"
EAST = "s3.us-east-1.amazonaws.com"
NAMED = (("x-amz-bucket-region", "eu-west-1"),)


@pytest.fixture
def aws(fault_server: FaultServer) -> Iterator[Tunnel]:
    with tunnel(fault_server.tls_url()) as made:
        yield made


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    return f"b-{uuid4()}"


def store_at(aws: Tunnel, bucket: str, **options: Any) -> S3Store:
    client: Any = {"proxy_url": aws.url, "allow_invalid_certificates": True}
    given: dict[str, Any] = {
        "access_key_id": "AKID",
        "secret_access_key": SECRET,
        "retry_config": FAST_RETRY,
        **options,
    }
    return S3Store(bucket, client_options=client, **given)


def in_west(fault_server: FaultServer, bucket: str, status: int = 403) -> None:
    """A bucket in eu-west-1 with an object, as AWS answers a HEAD that is not signed."""

    def answer(request: Request) -> Response:
        assert request.header("authorization") is None
        return Response(status, headers=NAMED)

    fault_server.script(f"/{bucket}", answer, method="HEAD")
    fault_server.script(f"/{bucket}/key", Object(b"data"))


def asked(fault_server: FaultServer) -> list[str]:
    return [f"{request.method} {request.header('host')}{request.target}" for request in fault_server.requests]


@pytest.mark.parametrize("status", [200, 301, 307, 400, 403])
def test_it_is_found_out(fault_server: FaultServer, aws: Tunnel, bucket: str, status: int) -> None:
    in_west(fault_server, bucket, status)
    store = store_at(aws, bucket)
    assert store.get("key").bytes() == b"data"
    assert store.get_range("key", start=1, end=3) == b"at"
    assert asked(fault_server) == [
        f"HEAD {EAST}/{bucket}", f"GET {WEST}/{bucket}/key", f"GET {WEST}/{bucket}/key",
    ]  # fmt: skip
    assert "/eu-west-1/s3/aws4_request" in fault_server.requests[1].header("authorization")  # type: ignore[operator]


def test_it_is_asked_once(fault_server: FaultServer, aws: Tunnel, bucket: str) -> None:
    in_west(fault_server, bucket)

    async def many() -> None:
        store = store_at(aws, bucket)
        await asyncio.gather(*(store.get_range_async("key", start=0, end=2) for _ in range(20)))

    asyncio.run(many())
    again = pickle.loads(pickle.dumps(store_at(aws, bucket)))
    assert again.config.get("region") is None
    assert again.futures.get_range("key", start=0, end=1).result(30) == b"d"
    assert asked(fault_server).count(f"HEAD {EAST}/{bucket}") == 1
    assert {host for host in aws.hosts if host != EAST} == {WEST}


VERBS: dict[str, Any] = {
    "get": lambda store: store.get("key").bytes(),
    "get_into": lambda store: store.get_into("key", bytearray(4)),
    "get_range": lambda store: store.get_range("key", start=0, end=1),
    "get_ranges": lambda store: store.get_ranges("key", starts=[0], ends=[1]),
    "head": lambda store: store.head("key"),
    "put": lambda store: store.put("key", iter([b"data"])),
    "delete": lambda store: store.delete("key"),
    "list": lambda store: store.list().collect(),
    "list_with_delimiter": lambda store: store.list_with_delimiter(),
    "get_many": lambda store: [item.bytes for item in store.get_many(["key"])],
    "transfer": lambda store: cumulo.transfer.copy(store, "key", MemoryStore(), "key"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_for_every_verb(fault_server: FaultServer, aws: Tunnel, bucket: str, verb: str) -> None:
    in_west(fault_server, bucket)
    fault_server.script(f"/{bucket}/key", Response(200, headers=[("ETag", '"x"')]), method="PUT")
    fault_server.script(f"/{bucket}/key", Response(204), method="DELETE")
    fault_server.script(f"/{bucket}", list_page("key"), method="GET")
    VERBS[verb](store_at(aws, bucket))
    first, *rest = asked(fault_server)
    assert first == f"HEAD {EAST}/{bucket}"
    assert rest
    assert all(f" {WEST}/" in each for each in rest)


def test_urls_are_signed_for_it(fault_server: FaultServer, aws: Tunnel, bucket: str) -> None:
    from datetime import timedelta

    in_west(fault_server, bucket)
    url = store_at(aws, bucket).sign("GET", "key", timedelta(minutes=5))
    assert url.startswith(f"https://{WEST}/{bucket}/key?")
    assert "eu-west-1" in url.partition("?")[2]


def test_anonymous_stores_and_hosts_with_the_bucket(fault_server: FaultServer, aws: Tunnel, bucket: str) -> None:
    in_west(fault_server, bucket)
    fault_server.script("/key", Object(b"data"))
    client: Any = {"proxy_url": aws.url, "allow_invalid_certificates": True}
    store: Any = from_url(f"https://{bucket}.s3.amazonaws.com/", skip_signature=True, client_options=client)
    assert store.get("key").bytes() == b"data"
    assert asked(fault_server)[1] == f"GET {bucket}.{WEST}/key"


def test_it_is_not_asked_where_it_is_given(
    fault_server: FaultServer, aws: Tunnel, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_west(fault_server, bucket)
    assert store_at(aws, bucket, region="eu-west-1").get("key").bytes() == b"data"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert store_at(aws, bucket).get("key").bytes() == b"data"
    assert set(asked(fault_server)) == {f"GET {WEST}/{bucket}/key"}


def test_a_bucket_that_is_not_there(fault_server: FaultServer, aws: Tunnel, bucket: str) -> None:
    fault_server.script(f"/{bucket}", Response(404), method="HEAD")
    fault_server.script(f"/{bucket}/key", Response.error(404, "NoSuchBucket", "none"))
    with pytest.raises(FileNotFoundError, match="NoSuchBucket"):
        store_at(aws, bucket).get("key")
    fault_server.script(f"/{bucket}", Response(403, headers=NAMED), method="HEAD")
    fault_server.script(f"/{bucket}/key", Object(b"data"))
    assert store_at(aws, bucket).get("key").bytes() == b"data", "what was not found is asked again"


def test_when_aws_can_not_be_reached(bucket: str) -> None:
    store = store_at(Tunnel("http://127.0.0.1:1"), bucket, retry_config=NO_RETRY)
    with pytest.raises(ConnectionFailedError, match="find the region of"):
        store.head("key")


@pytest.mark.parametrize(
    "answer",
    [
        Response.xml(f"{XML_HEAD}<Error><Code>PermanentRedirect</Code><Message>m</Message></Error>", status=301),
        Response.xml(
            f"{XML_HEAD}<Error><Code>AuthorizationHeaderMalformed</Code><Message>m</Message>"
            "<Region>eu-west-1</Region></Error>",
            status=400,
        ),
        Response(301),
    ],
    ids=["redirect", "malformed", "head"],
)
def test_a_wrong_one_is_named(fault_server: FaultServer, aws: Tunnel, bucket: str, answer: Response) -> None:
    if answer.status == 301:
        answer = answer.header(*NAMED[0])
    fault_server.script(f"/{bucket}/key", answer)
    with pytest.raises(BaseError, match="'eu-west-1'"):
        store_at(aws, bucket, region="us-west-2").get("key")


def test_moto_names_it(moto: S3Server) -> None:
    """What is read of the answer is there in a server's, too."""
    bucket = moto.new_bucket()
    found = moto.boto3.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPHeaders"]
    assert found["x-amz-bucket-region"] == "us-east-1"
