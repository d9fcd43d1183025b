"""`S3Config`: S3's options as users write them. The docstrings of its keys are their documentation."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias, TypedDict

__all__ = ["S3ChecksumAlgorithm", "S3Config", "S3Credential", "S3CredentialProvider", "S3EncryptionAlgorithm"]

S3ChecksumAlgorithm: TypeAlias = Literal["SHA256", "sha256", "CRC64NVME", "crc64nvme", "CRC32C", "crc32c"]
"""Checksums that can be sent with what is written."""

S3EncryptionAlgorithm: TypeAlias = Literal["AES256", "aws:kms", "aws:kms:dsse", "sse-c"]
"""Kinds of server-side encryption."""


class S3Config(TypedDict, total=False):
    """Options of an `S3Store`, for its `config` or as keyword arguments.

    At run time each key is also known with `aws_` in front, and in upper case; so is each as an environment variable
    with `AWS_` in front, such as `AWS_SKIP_SIGNATURE=true`. What is given in Python goes before the environment.
    Booleans may be written `true`, `yes`, `on`, `y`, `1` and their opposites. Unknown keys, an option given twice
    and values that can't be used are errors at once.

    Keys and tokens given here stay out of the store's `repr`, out of errors and out of logs, but not out of its
    pickles. Those from the environment stay out of all of them.
    """

    access_key_id: str
    """The access key to sign requests with; `secret_access_key` goes with it. Default: found by the chain that the
    AWS tools use. Given in Python, keys and tokens from the environment are not looked at."""

    aws_endpoint_url_s3: str
    """The same as `endpoint_url_s3`."""

    bucket: str
    """The bucket's name. Required, unless it is the store's first argument."""

    bulk_client: str
    """What carries out large transfers: `"engine"`, cumulo's own part scheduler; `"crt"`, the AWS CRT's S3 client,
    where it can do the job; `"auto"` (default), the better of the two for each kind of job, at present the engine.
    Stores with a `timeout` or an IPv6 address as endpoint, and puts with an ETag condition, use the engine in spite of
    `"crt"`. With `"crt"` the hash of the payload is not signed on plain HTTP."""

    checksum_algorithm: S3ChecksumAlgorithm | str
    """The checksum to send with each object, which the server verifies and stores: `"SHA256"`, `"CRC64NVME"` or
    `"CRC32C"`. Default: one that costs little at AWS; none at other endpoints, which do not all know them."""

    conditional_put: str
    """How `put` with mode `"create"` or with an ETag asks the server to check. `"etag"` (default): with the headers
    `If-None-Match` and `If-Match`. `"disabled"`: the server ignores them, so such calls are refused."""

    container_authorization_token: str
    """The token for `container_credentials_full_uri` itself."""

    container_authorization_token_file: str
    """A file with the token for `container_credentials_full_uri`, as EKS Pod Identity gives it."""

    container_credentials_full_uri: str
    """Where a container finds its credentials, as a URL."""

    container_credentials_relative_uri: str
    """Where a container finds its credentials, as a path on ECS's own host, such as `"/v2/credentials/abc123"`."""

    copy_if_not_exists: str
    """How `copy` and `rename` with `overwrite=False` are made. Default: `"multipart"`.

    - `"multipart"`: as a multipart upload that the server completes only if there is no such object. For AWS.
    - `"header: <name>: <value>"`: with one more header, for servers that have one of their own. Cloudflare R2 takes
      `"header: cf-copy-destination-if-none-match: *"`. 412 then means that the object exists.
    - `"header-with-status: <name>: <value>: <status>"`: the same, where another status means it.
    """

    default_region: str
    """The region, where `region` is not given."""

    disable_bulk_delete: bool
    """Delete objects with a request each, instead of up to 1000 in one. For servers without `DeleteObjects`, such as
    Alibaba Cloud OSS. Default: False."""

    disable_tagging: bool
    """Don't send the tags given to `put`. For servers that refuse them. Default: False."""

    ec2_metadata_disabled: bool
    """Don't ask the EC2 instance for credentials. Default: False. Worth setting off EC2, where asking takes time."""

    endpoint: str
    """The server's URL, such as `"http://localhost:9000"`, perhaps with a path. Default: the region's own at AWS.

    Without TLS, `client_options={"allow_http": True}` must say that this is meant. Requests go to `endpoint` plus
    `/` plus the bucket; with `virtual_hosted_style_request=True` to `endpoint` as it is, which then must contain the
    bucket. `endpoint_url` is another name for it."""

    endpoint_url_s3: str
    """The server's URL for S3 alone. Goes before `endpoint`."""

    ignore_configured_endpoint_urls: bool
    """Don't look for an endpoint in `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_S3`. Default: False."""

    imdsv1_fallback: bool
    """Ask the EC2 instance for credentials in the old way, without a token, where the new one is refused. Default:
    False, since the old way lets whoever can make a server fetch a URL take its credentials."""

    metadata_endpoint: str
    """Where the EC2 instance answers. Default: `"http://169.254.169.254"`; by IPv6 it is
    `"http://[fd00:ec2::254]"`."""

    profile: str
    """The profile in the AWS tools' files (`~/.aws/config` and `~/.aws/credentials`) to take credentials from.
    Given in Python, keys and tokens from the environment are not looked at. Default: `AWS_PROFILE`, or
    `"default"`."""

    region: str
    """The region that the bucket is in. Default: at AWS, where the bucket says it is, asked once a process (an unsigned
    HEAD of the bucket); elsewhere `"us-east-1"`. A wrong one is an error that names the right one."""

    request_payer: bool | Literal["requester", "REQUESTER"]
    """Pay for the requests, which requester-pays buckets ask for: True or `"requester"`. Default: False, and such
    buckets answer 403."""

    role_arn: str
    """The role to assume with the token in `web_identity_token_file`."""

    role_session_name: str
    """The name that the assumed role's session has in the account's logs. Default: a made-up one."""

    s3_express: bool
    """The bucket is a directory bucket (S3 Express One Zone), with sessions instead of a signature by the keys.
    Default: True at AWS for buckets with such a name (`...--<zone id>--x-s3`), else False."""

    secret_access_key: str
    """The secret that goes with `access_key_id`."""

    server_side_encryption: S3EncryptionAlgorithm | str
    """How the server encrypts what is written. Default: as the bucket says.

    - `"AES256"`: with keys that S3 manages.
    - `"aws:kms"`, `"aws:kms:dsse"`: with the KMS key `sse_kms_key_id`, or the account's own; dsse encrypts twice.
    - `"sse-c"`: with `sse_customer_key_base64`, which each read needs too.
    """

    session_token: str
    """The token that goes with temporary keys. `token` is another name for it."""

    shared_credentials_file: str
    """The AWS tools' credentials file. Default: `~/.aws/credentials`."""

    config_file: str
    """The AWS tools' configuration file. Default: `~/.aws/config`."""

    skip_signature: bool
    """Send requests unsigned, and look for no credentials: for public buckets. Default: False."""

    sse_bucket_key_enabled: bool
    """Use one KMS data key for the whole bucket (True), which makes fewer and cheaper calls to KMS, or one an object
    (False). Default: as the bucket says."""

    sse_customer_key_base64: str
    """The key for `server_side_encryption="sse-c"`: 32 bytes in base64. Lost with it is what it encrypts."""

    sse_kms_key_id: str
    """The KMS key, by id, alias or ARN. Goes with `server_side_encryption` `"aws:kms"` or `"aws:kms:dsse"`."""

    sts_endpoint: str
    """The STS server's URL for web identity tokens. Default: the region's own. `endpoint_url_sts` is another
    name for it."""

    unsigned_payload: bool
    """Leave the body out of the signature, which saves a SHA-256 over it. Default: False. TLS still protects it."""

    use_dualstack_endpoint: bool
    """Use AWS's endpoints that are reached by IPv6 too. Default: False. No effect with `endpoint`."""

    use_fips_endpoint: bool
    """Use AWS's endpoints with FIPS 140 validated cryptography. Default: False. No effect with `endpoint`."""

    virtual_hosted_style_request: bool
    """Put the bucket into the host's name instead of the path. Default: False. With `endpoint`, that must contain
    the bucket already. At AWS, buckets whose name can't be in a TLS host name, such as those with dots, stay in
    the path."""

    web_identity_token_file: str
    """A file with an OpenID Connect token, to be exchanged at STS for the credentials of `role_arn`."""


class _Token(TypedDict, total=False):
    token: str | None
    """The session token that goes with temporary keys. May be left out."""


class S3Credential(_Token):
    """Keys, from a credential provider."""

    access_key_id: str
    """The access key."""
    secret_access_key: str
    """The secret that goes with it."""
    expires_at: datetime | None
    """Until when they are good, with a time zone; None for ever."""


class S3CredentialProvider(Protocol):
    """A sync or async callable that gives credentials. Called when there are none, or they are about to expire."""

    def __call__(self) -> S3Credential | Coroutine[Any, Any, S3Credential]:
        """Credentials that are good now."""
        ...
