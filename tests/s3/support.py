"""Stores for these tests, and what they ask of the fault server's records."""

from __future__ import annotations

from typing import Any

from cumulo.store import S3Store
from tests.faults import FaultServer, Request, Response
from tests.faults.responses import XML_HEAD
from tests.servers import S3Server

MIB = 1024 * 1024
PATH = "/bucket/key"
SECRET = "s3cr3t-that-must-not-show"
TOKEN = "t0ken-that-must-not-show"

FAST_RETRY: dict[str, Any] = {
    "max_retries": 3,
    "retry_timeout": 20,
    "backoff": {"init_backoff": 0.01, "max_backoff": 0.02},
}
NO_RETRY: dict[str, Any] = {"max_retries": 0}


def fault_store(server: FaultServer, *, client_options: dict[str, Any] | None = None, **options: Any) -> S3Store:
    """A signing store on the fault server's bucket `bucket`, unless another is named."""
    given: dict[str, Any] = {"retry_config": FAST_RETRY, "endpoint": server.url, "region": "us-east-1"}
    if not options.get("skip_signature"):
        given |= {"access_key_id": "AKIDEXAMPLE", "secret_access_key": SECRET}
    given |= {"bucket": "bucket", **options}
    return S3Store(client_options={"allow_http": True, **(client_options or {})}, **given)


def of_aws_c_s3(server: FaultServer) -> list[Request]:
    """What aws-c-s3 has asked for, and not cumulo's engine."""
    return [request for request in server.requests if "CRTS3" in (request.header("user-agent") or "")]


def server_store(
    server: S3Server, *, bucket: str | None = None, client_options: dict[str, Any] | None = None, **options: Any
) -> S3Store:
    """A store on a real server, on a fresh bucket unless one is named."""
    keys = {"access_key_id": server.access_key_id, "secret_access_key": server.secret_access_key}
    return S3Store(
        bucket or server.new_bucket(),
        endpoint=server.endpoint,
        region=server.region,
        client_options={"allow_http": True, **(client_options or {})},
        **{**keys, **options},
    )


def targets(server: FaultServer) -> list[str]:
    """Method and target of each request so far."""
    return [f"{request.method} {request.target}" for request in server.requests]


def with_query(server: FaultServer, name: str, method: str | None = None) -> list[Request]:
    """The requests so far whose query has this parameter."""
    return [each for each in server.seen(method=method) if name in each.query]


def list_page(*keys: str, token: str | None = None, truncated: bool | None = None) -> Response:
    """A page of ListObjectsV2."""
    rows = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2024-01-02T03:04:05.000Z</LastModified>"
        f"<ETag>&quot;{index:032x}&quot;</ETag><Size>{index}</Size></Contents>"
        for index, key in enumerate(keys)
    )
    more = token is not None if truncated is None else truncated
    rows += f"<IsTruncated>{str(more).lower()}</IsTruncated>"
    if token is not None:
        rows += f"<NextContinuationToken>{token}</NextContinuationToken>"
    return Response.xml(f"{XML_HEAD}<ListBucketResult><Name>bucket</Name>{rows}</ListBucketResult>")


def delete_result(inner: str = "") -> Response:
    """The answer to a bulk delete."""
    return Response.xml(f"{XML_HEAD}<DeleteResult>{inner}</DeleteResult>")


def copied() -> Response:
    """The answer to a copy."""
    fields = "<LastModified>2024-01-02T03:04:05.000Z</LastModified><ETag>&quot;abc&quot;</ETag>"
    return Response.xml(f"{XML_HEAD}<CopyObjectResult>{fields}</CopyObjectResult>")
