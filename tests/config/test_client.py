"""Client options: each key's forms, defaults, environment, and what is refused."""

from __future__ import annotations

import pickle
from datetime import timedelta

import pytest

from cumulo._config import ClientSettings, ConfigurationError, resolve_client
from cumulo.exceptions import BaseError, GenericError, NotSupportedError, UnknownConfigurationKeyError

PEM = "-----BEGIN CERTIFICATE-----\nAAECAwQ=\n-----END CERTIFICATE-----\n"
TRUE = ["true", "True", "TRUE", "1", "yes", "on", "y", " On ", True, 1]
FALSE = ["false", "FALSE", "0", "no", "off", "n", "N", False, 0]
BOOLEANS = [
    "allow_http",
    "allow_invalid_certificates",
    "http1_only",
    "http2_keep_alive_while_idle",
]
DURATIONS = ["connect_timeout", "pool_idle_timeout", "read_timeout", "timeout"]


def test_addresses_are_randomized_unless_told_otherwise():
    assert resolve_client({}, {}).randomize_addresses
    assert not resolve_client({"randomize_addresses": False}, {}).randomize_addresses


def test_defaults():
    settings = resolve_client(None, {})
    assert settings == ClientSettings()
    assert (settings.connect_timeout_s, settings.read_timeout_s, settings.timeout_s) == (5, 15, None)
    assert settings.max_connections == 256
    assert not settings.allow_http
    assert not settings.allow_invalid_certificates
    assert settings.randomize_addresses
    assert settings.explicit == {}


def test_none_is_not_given():
    options = dict.fromkeys(("timeout", "read_timeout", "allow_http", "default_headers"))
    assert resolve_client(options, {}) == ClientSettings()


@pytest.mark.parametrize("key", BOOLEANS)
@pytest.mark.parametrize(("value", "expected"), [(value, True) for value in TRUE] + [(value, False) for value in FALSE])
def test_booleans(key, value, expected):
    settings = resolve_client({key: value}, {})
    assert settings.explicit == {key: expected}
    assert getattr(settings, key, expected) is expected
    if isinstance(value, str):
        from_env = resolve_client(None, {f"AWS_{key.upper()}": value})
        assert getattr(from_env, key, expected) is expected
        assert from_env.explicit == {}


@pytest.mark.parametrize("key", BOOLEANS)
@pytest.mark.parametrize("value", ["foo", "t", "2", "-1", "enable", " "])
def test_text_that_is_no_boolean(key, value):
    with pytest.raises(ValueError, match=f"^{key}: .* is not a boolean"):
        resolve_client({key: value}, {})
    with pytest.raises(ValueError, match=f"^the environment variable AWS_{key.upper()}: .* is not a boolean"):
        resolve_client(None, {f"AWS_{key.upper()}": value})


@pytest.mark.parametrize("value", [1.0, 2, -1, b"true", [True], {}])
def test_wrong_types_for_booleans(value):
    with pytest.raises(TypeError, match=r"^allow_http must be a bool"):
        resolve_client({"allow_http": value}, {})


@pytest.mark.parametrize("key", DURATIONS)
def test_durations(key):
    for value in ("1.5s", "1500ms", timedelta(seconds=1.5), 1.5):
        settings = resolve_client({key: value}, {})
        assert getattr(settings, f"{key}_s") == 1.5
        assert settings.explicit == {key: timedelta(seconds=1.5)}
        assert resolve_client(settings.explicit, {}) == settings
    assert getattr(resolve_client(None, {f"AWS_{key.upper()}": "2h 37min"}), f"{key}_s") == 9420
    with pytest.raises(ValueError, match=f"AWS_{key.upper()}"):
        resolve_client(None, {f"AWS_{key.upper()}": "true"})
    with pytest.raises(TypeError, match=f"^{key}"):
        resolve_client({key: b"5s"}, {})


def test_zero_durations():
    assert resolve_client({"timeout": 0}, {}).timeout_s is None
    assert resolve_client({"read_timeout": "0s"}, {}).read_timeout_s is None
    # 0 is "no limit" for the engine, and the opposite is meant.
    assert 0 < resolve_client({"pool_idle_timeout": "0"}, {}).pool_idle_timeout_s <= 0.001
    with pytest.raises(ValueError, match="connect_timeout must be longer than 0"):
        resolve_client({"connect_timeout": 0}, {})


@pytest.mark.parametrize("key", ["connect_timeout", "timeout", "read_timeout"])
def test_a_tiny_duration_survives_the_round_trip(key):
    settings = resolve_client({key: "1ns"}, {})
    assert settings.explicit[key] == timedelta(microseconds=1)
    assert getattr(resolve_client(settings.explicit, {}), f"{key}_s") == pytest.approx(1e-6)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("max_connections", 12, 12),
        ("max_connections", "512", 512),
        ("max_connections", " 1 ", 1),
        ("pool_max_idle_per_host", "5", 5),
        ("pool_max_idle_per_host", 0, 0),
    ],
)
def test_numbers(key, value, expected):
    assert getattr(resolve_client({key: value}, {}), key) == expected
    assert getattr(resolve_client(None, {f"AWS_{key.upper()}": str(value)}), key) == expected


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_connections", 0),
        ("max_connections", -1),
        ("max_connections", 10**9),
        ("max_connections", "x"),
        ("max_connections", "1.5"),
        ("max_connections", "1" * 5000),
        ("max_connections", "٣"),
        ("pool_max_idle_per_host", "-1"),
        ("http2_max_frame_size", 2**32),
    ],
)
def test_numbers_that_make_no_sense(key, value):
    with pytest.raises(ValueError, match=f"^{key}"):
        resolve_client({key: value}, {})


@pytest.mark.parametrize("value", [1.5, True, b"5", [5]])
def test_wrong_types_for_numbers(value):
    with pytest.raises(TypeError, match=r"^max_connections must be an int"):
        resolve_client({"max_connections": value}, {})


@pytest.mark.parametrize(
    "options",
    [
        {"http1_only": True},
        {"http1_only": False},
        {"http2_only": False},
        {"http2_only": "false"},
        {"http2_keep_alive_interval": "5s"},
        {"http2_keep_alive_timeout": timedelta(seconds=5)},
        {"http2_keep_alive_while_idle": "true"},
        {"http2_max_frame_size": "16384"},
    ],
)
def test_http2_keys_have_no_effect(options):
    settings = resolve_client(options, {})
    assert settings == ClientSettings(explicit=settings.explicit)
    assert list(settings.explicit) == list(options)


@pytest.mark.parametrize(("options", "env"), [({"http2_only": True}, {}), (None, {"AWS_HTTP2_ONLY": "yes"})])
def test_http2_only_is_refused(options, env):
    with pytest.raises(NotSupportedError, match="http2_only"):
        resolve_client(options, env)


@pytest.mark.parametrize("key", ["http2_keep_alive_interval", "http2_keep_alive_timeout"])
def test_http2_keys_are_still_checked(key):
    with pytest.raises(ValueError, match=key):
        resolve_client({key: "x"}, {})


@pytest.mark.parametrize("headers", [{"X-A": "b", "c": "d e"}, {"x-a": b"b", "C": b" d e\t"}, '{"X-A":"b","c":"d e"}'])
def test_default_headers(headers):
    settings = resolve_client({"default_headers": headers}, {})
    assert settings.default_headers == (("x-a", b"b"), ("c", b"d e"))
    assert settings.explicit == {"default_headers": {"x-a": b"b", "c": b"d e"}}
    assert resolve_client(settings.explicit, {}) == settings


def test_default_headers_in_the_environment():
    settings = resolve_client(None, {"AWS_DEFAULT_HEADERS": '{"authorization": "Bearer é"}'})
    assert settings.default_headers == (("authorization", "Bearer é".encode()),)


@pytest.mark.parametrize(
    "headers",
    [
        {"a": "hunter2\n"},
        {"a": "hunter2\r\nX-Injected: y"},
        {"a": b"hunter2\x00"},
        {"a": "hunter2\x7f"},
        {"a b": "hunter2"},
        {"a:": "hunter2"},
        {"": "hunter2"},
        {"a\r\nb": "hunter2"},
        {"é": "hunter2"},
        {"Content-Length": "hunter2"},
        {"transfer-encoding": "hunter2"},
        {"HOST": "hunter2"},
        {"Connection": "hunter2"},
        {"a": "hunter2", "A": "hunter2"},
        "hunter2",
        "{hunter2",
    ],
)
def test_headers_that_cant_be_sent(headers):
    with pytest.raises(ValueError, match=r"^default_headers") as caught:
        resolve_client({"default_headers": headers}, {})
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("headers", [5, [("a", "b")], {5: "a"}, {"a": 5}, {"a": None}, "[]", '{"a": 5}', "5"])
def test_wrong_types_for_headers(headers):
    with pytest.raises(TypeError, match=r"^default_headers"):
        resolve_client({"default_headers": headers}, {})


@pytest.mark.parametrize("key", ["root_certificate", "proxy_ca_certificate"])
@pytest.mark.parametrize("form", [str, str.encode])
def test_certificates(key, form):
    settings = resolve_client({key: form("# a comment\n" + PEM + "\nAnother:\n" + PEM.replace("\n", "\r\n"))}, {})
    data = getattr(settings, key)
    assert data.count(b"BEGIN CERTIFICATE") == data.count(b"END CERTIFICATE") == 2
    assert b"comment" not in data
    assert getattr(resolve_client(settings.explicit, {}), key) == data
    assert b"BEGIN" in getattr(resolve_client(None, {f"AWS_{key.upper()}": PEM}), key)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        b"x",
        "/etc/ssl/ca.pem",
        PEM[:40],
        PEM.replace("AAEC", "A*EC"),
        PEM.replace("CERTIFICATE", "PRIVATE KEY"),
    ],
)
def test_certificates_that_are_none(value):
    with pytest.raises(ValueError, match=r"^root_certificate"):
        resolve_client({"root_certificate": value}, {})


@pytest.mark.parametrize("key", ["default_content_type", "user_agent", "proxy_url", "proxy_excludes"])
def test_text(key):
    value = "http://h:1" if key == "proxy_url" else "some/text"
    assert getattr(resolve_client({key: value}, {}), key) == value
    assert getattr(resolve_client(None, {f"AWS_{key.upper()}": value}), key) == value
    for bad in ("a\r\nX: y", "a\nb", "a\0", "\x7f"):
        with pytest.raises(ValueError, match=f"^{key} must not contain control characters"):
            resolve_client({key: bad}, {})
    with pytest.raises(TypeError, match=f"^{key} must be a str"):
        resolve_client({key: 5}, {})


def test_python_goes_before_the_environment():
    env = {"AWS_TIMEOUT": "nonsense", "AWS_ALLOW_HTTP": "true", "AWS_MAX_CONNECTIONS": "7"}
    settings = resolve_client({"timeout": 5, "ALLOW_HTTP": False}, env)
    assert (settings.timeout_s, settings.allow_http, settings.max_connections) == (5, False, 7)


def test_other_prefixes():
    env = {"GOOGLE_ALLOW_HTTP": "true", "AWS_TIMEOUT": "5", "AWS_CA_BUNDLE": "x"}
    settings = resolve_client(None, env, env_prefix="GOOGLE_")
    assert settings.allow_http
    assert settings.timeout_s is None
    assert settings.ca_bundle is None


def test_ca_bundle():
    assert resolve_client(None, {"AWS_CA_BUNDLE": "/ca.pem"}).ca_bundle == "/ca.pem"
    assert resolve_client(None, {"AWS_CA_BUNDLE": ""}).ca_bundle is None


def test_empty_variables_are_unset():
    assert resolve_client(None, {"AWS_TIMEOUT": "", "AWS_ALLOW_HTTP": ""}) == ClientSettings()


def test_the_process_environment_is_the_default(monkeypatch):
    monkeypatch.setenv("AWS_MAX_CONNECTIONS", "3")
    assert resolve_client(None).max_connections == 3


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("alow_http", "'allow_http'"),
        ("aws_allow_http", "'allow_http'"),
        ("verify", "certificates are verified unless allow_invalid_certificates=True"),
        ("verify_ssl", "certificates are verified unless allow_invalid_certificates=True"),
        ("use_ssl", "allow_http=True allows to do without TLS"),
        ("max_retries", "retry_config="),
        ("total_timeout", "did you mean 'timeout'"),
        ("proxy", "'proxy_url'"),
        ("no_proxy", "'proxy_excludes'"),
        ("zzzz", "known are allow_http, "),
    ],
)
def test_unknown_keys(key, hint):
    """No name is given for another whose values mean the opposite."""
    with pytest.raises(UnknownConfigurationKeyError, match=f"unknown client option '{key}': .*{hint}") as caught:
        resolve_client({key: "hunter2"}, {})
    assert isinstance(caught.value, ValueError)
    assert "hunter2" not in str(caught.value)


def test_given_twice():
    with pytest.raises(ConfigurationError, match=r"Duplicate key.*'timeout'"):
        resolve_client({"timeout": 1, "TIMEOUT": 1}, {})


def test_errors_are_caught_by_obstores_names():
    with pytest.raises(GenericError):
        resolve_client({"allow_http": "maybe"}, {})
    with pytest.raises(BaseError):
        resolve_client({"nope": 1}, {})


def test_repr_shows_no_secrets():
    options = {"default_headers": {"authorization": "hunter2"}, "proxy_url": "http://u:hunter2@p"}
    assert "hunter2" not in repr(resolve_client(options, {}))


def test_settings_are_hashable_and_frozen():
    settings = resolve_client({"timeout": 1, "default_headers": {"a": "b"}}, {})
    assert hash(settings) == hash(resolve_client({"timeout": 1, "default_headers": {"a": "b"}}, {}))
    with pytest.raises(AttributeError):
        settings.timeout_s = 5


def test_pickles_hold_what_was_given_and_read_the_environment_anew(monkeypatch):
    options = {"timeout": "5s", "default_headers": {"a": "b"}, "root_certificate": PEM, "http1_only": True}
    settings = resolve_client(options, {"AWS_USER_AGENT": "there"})
    monkeypatch.setenv("AWS_USER_AGENT", "here")
    again = pickle.loads(pickle.dumps(settings))
    assert again.user_agent == "here"
    assert again.explicit == settings.explicit
    assert again.root_certificate == settings.root_certificate
