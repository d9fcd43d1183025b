"""S3 options: names and their forms, where values come from and in what order, and what is refused."""

from __future__ import annotations

import pickle

import pytest

from cumulo._config import ConfigurationError, CopyIfNotExists, S3Settings, resolve_client, resolve_s3
from cumulo.exceptions import BaseError, GenericError, NotSupportedError, UnknownConfigurationKeyError

BOOLEANS = [
    "disable_bulk_delete",
    "disable_tagging",
    "ec2_metadata_disabled",
    "ignore_configured_endpoint_urls",
    "imdsv1_fallback",
    "request_payer",
    "s3_express",
    "skip_signature",
    "sse_bucket_key_enabled",
    "unsigned_payload",
    "use_dualstack_endpoint",
    "use_fips_endpoint",
    "virtual_hosted_style_request",
]
TEXTS = [
    "config_file",
    "container_authorization_token",
    "container_authorization_token_file",
    "container_credentials_full_uri",
    "container_credentials_relative_uri",
    "profile",
    "role_arn",
    "role_session_name",
    "shared_credentials_file",
    "web_identity_token_file",
]


def resolve(config=None, env=None, bucket="b", **kwargs):
    return resolve_s3(bucket, config, kwargs, env or {})


def test_defaults():
    settings = resolve()
    assert settings == S3Settings("b", explicit={"bucket": "b"})
    assert settings.region is None
    assert settings.endpoint is None
    assert settings.conditional_put == "etag"
    assert settings.copy_if_not_exists is None
    assert settings.static_keys() is None
    assert not settings.virtual_hosted_style_request


@pytest.mark.parametrize("name", ["region", "aws_region", "AWS_REGION", "REGION", "Region", "Aws_Region"])
def test_forms_of_a_name(name):
    for settings in (resolve({name: "r1"}), resolve(**{name: "r1"})):
        assert settings.region == "r1"
        assert settings.explicit == {"bucket": "b", "region": "r1"}


@pytest.mark.parametrize("name", ["bucket", "bucket_name", "aws_bucket", "AWS_BUCKET_NAME"])
def test_bucket_among_the_options(name):
    assert resolve({name: "c"}, bucket=None).bucket == "c"
    assert resolve_s3(None, None, {name: "c"}, {}).bucket == "c"
    with pytest.raises(ConfigurationError, match=r"Duplicate key.*'bucket'"):
        resolve({name: "b"})


def test_bucket_from_the_environment():
    assert resolve(env={"AWS_BUCKET": "c"}, bucket=None).bucket == "c"
    assert resolve(env={"AWS_BUCKET_NAME": "c"}, bucket=None).bucket == "c"
    assert resolve(env={"AWS_BUCKET": "c"}).bucket == "b"
    with pytest.raises(ValueError, match="no bucket"):
        resolve(bucket=None)


@pytest.mark.parametrize(
    ("config", "kwargs"),
    [
        ({"region": "x"}, {"region": "x"}),
        ({"region": "x"}, {"region": "y"}),
        ({"aws_region": "x"}, {"region": "y"}),
        ({"aws_region": "x", "region": "y"}, {}),
        ({"REGION": "x", "region": "y"}, {}),
        ({}, {"aws_region": "x", "region": "y"}),
        ({"token": "x"}, {"session_token": "y"}),
        ({"endpoint": "http://x"}, {"aws_endpoint_url": "http://x"}),
        ({"allow_http": True}, {"aws_allow_http": True}),
    ],
)
def test_given_twice(config, kwargs):
    with pytest.raises(ValueError, match="Duplicate key") as caught:
        resolve(config, **kwargs)
    assert isinstance(caught.value, GenericError)  # what obstore raises


def test_none_is_not_given():
    settings = resolve(
        {"region": None, "access_key_id": None}, {"AWS_REGION": "r2"}, skip_signature=None, aws_region=None
    )
    assert settings.region == "r2"
    assert settings.explicit == {"bucket": "b"}


@pytest.mark.parametrize("key", BOOLEANS)
def test_booleans(key):
    for value, expected in ((True, True), ("true", True), ("ON", True), ("0", False), (False, False)):
        assert getattr(resolve({key: value}), key) is expected
        assert resolve({key: value}).explicit[key] is expected
        assert getattr(resolve(env={f"AWS_{key.upper()}": str(value)}), key) is expected
    with pytest.raises(ValueError, match=f"^{key}: 'maybe' is not a boolean"):
        resolve({key: "maybe"})
    with pytest.raises(ValueError, match=f"environment variable AWS_{key.upper()}: 'maybe' is not a boolean"):
        resolve(env={f"AWS_{key.upper()}": "maybe"})
    with pytest.raises(TypeError, match=key):
        resolve({key: 0.5})


@pytest.mark.parametrize("key", TEXTS)
def test_texts(key):
    assert getattr(resolve({key: "/some: text"}), key) == "/some: text"
    assert getattr(resolve(env={f"AWS_{key.upper()}": "x"}), key) == "x"
    with pytest.raises(ValueError, match=f"^{key} must not contain control characters") as caught:
        resolve({key: "hunter2\r\nX: y"})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(TypeError, match=f"^{key} must be a str, not int"):
        resolve({key: 5})


@pytest.mark.parametrize("value", ["requester", "REQUESTER", " Requester ", "true", True])
def test_request_payer(value):
    assert resolve(request_payer=value).request_payer
    assert resolve(requester_pays=value).request_payer
    for variable in ("AWS_REQUEST_PAYER", "AWS_REQUESTER_PAYS"):
        assert resolve(env={variable: str(value)}).request_payer


@pytest.mark.parametrize(
    ("value", "expected"),
    [("sha256", "SHA256"), ("SHA256", "SHA256"), ("crc64nvme", "CRC64NVME"), ("Crc32c", "CRC32C")],
)
def test_checksum_algorithm(value, expected):
    assert resolve(checksum_algorithm=value).checksum_algorithm == expected
    assert resolve(env={"AWS_CHECKSUM_ALGORITHM": value}).checksum_algorithm == expected


@pytest.mark.parametrize(
    ("key", "value"), [("checksum_algorithm", "md5"), ("conditional_put", "dynamo"), ("server_side_encryption", "aws")]
)
def test_names_that_are_not_known(key, value):
    with pytest.raises(ValueError, match=f"^{key}: '{value}' is not known; it is one of '"):
        resolve({key: value})
    with pytest.raises(TypeError, match=key):
        resolve({key: True})


@pytest.mark.parametrize("value", ["etag", "disabled", "ETag"])
def test_conditional_put(value):
    assert resolve(conditional_put=value).conditional_put == value.lower()


@pytest.mark.parametrize(
    ("value", "expected", "text"),
    [
        ("multipart", CopyIfNotExists("multipart", None, None), "multipart"),
        ("header: a: b", CopyIfNotExists("header", "a", "b", 412), "header: a: b"),
        ("header:A:b", CopyIfNotExists("header", "a", "b", 412), "header: a: b"),
        (
            "header: cf-copy-destination-if-none-match: *",
            CopyIfNotExists("header", "cf-copy-destination-if-none-match", "*"),
            "header: cf-copy-destination-if-none-match: *",
        ),
        ("header: a: b:c", CopyIfNotExists("header", "a", "b:c"), "header: a: b:c"),
        (
            "header-with-status: a: b: 409",
            CopyIfNotExists("header", "a", "b", 409),
            "header-with-status: a: b: 409",
        ),
        ("header-with-status:a:b:c:409", CopyIfNotExists("header", "a", "b:c", 409), "header-with-status: a: b:c: 409"),
    ],
)
def test_copy_if_not_exists(value, expected, text):
    settings = resolve(copy_if_not_exists=value)
    assert settings.copy_if_not_exists == expected
    assert settings.explicit["copy_if_not_exists"] == text
    assert resolve(copy_if_not_exists=text).copy_if_not_exists == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "multipart: x",
        "header",
        "header:",
        "header:a",
        "header: : b",
        "header: a b: c",
        "header: host: b",
        "header: content-length: 5",
        "header-with-status: a: b",
        "header-with-status: a: b: x",
        "header-with-status: a: b: 99",
        "header-with-status: a: b: 4122",
        "header-with-status: a: ٤٠٩",
        "header: a: b\r\nX: y",
    ],
)
def test_copy_if_not_exists_that_makes_no_sense(value):
    with pytest.raises(ValueError, match=r"^copy_if_not_exists"):
        resolve(copy_if_not_exists=value)


@pytest.mark.parametrize(
    ("given", "env", "expected"),
    [
        ({}, {}, None),
        ({}, {"AWS_DEFAULT_REGION": "d"}, "d"),
        ({}, {"AWS_DEFAULT_REGION": "d", "AWS_REGION": "r"}, "r"),
        ({"region": "x"}, {"AWS_REGION": "r"}, "x"),
        ({"default_region": "x"}, {"AWS_REGION": "r"}, "x"),
        ({"default_region": "x", "region": "y"}, {}, "y"),
        ({"region": "x"}, {"AWS_REGION": "not / a region"}, "x"),
        ({"region": " us-west-2 "}, {}, "us-west-2"),
        ({"region": "auto"}, {}, "auto"),
        ({"region": "RegionOne"}, {}, "RegionOne"),
    ],
)
def test_region(given, env, expected):
    assert resolve(given, env).region == expected


@pytest.mark.parametrize(
    "value", ["", "a/b", "a b", "a@b", "a#", "a?", "a:b", "é", ".a", "-a", "a..b", "a\r\nb", "x" * 64, "a\\b"]
)
def test_regions_that_are_none(value):
    with pytest.raises(ValueError, match=r"^region"):
        resolve(region=value)


E1, E2, E3, E4 = "http://e1", "http://e2", "http://e3", "http://e4"


@pytest.mark.parametrize(
    ("given", "env", "expected"),
    [
        ({}, {}, None),
        ({}, {"AWS_ENDPOINT_URL": E1}, E1),
        ({}, {"AWS_ENDPOINT": E1}, E1),
        ({}, {"AWS_ENDPOINT_URL_S3": E1}, E1),
        ({}, {"AWS_ENDPOINT_URL": E1, "AWS_ENDPOINT": E2, "AWS_ENDPOINT_URL_S3": E3}, E3),
        ({}, {"AWS_ENDPOINT_URL": E1, "AWS_ENDPOINT": E2}, E2),
        ({"endpoint": E1}, {}, E1),
        ({"endpoint_url": E1}, {}, E1),
        ({"aws_endpoint_url_s3": E1}, {}, E1),
        ({"endpoint": E1, "endpoint_url_s3": E2}, {}, E2),
        ({"endpoint": E1}, {"AWS_ENDPOINT_URL_S3": E2}, E1),
        ({"endpoint": E1}, {"AWS_ENDPOINT_URL_S3": "nonsense"}, E1),
        ({"ignore_configured_endpoint_urls": True}, {"AWS_ENDPOINT_URL": E1, "AWS_ENDPOINT_URL_S3": "nonsense"}, None),
        ({}, {"AWS_ENDPOINT_URL": E1, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, None),
        ({}, {"AWS_ENDPOINT_URL": E1, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false"}, E1),
        (
            {"ignore_configured_endpoint_urls": False},
            {"AWS_ENDPOINT_URL": E1, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "1"},
            E1,
        ),
        ({"endpoint": E1, "ignore_configured_endpoint_urls": True}, {"AWS_ENDPOINT_URL": E2}, E1),
        ({}, {"AWS_ENDPOINT": E1, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, E1),
        ({}, {"AWS_ENDPOINT_URL": ""}, None),
    ],
)
def test_endpoint(given, env, expected):
    assert resolve(given, env).endpoint == expected


@pytest.mark.parametrize("key", ["endpoint", "endpoint_url_s3", "sts_endpoint", "metadata_endpoint"])
@pytest.mark.parametrize(
    "value",
    [
        "",
        "localhost:9000",
        "//h",
        "ftp://h",
        "http://",
        "http://:9000",
        "http://hunter2:hunter2@h",
        "http://hunter2@h",
        "http://h?hunter2",
        "http://h/#hunter2",
        "http://h?",
        "http://h:x",
        "http://h:99999",
        "http://h h",
        "http://h%2f",
        "http://é",
        "http://h..h",
        "http://-h",
        "http://[::1",
        "http://[::g]",
        "http://[fe80::1%25eth0]",
        "http://h\\@hunter2",
        "http://h/a/../b",
        "http://h/./b",
        "http://h\r\nX: y",
    ],
)
def test_endpoints_that_cant_be_used(key, value):
    with pytest.raises(ValueError, match=f"^{key}") as caught:
        resolve({key: value})
    assert "hunter2" not in str(caught.value)


def test_other_endpoints():
    settings = resolve(endpoint_url_sts="https://sts", metadata_endpoint="http://[fd00:ec2::254]")
    assert (settings.sts_endpoint, settings.metadata_endpoint) == ("https://sts", "http://[fd00:ec2::254]")
    env = {"AWS_ENDPOINT_URL_STS": "https://s", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://m"}
    assert resolve(env=env).sts_endpoint == "https://s"
    assert resolve(env=env).metadata_endpoint == "http://m"


def test_the_aws_tools_own_variables():
    settings = resolve(
        env={
            "AWS_PROFILE": "p",
            "AWS_CONFIG_FILE": "c",
            "AWS_SHARED_CREDENTIALS_FILE": "s",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_USE_FIPS_ENDPOINT": "true",
            "AWS_USE_DUALSTACK_ENDPOINT": "true",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "hunter2",
        }
    )
    assert (settings.profile, settings.config_file, settings.shared_credentials_file) == ("p", "c", "s")
    assert settings.ec2_metadata_disabled
    assert settings.use_fips_endpoint
    assert settings.use_dualstack_endpoint
    assert settings.container_authorization_token == "hunter2"
    assert "hunter2" not in repr(settings)
    assert resolve(env={"AWS_DEFAULT_PROFILE": "p"}).profile == "p"


def test_foreign_variables_are_ignored():
    assert resolve(env={"AWS_NOPE": "x", "aws_region": "x", "REGION": "x", "AWS_EXECUTION_ENV": "x"}) == resolve()


def test_the_process_environment_is_the_default(monkeypatch):
    monkeypatch.setenv("AWS_BUCKET", "from-env")
    assert resolve_s3().bucket == "from-env"


@pytest.mark.parametrize(
    "bucket",
    ["b", "my-bucket", "my.bucket", "A_B", "bücket", "a%2Fb", "a:b", "x--use1-az4--x-s3", "a" * 255, "192.168.1.1"],
)
def test_buckets(bucket):
    assert resolve(bucket=bucket).bucket == bucket


@pytest.mark.parametrize(
    "bucket",
    [
        "",
        ".",
        "..",
        "a/b",
        "/",
        "a\\b",
        "a?b",
        "a#b",
        "a\nb",
        "a\rb",
        "a\r\nHost: x",
        "a\0",
        "a\x7f",
        "a\x85b",
        "a b",
        "a\tb",
        "a@b",
        "\ud800",
        "a" * 256,
    ],
)
def test_bucket_names_that_are_none(bucket):
    with pytest.raises(ValueError, match=r"^bucket: .* is not"):
        resolve(bucket=bucket)


def test_arns_are_not_supported():
    with pytest.raises(NotSupportedError, match="access point's alias"):
        resolve(bucket="arn:aws:s3:us-west-2:1:accesspoint/x")


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("regoin", "'region'"),
        ("aws_regoin", "'region'"),
        ("no_sign_request", "'skip_signature'"),
        ("anon", "'skip_signature'"),
        ("aws_secret_key", "'secret_access_key'"),
        ("region_name", "'region'"),
        ("sse", "'server_side_encryption'"),
        ("qqqq", "known are access_key_id, "),
    ],
)
def test_unknown_keys(key, hint):
    with pytest.raises(UnknownConfigurationKeyError, match=f"unknown S3 option '{key}': .*{hint}") as caught:
        resolve({key: "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert isinstance(caught.value, (BaseError, ValueError))


def test_names_must_be_text():
    with pytest.raises(TypeError, match="names of S3 options"):
        resolve({5: 1})


def test_client_options_among_s3s():
    settings = resolve({"aws_allow_http": "true"}, TIMEOUT="5s")
    assert settings.client_options == {"allow_http": "true", "timeout": "5s"}
    client = resolve_client(settings.client_options, {})
    assert client.allow_http
    assert client.timeout_s == 5
    assert "allow_http" not in settings.explicit
    with pytest.raises(ValueError, match=r"^timeout"):
        resolve(timeout="true")


def test_repr_shows_no_secrets():
    settings = resolve(
        {"access_key_id": "AK", "secret_access_key": "hunter2", "session_token": "hunter3"},
        default_headers={"a": "hunter4"},
    )
    assert "hunter" not in repr(settings)
    assert "hunter" not in str(settings)
    assert "hunter" not in repr(resolve(env={"AWS_SECRET_ACCESS_KEY": "hunter2", "AWS_ACCESS_KEY_ID": "a"}))


def test_pickles_hold_what_was_given_and_read_the_environment_anew(monkeypatch):
    env = {"AWS_ACCESS_KEY_ID": "hunter2", "AWS_SECRET_ACCESS_KEY": "hunter3", "AWS_REGION": "there"}
    settings = resolve(
        {"AWS_REGION": "here", "copy_if_not_exists": "header:a:b"}, env, allow_http=True, skip_signature="on"
    )
    dumped = pickle.dumps(settings)
    assert b"hunter" not in dumped
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    again = pickle.loads(dumped)
    assert again.static_keys() == ("k", "s", None)
    assert again.region == "here"
    assert again.explicit == settings.explicit
    assert again.client_options == settings.client_options
    assert again.copy_if_not_exists == settings.copy_if_not_exists


def test_explicit_makes_the_same_settings_again():
    given = {
        "access_key_id": "AK",
        "secret_access_key": "SK",
        "endpoint": E1,
        "aws_endpoint_url_s3": E2,
        "default_region": "d",
        "checksum_algorithm": "sha256",
        "request_payer": "requester",
        "server_side_encryption": "aws:kms",
        "sse_kms_key_id": "k",
    }
    settings = resolve(given)
    assert resolve_s3(None, settings.explicit, None, {}) == settings
    assert hash(resolve(given)) == hash(settings)
