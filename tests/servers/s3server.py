"""What a test gets of a running S3 server: where it is, its keys, fresh buckets, and what it can't do.

`Feature` names what servers of this kind get wrong or leave out; each server's module lists what
its own lacks, as measured. A test that needs a feature says `@pytest.mark.needs("put_if_match")`
and is not run on servers without it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

Feature: TypeAlias = Literal[
    "range",  # GET with Range answers 206
    "copy",  # a copy keeps attributes as they are
    "copy_if_absent",  # CopyObject with If-None-Match: *
    "upload_if_absent",  # CompleteMultipartUpload with If-None-Match: *
    "put_if_none_match",
    "put_if_match",
    "delete_if_match",
    "get_if_match",
    "get_if_modified_since",
    "get_if_unmodified_since",
    "entity_too_small",  # refuses small parts that aren't the last
    "aws_multipart_etag",  # MD5 of MD5s, with the number of parts
    "upload_part_copy",
    "part_number",  # GET ?partNumber=
    "object_attributes",  # GetObjectAttributes
    "versions",
    "tags_header",  # x-amz-tagging on PUT
    "tags_subresource",  # ?tagging
    "odd_slashes",  # keys such as a//b, x/.., /lead
    "key_and_prefix",  # a and a/b at once
    "checksums_verified",  # a wrong x-amz-checksum-* is refused
    "md5_verified",
    "checksums_returned",  # x-amz-checksum-mode: ENABLED
    "secret_verified",
    "presigned_verified",  # a tampered or expired URL is refused
    "payload_hash_verified",
    "unsigned_headers_refused",  # x-amz-* headers that the signature leaves out
    "clock_skew_refused",
    "many_keys",  # thousands of keys in reasonable time
    "bulk_delete_fast",  # a thousand keys a second, not fifteen
]


@dataclass(frozen=True)
class S3Server:
    """One running server."""

    name: str
    endpoint: str
    access_key_id: str
    secret_access_key: str
    region: str = "us-east-1"
    lacks: frozenset[Feature] = field(default_factory=frozenset)
    ca_file: Path | None = None
    """What to trust when `endpoint` is https."""

    def supports(self, *features: Feature) -> bool:
        """Whether it has all of these."""
        return self.lacks.isdisjoint(features)

    @cached_property
    def boto3(self) -> Any:
        """A boto3 S3 client with this server's keys: the second opinion."""
        return self.boto3_client("s3")

    def boto3_client(self, service: str, access_key_id: str | None = None, secret: str | None = None) -> Any:
        """A boto3 client of any service that the server has, path-style."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            aws_access_key_id=access_key_id or self.access_key_id,
            aws_secret_access_key=secret or self.secret_access_key,
            region_name=self.region,
            verify=str(self.ca_file) if self.ca_file else None,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": 1},
                proxies={},
            ),
        )

    def new_bucket(self, *, versioned: bool = False) -> str:
        """Create an empty bucket under a name not used before."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self.boto3.create_bucket(Bucket=name)
        if versioned:
            self.boto3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name
