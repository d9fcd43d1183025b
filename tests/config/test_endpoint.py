"""Where requests go: AWS's own hosts and other people's, by path and by host name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cumulo._config import ClientSettings, endpoint_of, resolve_s3

HTTP = ClientSettings(allow_http=True)
ZONAL = "data--use1-az4--x-s3"


def endpoint(bucket="bucket", client=HTTP, **options):
    return endpoint_of(resolve_s3(bucket, options, None, {}), client)


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, "https://s3.us-east-1.amazonaws.com/bucket/"),
        ({"region": "eu-west-1"}, "https://s3.eu-west-1.amazonaws.com/bucket/"),
        ({"virtual_hosted_style_request": True}, "https://bucket.s3.us-east-1.amazonaws.com/"),
        ({"bucket": "my.bucket"}, "https://s3.us-east-1.amazonaws.com/my.bucket/"),
        # No certificate fits these host names, or they can't be one.
        (
            {"bucket": "my.bucket", "virtual_hosted_style_request": True},
            "https://s3.us-east-1.amazonaws.com/my.bucket/",
        ),
        (
            {"bucket": "My_Bucket", "virtual_hosted_style_request": True},
            "https://s3.us-east-1.amazonaws.com/My_Bucket/",
        ),
        ({"bucket": "bücket", "virtual_hosted_style_request": True}, "https://s3.us-east-1.amazonaws.com/b%C3%BCcket/"),
        ({"bucket": "a%2Fb"}, "https://s3.us-east-1.amazonaws.com/a%252Fb/"),
        ({"bucket": "a:b"}, "https://s3.us-east-1.amazonaws.com/a%3Ab/"),
        ({"region": "cn-north-1"}, "https://s3.cn-north-1.amazonaws.com.cn/bucket/"),
        ({"region": "us-gov-west-1"}, "https://s3.us-gov-west-1.amazonaws.com/bucket/"),
        ({"region": "us-iso-east-1"}, "https://s3.us-iso-east-1.c2s.ic.gov/bucket/"),
        ({"region": "us-isob-east-1"}, "https://s3.us-isob-east-1.sc2s.sgov.gov/bucket/"),
        ({"use_fips_endpoint": True}, "https://s3-fips.us-east-1.amazonaws.com/bucket/"),
        ({"use_dualstack_endpoint": True}, "https://s3.dualstack.us-east-1.amazonaws.com/bucket/"),
        (
            {"use_fips_endpoint": True, "use_dualstack_endpoint": True, "virtual_hosted_style_request": True},
            "https://bucket.s3-fips.dualstack.us-east-1.amazonaws.com/",
        ),
    ],
)
def test_aws(options, url):
    options = {"bucket": "bucket", **options}
    found = endpoint(options.pop("bucket"), **options)
    assert found.url == url
    assert found.is_aws
    assert found.tls
    assert (found.scheme, found.port, found.service) == ("https", 443, "s3")
    assert found.host == found.host_header
    assert found.region == options.get("region", "us-east-1")


def test_dots_in_the_host_name_where_certificates_dont_matter():
    client = ClientSettings(allow_invalid_certificates=True)
    found = endpoint("my.bucket", client, virtual_hosted_style_request=True)
    assert found.host == "my.bucket.s3.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    ("bucket", "options", "url"),
    [
        (ZONAL, {}, f"https://{ZONAL}.s3express-use1-az4.us-east-1.amazonaws.com/"),
        (ZONAL, {"s3_express": True}, f"https://{ZONAL}.s3express-use1-az4.us-east-1.amazonaws.com/"),
        (
            "b--usw2-az1--x-s3",
            {"region": "us-west-2", "virtual_hosted_style_request": True},
            "https://b--usw2-az1--x-s3.s3express-usw2-az1.us-west-2.amazonaws.com/",
        ),
        (
            "a--b--usw2-lax1-az1--x-s3",
            {"region": "us-west-2"},
            "https://a--b--usw2-lax1-az1--x-s3.s3express-usw2-lax1-az1.us-west-2.amazonaws.com/",
        ),
        (
            ZONAL,
            {"use_fips_endpoint": True, "use_dualstack_endpoint": True},
            f"https://{ZONAL}.s3express-fips-use1-az4.dualstack.us-east-1.amazonaws.com/",
        ),
        ("b--az1--x-s3", {"s3_express": True}, "https://b--az1--x-s3.s3express-az1.us-east-1.amazonaws.com/"),
    ],
)
def test_directory_buckets(bucket, options, url):
    found = endpoint(bucket, **options)
    assert found.url == url
    assert found.service == "s3express"


def test_a_directory_bucket_as_an_ordinary_one():
    found = endpoint(ZONAL, s3_express=False)
    assert found.url == f"https://s3.us-east-1.amazonaws.com/{ZONAL}/"
    assert found.service == "s3"


@pytest.mark.parametrize(
    "bucket", ["bucket", "b--x-s3", "B--use1-az4--x-s3", "--use1-az4--x-s3", "b.c--use1-az4--x-s3"]
)
def test_s3_express_needs_a_directory_bucket(bucket):
    with pytest.raises(ValueError, match=r"s3_express: .* is not a directory bucket's name"):
        endpoint(bucket, s3_express=True)
    assert endpoint(bucket).service == "s3"


@pytest.mark.parametrize(
    ("url", "expected", "host", "port", "host_header"),
    [
        ("http://localhost:9000", "http://localhost:9000/bucket/", "localhost", 9000, "localhost:9000"),
        ("http://localhost:9000/", "http://localhost:9000/bucket/", "localhost", 9000, "localhost:9000"),
        ("http://localhost", "http://localhost/bucket/", "localhost", 80, "localhost"),
        ("http://localhost:80", "http://localhost/bucket/", "localhost", 80, "localhost"),
        ("http://localhost:443", "http://localhost:443/bucket/", "localhost", 443, "localhost:443"),
        ("https://h", "https://h/bucket/", "h", 443, "h"),
        ("https://h:443", "https://h/bucket/", "h", 443, "h"),
        ("https://h:80", "https://h:80/bucket/", "h", 80, "h:80"),
        ("HTTPS://Host.Example.COM.", "https://host.example.com/bucket/", "host.example.com", 443, "host.example.com"),
        ("http://my_service:1", "http://my_service:1/bucket/", "my_service", 1, "my_service:1"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/bucket/", "127.0.0.1", 9000, "127.0.0.1:9000"),
        ("http://[::1]:9000", "http://[::1]:9000/bucket/", "::1", 9000, "[::1]:9000"),
        ("http://[::1]", "http://[::1]/bucket/", "::1", 80, "[::1]"),
        ("http://host:9000/base", "http://host:9000/base/bucket/", "host", 9000, "host:9000"),
        ("http://host:9000/base//", "http://host:9000/base/bucket/", "host", 9000, "host:9000"),
        ("http://h/a b/é/c%20d/%/+", "http://h/a%20b/%C3%A9/c%20d/%25/%2B/bucket/", "h", 80, "h"),
    ],
)
def test_custom(url, expected, host, port, host_header):
    found = endpoint(endpoint=url)
    assert found.url == expected
    assert (found.host, found.port, found.host_header) == (host, port, host_header)
    assert not found.is_aws
    assert (found.region, found.service) == ("us-east-1", "s3")
    assert found.base == b"/" + found.base_path_prefix
    assert found.base_path_prefix.endswith(b"bucket/")


@pytest.mark.parametrize(
    ("url", "expected", "prefix"),
    [
        ("http://bucket.localhost:9000", "http://bucket.localhost:9000/", b""),
        ("https://bucket.minio.example.com/", "https://bucket.minio.example.com/", b""),
        ("https://data.example.com/base", "https://data.example.com/base/", b"base/"),
        ("http://localhost:9000/bucket", "http://localhost:9000/bucket/", b"bucket/"),
    ],
)
def test_custom_virtual_hosted_is_used_as_it_is(url, expected, prefix):
    found = endpoint(endpoint=url, virtual_hosted_style_request=True)
    assert found.url == expected
    assert found.base_path_prefix == prefix


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://s3.us-west-2.amazonaws.com", "us-west-2"),
        ("https://s3-us-west-2.amazonaws.com", "us-west-2"),
        ("https://s3.dualstack.eu-central-1.amazonaws.com", "eu-central-1"),
        ("https://s3-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("https://s3.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("https://bucket.vpce-1a2b3c4d-5e6f.s3.eu-west-3.vpce.amazonaws.com", "eu-west-3"),
        ("https://s3express-usw2-az1.us-west-2.amazonaws.com", "us-west-2"),
        ("https://s3.amazonaws.com", "us-east-1"),
    ],
)
def test_aws_named_as_an_endpoint(url, region):
    found = endpoint(endpoint=url)
    assert found.is_aws
    assert found.region == region
    assert endpoint(endpoint=url, region="ap-south-1").region == "ap-south-1"


@pytest.mark.parametrize("url", ["https://amazonaws.com.evil.org", "https://notamazonaws.com", "https://localhost"])
def test_not_aws(url):
    assert not endpoint(endpoint=url).is_aws


def test_at_aws_a_virtual_host_must_be_the_buckets():
    found = endpoint(endpoint="https://bucket.s3.us-west-2.amazonaws.com", virtual_hosted_style_request=True)
    assert found.url == "https://bucket.s3.us-west-2.amazonaws.com/"
    with pytest.raises(ValueError, match=r"must contain the bucket, as in https://bucket\.s3\.us-west-2"):
        endpoint(endpoint="https://s3.us-west-2.amazonaws.com", virtual_hosted_style_request=True)


@pytest.mark.parametrize(("given", "expected"), [({}, "s3"), ({"s3_express": True}, "s3express")])
def test_custom_endpoints_are_express_only_if_told(given, expected):
    assert endpoint(ZONAL, endpoint="http://localhost:9000", **given).service == expected


def test_http_needs_allow_http():
    with pytest.raises(ValueError, match="http://h:9000 has no TLS: set allow_http") as caught:
        endpoint(client=ClientSettings(), endpoint="http://h:9000/secret-path")
    assert "AWS_ALLOW_HTTP" in str(caught.value)
    assert endpoint(client=ClientSettings(), endpoint="https://h:9000").tls
    assert endpoint_of(resolve_s3("b", None, None, {})).tls


@given(st.text(min_size=1, max_size=30), st.booleans())
def test_no_bucket_gets_out_of_its_place(bucket, virtual):
    try:
        found = endpoint(bucket, virtual_hosted_style_request=virtual)
    except (ValueError, NotImplementedError):
        return
    assert found.host.endswith("amazonaws.com")
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%")
    assert set(found.base_path_prefix.decode().removesuffix("/")) <= allowed
    assert set(found.host) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")


@given(st.text(max_size=40))
def test_any_endpoint_is_a_clear_error_or_safe_to_send(url):
    try:
        found = endpoint(endpoint=f"http://{url}")
    except ValueError:
        return
    assert found.url.isascii()
    assert found.url.isprintable()
    assert " " not in found.url
    assert 0 < found.port < 65536
