"""What each server is said to lack is what it lacks, and no more: a probe a feature, both ways.

So a new release that learns something shows up here, and no test is skipped for a reason that has gone.
"""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any, get_args

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, HTTPClientError

from .s3server import Feature, S3Server

DATA = b"cloud-native" * 100
PART = bytes(5 << 20)
OTHER_ETAG = '"0123456789abcdef0123456789abcdef"'
PAST, FUTURE = datetime(2001, 1, 1, tzinfo=timezone.utc), datetime.now(timezone.utc) + timedelta(days=1)

Probe = Callable[[S3Server, str], bool]
PROBES: dict[Feature, Probe] = {}
UNPROBED: frozenset[Feature] = frozenset({"many_keys", "bulk_delete_fast"})
"""These are about time, which no test measures."""


def probe(feature: Feature) -> Callable[[Probe], Probe]:
    """Register a function that says whether a server has the feature, given a bucket."""

    def register(function: Probe) -> Probe:
        PROBES[feature] = function
        return function

    return register


def fails(call: Callable[..., Any], *statuses: int, **arguments: Any) -> bool:
    """Whether the call is answered with one of these statuses."""
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"] in statuses
    return False


def works(call: Callable[..., Any], **arguments: Any) -> bool:
    """Whether the call succeeds."""
    try:
        call(**arguments)
    except (ClientError, HTTPClientError):
        return False
    return True


def put(server: S3Server, bucket: str, key: str = "key", **arguments: Any) -> dict[str, Any]:
    """Put the usual object."""
    return server.boto3.put_object(Bucket=bucket, Key=key, Body=DATA, **arguments)


def upload(server: S3Server, bucket: str, numbers: tuple[int, ...], **complete: Any) -> dict[str, Any]:
    """A multipart upload of equal parts, sent in the order given."""
    place = {"Bucket": bucket, "Key": "large"}
    place["UploadId"] = server.boto3.create_multipart_upload(**place)["UploadId"]
    sent = {n: server.boto3.upload_part(**place, PartNumber=n, Body=PART)["ETag"] for n in numbers}
    parts = [{"PartNumber": number, "ETag": sent[number]} for number in sorted(sent)]
    return server.boto3.complete_multipart_upload(**place, MultipartUpload={"Parts": parts}, **complete)


def request(
    server: S3Server,
    method: str,
    path: str,
    *,
    body: bytes = b"",
    signed_body: bytes | None = None,
    later: dict[str, str] | None = None,
    at: datetime | None = None,
) -> int:
    """The status of a hand-signed request: `signed_body` is what was signed for, `later` headers aren't signed."""
    asked = AWSRequest(method, f"{server.endpoint}{path}", data=body if signed_body is None else signed_body)
    asked.headers["x-amz-content-sha256"] = hashlib.sha256(body if signed_body is None else signed_body).hexdigest()
    auth = SigV4Auth(Credentials(server.access_key_id, server.secret_access_key), "s3", server.region)
    if at is None:
        auth.add_auth(asked)
    else:
        _sign_at(auth, asked, at)
    return status_of(f"{server.endpoint}{path}", method, dict(asked.headers) | (later or {}), body or None)


def _sign_at(auth: SigV4Auth, asked: AWSRequest, at: datetime) -> None:
    stamp = at.strftime("%Y%m%dT%H%M%SZ")
    asked.context["timestamp"] = stamp
    asked.headers["X-Amz-Date"] = stamp
    canonical = auth.canonical_request(asked)
    signature = auth.signature(auth.string_to_sign(asked, canonical), asked)
    auth._inject_signature_to_request(asked, signature)


def status_of(url: str, method: str = "GET", headers: dict[str, str] | None = None, body: bytes | None = None) -> int:
    """The status of a plain request."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, body, headers or {}, method=method), timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@probe("range")
def _range(server: S3Server, bucket: str) -> bool:
    put(server, bucket)
    answer = server.boto3.get_object(Bucket=bucket, Key="key", Range="bytes=2-5")
    return answer["ResponseMetadata"]["HTTPStatusCode"] == 206


@probe("copy")
def _copy(server: S3Server, bucket: str) -> bool:
    put(server, bucket, Metadata={"a": "1"})
    server.boto3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "key"})
    return server.boto3.head_object(Bucket=bucket, Key="copy")["Metadata"] == {"a": "1"}


@probe("copy_if_absent")
def _copy_if_absent(server: S3Server, bucket: str) -> bool:
    put(server, bucket)
    arguments = {"Bucket": bucket, "CopySource": {"Bucket": bucket, "Key": "key"}, "IfNoneMatch": "*", "Key": "copy"}
    return works(server.boto3.copy_object, **arguments) and fails(server.boto3.copy_object, 412, **arguments)


@probe("upload_if_absent")
def _upload_if_absent(server: S3Server, bucket: str) -> bool:
    first = works(upload, server=server, bucket=bucket, numbers=(1,), IfNoneMatch="*")
    return first and fails(upload, 412, server=server, bucket=bucket, numbers=(1,), IfNoneMatch="*")


@probe("put_if_none_match")
def _put_if_none_match(server: S3Server, bucket: str) -> bool:
    put(server, bucket)
    return fails(put, 412, server=server, bucket=bucket, IfNoneMatch="*")


@probe("put_if_match")
def _put_if_match(server: S3Server, bucket: str) -> bool:
    etag = put(server, bucket)["ETag"]
    right = works(put, server=server, bucket=bucket, IfMatch=etag)
    return right and fails(put, 412, server=server, bucket=bucket, IfMatch=OTHER_ETAG)


@probe("delete_if_match")
def _delete_if_match(server: S3Server, bucket: str) -> bool:
    put(server, bucket)
    return fails(server.boto3.delete_object, 412, Bucket=bucket, Key="key", IfMatch=OTHER_ETAG)


@probe("get_if_match")
def _get_if_match(server: S3Server, bucket: str) -> bool:
    put(server, bucket)
    return fails(server.boto3.get_object, 412, Bucket=bucket, Key="key", IfMatch=OTHER_ETAG)


@probe("get_if_modified_since")
def _get_if_modified_since(server: S3Server, bucket: str) -> bool:
    put(server, bucket)
    # A date to come may be ignored (RFC 9110, 13.1.3), so the object's own.
    modified = server.boto3.head_object(Bucket=bucket, Key="key")["LastModified"]
    return fails(server.boto3.get_object, 304, Bucket=bucket, Key="key", IfModifiedSince=modified)


@probe("get_if_unmodified_since")
def _get_if_unmodified_since(server: S3Server, bucket: str) -> bool:
    put(server, bucket)
    return fails(server.boto3.get_object, 412, Bucket=bucket, Key="key", IfUnmodifiedSince=PAST)


@probe("entity_too_small")
def _entity_too_small(server: S3Server, bucket: str) -> bool:
    place: dict[str, Any] = {"Bucket": bucket, "Key": "large"}
    place["UploadId"] = server.boto3.create_multipart_upload(**place)["UploadId"]
    tags = [server.boto3.upload_part(**place, PartNumber=n, Body=b"small")["ETag"] for n in (1, 2)]
    parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
    return fails(server.boto3.complete_multipart_upload, 400, **place, MultipartUpload={"Parts": parts})


@probe("aws_multipart_etag")
def _aws_multipart_etag(server: S3Server, bucket: str) -> bool:
    upload(server, bucket, (1, 2))
    expected = f'"{hashlib.md5(hashlib.md5(PART).digest() * 2).hexdigest()}-2"'
    return server.boto3.head_object(Bucket=bucket, Key="large")["ETag"] == expected


@probe("upload_part_copy")
def _upload_part_copy(server: S3Server, bucket: str) -> bool:
    put(server, bucket)
    place: dict[str, Any] = {"Bucket": bucket, "Key": "large"}
    place["UploadId"] = server.boto3.create_multipart_upload(**place)["UploadId"]
    try:
        copied = server.boto3.upload_part_copy(**place, PartNumber=1, CopySource={"Bucket": bucket, "Key": "key"})
        parts = [{"PartNumber": 1, "ETag": copied["CopyPartResult"]["ETag"]}]
        server.boto3.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
        return server.boto3.get_object(Bucket=bucket, Key="large")["Body"].read() == DATA
    except (ClientError, KeyError):
        return False


@probe("part_number")
def _part_number(server: S3Server, bucket: str) -> bool:
    upload(server, bucket, (1, 2))
    answer = server.boto3.get_object(Bucket=bucket, Key="large", PartNumber=2)
    return len(answer["Body"].read()) == len(PART)


@probe("object_attributes")
def _object_attributes(server: S3Server, bucket: str) -> bool:
    upload(server, bucket, (1, 2))
    wanted = {"Bucket": bucket, "Key": "large", "ObjectAttributes": ["ObjectSize", "ObjectParts"]}
    if not works(server.boto3.get_object_attributes, **wanted):
        return False
    return server.boto3.get_object_attributes(**wanted).get("ObjectParts", {}).get("TotalPartsCount") == 2


@probe("versions")
def _versions(server: S3Server, bucket: str) -> bool:
    enabled = {"Status": "Enabled"}
    if not works(server.boto3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration=enabled):
        return False
    version = put(server, bucket).get("VersionId")
    server.boto3.put_object(Bucket=bucket, Key="key", Body=b"new")
    return version is not None and works(server.boto3.head_object, Bucket=bucket, Key="key", VersionId=version)


@probe("tags_header")
def _tags_header(server: S3Server, bucket: str) -> bool:
    if not works(put, server=server, bucket=bucket, Tagging="a=1"):
        return False
    try:
        return server.boto3.get_object_tagging(Bucket=bucket, Key="key")["TagSet"] == [{"Key": "a", "Value": "1"}]
    except ClientError:
        return False


@probe("tags_subresource")
def _tags_subresource(server: S3Server, bucket: str) -> bool:
    put(server, bucket)
    tags = {"TagSet": [{"Key": "a", "Value": "1"}]}
    return works(server.boto3.put_object_tagging, Bucket=bucket, Key="key", Tagging=tags)


@probe("odd_slashes")
def _odd_slashes(server: S3Server, bucket: str) -> bool:
    keys = ["a//b", "x/..", "/lead"]
    if not all(works(put, server=server, bucket=bucket, key=key) for key in keys):
        return False
    listed = [each["Key"] for each in server.boto3.list_objects_v2(Bucket=bucket).get("Contents", [])]
    return sorted(listed) == sorted(keys)


@probe("key_and_prefix")
def _key_and_prefix(server: S3Server, bucket: str) -> bool:
    return all(works(put, server=server, bucket=bucket, key=key) for key in ("a", "a/b"))


@probe("checksums_verified")
def _checksums_verified(server: S3Server, bucket: str) -> bool:
    wrong = b64encode(bytes(32)).decode()
    return fails(put, 400, server=server, bucket=bucket, ChecksumSHA256=wrong)


@probe("md5_verified")
def _md5_verified(server: S3Server, bucket: str) -> bool:
    return fails(put, 400, server=server, bucket=bucket, ContentMD5=b64encode(bytes(16)).decode())


@probe("checksums_returned")
def _checksums_returned(server: S3Server, bucket: str) -> bool:
    put(server, bucket, ChecksumAlgorithm="SHA256")
    answer = server.boto3.head_object(Bucket=bucket, Key="key", ChecksumMode="ENABLED")
    return answer.get("ChecksumSHA256") == b64encode(hashlib.sha256(DATA).digest()).decode()


@probe("secret_verified")
def _secret_verified(server: S3Server, bucket: str) -> bool:
    return fails(server.boto3_client("s3", secret="wrong").list_objects_v2, 403, Bucket=bucket)


@probe("presigned_verified")
def _presigned_verified(server: S3Server, bucket: str) -> bool:
    put(server, bucket)
    url = server.boto3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "key"})
    flipped = url[:-1] + ("0" if url[-1] != "0" else "1")
    return status_of(url) == 200 and status_of(flipped) == 403


@probe("payload_hash_verified")
def _payload_hash_verified(server: S3Server, bucket: str) -> bool:
    return request(server, "PUT", f"/{bucket}/key", body=b"sent", signed_body=b"else") == 400


@probe("unsigned_headers_refused")
def _unsigned_headers_refused(server: S3Server, bucket: str) -> bool:
    return request(server, "PUT", f"/{bucket}/key", body=b"x", later={"x-amz-meta-late": "1"}) == 403


@probe("clock_skew_refused")
def _clock_skew_refused(server: S3Server, bucket: str) -> bool:
    skewed = datetime.now(timezone.utc) - timedelta(hours=1)
    now = datetime.now(timezone.utc)
    right = request(server, "GET", f"/{bucket}", at=now) == 200
    return right and request(server, "GET", f"/{bucket}", at=skewed) in (400, 403)


@pytest.mark.parametrize("feature", PROBES)
def test_the_feature_table(s3_server: S3Server, feature: Feature) -> None:
    assert PROBES[feature](s3_server, s3_server.new_bucket()) == s3_server.supports(feature)


def test_every_feature_is_probed() -> None:
    assert set(get_args(Feature)) == set(PROBES) | UNPROBED
