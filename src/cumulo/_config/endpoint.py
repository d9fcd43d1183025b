"""Where an S3 store's requests go: host, port, and what stands before the key in their path."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import quote, urlsplit

from cumulo._records import record

from .client import ClientSettings
from .errors import ConfigurationError
from .s3 import S3Settings

__all__ = ["DEFAULT_PORTS", "DEFAULT_REGION", "S3Endpoint", "endpoint_of", "host_header", "quoted_path"]

DEFAULT_REGION = "us-east-1"

# https://docs.aws.amazon.com/general/latest/gr/s3.html and the SDKs' partitions: the domain by the region's start.
_PARTITIONS = (
    ("cn-", "amazonaws.com.cn"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("eusc-", "amazonaws.eu"),
)
_DEFAULT_DOMAIN = "amazonaws.com"
_DOMAINS = (_DEFAULT_DOMAIN, *(domain for _, domain in _PARTITIONS))
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/directory-bucket-naming-rules.html
_DIRECTORY_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]*--([a-z0-9]+(?:-[a-z0-9]+)+|[a-z0-9]+)--x-s3")
_AWS_HOST_REGION = re.compile(
    r"(?:^|\.)s3(?:express)?(?:-fips)?(?:-[a-z0-9]+-az[0-9]+)?[.-](?:dualstack\.)?([a-z]{2,}(?:-[a-z]+)+-[0-9])\."
)
DEFAULT_PORTS = {"http": 80, "https": 443}


@record(frozen=True)
class S3Endpoint:
    """Where requests go.

    Attributes:
        scheme: `"http"` or `"https"`.
        host: a host name, or an IP address without brackets.
        port: always set.
        host_header: as requests name the host: with brackets, and with the port unless it is the scheme's own.
        base_path_prefix: what stands between a path's first slash and the key, percent-encoded: `b""` or something
            that ends in a slash.
        is_aws: whether this is AWS, and not a server that speaks S3's language.
        region: the region to sign for.
        service: the service to sign for.
    """

    scheme: Literal["http", "https"]
    host: str
    port: int
    host_header: str
    base_path_prefix: bytes
    is_aws: bool
    region: str
    service: Literal["s3", "s3express"] = "s3"

    @property
    def tls(self) -> bool:
        """Whether connections use TLS."""
        return self.scheme == "https"

    @property
    def base(self) -> bytes:
        """What stands before the key in a request's path: starts and ends with a slash."""
        return b"/" + self.base_path_prefix

    @property
    def url(self) -> str:
        """The bucket's URL, ending in a slash."""
        return f"{self.scheme}://{self.host_header}{self.base.decode()}"


def endpoint_of(settings: S3Settings, client: ClientSettings | None = None) -> S3Endpoint:
    """Work out where an S3 store's requests go.

    Raises:
        ValueError: the endpoint has no TLS and the client's `allow_http` is not set, or the bucket's name does not
            go with what was asked for.
    """
    client = client or ClientSettings()
    return _custom(settings, settings.endpoint, client) if settings.endpoint else _aws(settings, client)


def _custom(settings: S3Settings, url: str, client: ClientSettings) -> S3Endpoint:
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    scheme: Literal["http", "https"] = "http" if parts.scheme == "http" else "https"
    if scheme == "http" and not client.allow_http:
        raise ConfigurationError(
            f"the endpoint http://{parts.netloc} has no TLS: set allow_http to use it all the same, as in "
            "client_options={'allow_http': True}, or with AWS_ALLOW_HTTP=true in the environment"
        )
    is_aws = any(host.endswith(f".{domain}") for domain in _DOMAINS)
    path = quoted_path(parts.path)
    if settings.virtual_hosted_style_request:
        _check_virtual_host(settings.bucket, host, is_aws)
    else:
        path += quote(settings.bucket, safe="") + "/"
    port = parts.port or DEFAULT_PORTS[scheme]
    region = settings.region or (_region_in(host) if is_aws else None) or DEFAULT_REGION
    express = settings.s3_express
    if express is None:
        express = is_aws and _zone(settings.bucket) is not None
    service: Literal["s3", "s3express"] = "s3express" if express else "s3"
    return S3Endpoint(scheme, host, port, host_header(scheme, host, port), path.encode(), is_aws, region, service)


def _aws(settings: S3Settings, client: ClientSettings) -> S3Endpoint:
    bucket, region = settings.bucket, settings.region or DEFAULT_REGION
    zone = _zone(bucket)
    if settings.s3_express and zone is None:
        raise ConfigurationError(
            f"s3_express: {bucket!r} is not a directory bucket's name, which ends in a zone as in "
            "'my-bucket--usw2-az1--x-s3'"
        )
    express = zone is not None and settings.s3_express is not False
    service: Literal["s3", "s3express"] = "s3express" if express else "s3"
    name = service + ("-fips" if settings.use_fips_endpoint else "") + (f"-{zone}" if express else "")
    host = f"{name}{'.dualstack' if settings.use_dualstack_endpoint else ''}.{region}.{_domain(region)}"
    in_host = express or (settings.virtual_hosted_style_request and _fits_host(bucket, client))
    if in_host:
        host = f"{bucket}.{host}"
    prefix = b"" if in_host else quote(bucket, safe="").encode() + b"/"
    return S3Endpoint("https", host, 443, host, prefix, True, region, service)


def _fits_host(bucket: str, client: ClientSettings) -> bool:
    # AWS's certificate is for *.s3.<region>.amazonaws.com, where the asterisk stands for no dot. So a bucket with one
    # stays in the path, as does an old bucket whose name no host can have.
    dots = r"." if client.allow_invalid_certificates else ""
    return re.fullmatch(rf"[a-z0-9][a-z0-9{dots}-]{{1,61}}[a-z0-9]", bucket) is not None


def _check_virtual_host(bucket: str, host: str, is_aws: bool) -> None:
    # Elsewhere any name can stand for a bucket. At AWS the key's first part would be taken for the bucket.
    if is_aws and not host.startswith(f"{bucket.lower()}."):
        raise ConfigurationError(
            f"with virtual_hosted_style_request the endpoint must contain the bucket, as in https://{bucket}.{host}"
        )


def _zone(bucket: str) -> str | None:
    match = _DIRECTORY_BUCKET.fullmatch(bucket)
    return match.group(1) if match else None


def _domain(region: str) -> str:
    return next((domain for start, domain in _PARTITIONS if region.startswith(start)), _DEFAULT_DOMAIN)


def _region_in(host: str) -> str | None:
    match = _AWS_HOST_REGION.search(host)
    return match.group(1) if match else None


def host_header(scheme: str, host: str, port: int) -> str:
    """How requests name a host: with brackets, and with the port unless it is the scheme's own."""
    name = f"[{host}]" if ":" in host else host
    return name if port == DEFAULT_PORTS[scheme] else f"{name}:{port}"


def quoted_path(path: str) -> str:
    """An endpoint's path as it stands before the bucket: encoded, and empty or with a slash at its end."""
    inner = path.strip("/")
    encoded = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", inner)
    return f"{quote(encoded, safe='/%')}/" if inner else ""
