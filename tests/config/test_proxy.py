"""Which proxy a connection takes: options before the environment, curl's rules within it."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cumulo._config import Proxy, proxy_for, resolve_client
from cumulo._config.proxy import is_excluded

P1, P2, P3 = "http://p1:1", "http://p2:2", "http://p3:3"


def port_for(scheme, env, host="example.com", port=443, options=None):
    proxy = proxy_for(scheme, host, port, resolve_client(options, {}), env)
    return None if proxy is None else proxy.port


@pytest.mark.parametrize(
    ("scheme", "env", "expected"),
    [
        ("https", {}, None),
        ("https", {"HTTPS_PROXY": P1}, 1),
        ("https", {"https_proxy": P1}, 1),
        ("https", {"https_proxy": P1, "HTTPS_PROXY": P2}, 1),
        ("https", {"https_proxy": "", "HTTPS_PROXY": P2}, 2),
        ("https", {"HTTP_PROXY": P1, "http_proxy": P1}, None),
        ("http", {"HTTPS_PROXY": P1}, None),
        ("http", {"HTTP_PROXY": P1}, 1),
        ("http", {"http_proxy": P2, "HTTP_PROXY": P1}, 2),
        ("http", {"HTTP_PROXY": P1, "REQUEST_METHOD": "GET"}, None),
        ("http", {"HTTP_PROXY": P1, "ALL_PROXY": P3, "REQUEST_METHOD": "GET"}, 3),
        ("http", {"http_proxy": P1, "REQUEST_METHOD": "GET"}, 1),
        ("https", {"HTTPS_PROXY": P1, "REQUEST_METHOD": "GET"}, 1),
        ("https", {"ALL_PROXY": P3}, 3),
        ("http", {"all_proxy": P3, "ALL_PROXY": P1}, 3),
        ("https", {"HTTPS_PROXY": P1, "ALL_PROXY": P3}, 1),
        ("https", {"HTTPS_PROXY": P1, "NO_PROXY": "*"}, None),
        ("https", {"HTTPS_PROXY": P1, "no_proxy": "example.com"}, None),
        ("https", {"HTTPS_PROXY": P1, "no_proxy": "other.com", "NO_PROXY": "example.com"}, 1),
    ],
)
def test_environment(scheme, env, expected):
    assert port_for(scheme, env) == expected


def test_options_settle_it():
    env = {"HTTPS_PROXY": P1, "NO_PROXY": "example.com"}
    assert port_for("https", env, options={"proxy_url": P2}) == 2
    assert port_for("http", {}, options={"proxy_url": P2}) == 2
    excluding = {"proxy_url": P2, "proxy_excludes": "example.com"}
    assert port_for("https", {"HTTPS_PROXY": P1}, options=excluding) is None
    assert port_for("https", {"HTTPS_PROXY": P1}, options={"proxy_url": ""}) is None
    assert port_for("https", {"HTTPS_PROXY": P1}, options={"proxy_excludes": "example.com"}) == 1


def test_without_settings_and_environment(monkeypatch):
    monkeypatch.setenv("https_proxy", P3)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert proxy_for("https", "example.com", 443) == Proxy("p3", 3)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://proxy:3128", Proxy("proxy", 3128)),
        ("http://proxy:3128/", Proxy("proxy", 3128)),
        ("proxy:3128", Proxy("proxy", 3128)),
        ("proxy", Proxy("proxy", 80)),
        ("http://proxy", Proxy("proxy", 80)),
        ("https://proxy", Proxy("proxy", 443, tls=True)),
        ("HTTP://Proxy:1", Proxy("proxy", 1)),
        ("http://[::1]:1", Proxy("::1", 1)),
        ("http://user@h:1", Proxy("h", 1, user="user", password="")),
        ("http://user:pass@h:1", Proxy("h", 1, user="user", password="pass")),
        ("user:pass@h:1", Proxy("h", 1, user="user", password="pass")),
        ("http://us%40er:p%3Aa%2Fs%25s@h:1", Proxy("h", 1, user="us@er", password="p:a/s%s")),
        ("http://u:%C3%A9@h:1", Proxy("h", 1, user="u", password="é")),
    ],
)
def test_urls(url, expected):
    assert proxy_for("https", "example.com", 443, resolve_client({"proxy_url": url}, {})) == expected
    assert proxy_for("https", "example.com", 443, None, {"HTTPS_PROXY": url}) == expected


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "::",
        "http://:secret@",
        "http://secret:secret@h:0",
        "http://secret:secret@h:99999",
        "http://secret:secret@h:x",
        "http://secret:secret@h h:1",
        "http://secret:secret@h:1/path",
        "http://secret:secret@h:1?query",
        "http://secret:secret@h:1#fragment",
        "http://secret:secret@[::1:1",
        "socks5://secret:secret@h:1",
        "socks5h://secret:secret@h:1",
        "ftp://secret:secret@h:1",
    ],
)
def test_urls_that_cant_be_used(url):
    with pytest.raises((ValueError, NotImplementedError), match=r"^proxy_url") as caught:
        resolve_client({"proxy_url": url}, {})
    assert "secret" not in str(caught.value)
    with pytest.raises((ValueError, NotImplementedError), match="environment variable ALL_PROXY") as caught:
        proxy_for("https", "example.com", 443, None, {"ALL_PROXY": url})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["socks5://h:1", "socks4://h"])
def test_socks_is_not_supported(url):
    with pytest.raises(NotImplementedError, match="only http and https proxies"):
        resolve_client({"proxy_url": url}, {})


def test_a_socks_proxy_does_not_matter_for_excluded_hosts():
    assert proxy_for("http", "localhost", 80, None, {"ALL_PROXY": "socks5://h:1", "NO_PROXY": "localhost"}) is None


def test_url_with_line_end_is_refused():
    with pytest.raises(ValueError, match="control characters"):
        resolve_client({"proxy_url": "http://h\r\nX: y:1"}, {})


@pytest.mark.parametrize(
    ("host", "port", "excludes", "expected"),
    [
        ("example.com", 443, "", False),
        ("example.com", 443, " , ,", False),
        ("example.com", 443, "*", True),
        ("example.com", 443, "foo,*", True),
        ("example.com", 443, "example.com", True),
        ("EXAMPLE.com.", 443, "example.COM", True),
        ("example.com", 443, ".example.com", True),
        ("example.com", 443, "example.com.", True),
        ("a.example.com", 443, "example.com", True),
        ("a.b.example.com", 443, ".example.com", True),
        ("a.example.com", 443, "*.example.com", True),
        ("notexample.com", 443, "example.com", False),
        ("example.com.evil.org", 443, "example.com", False),
        ("example.com", 443, "a.example.com", False),
        ("example.com", 443, "foo bar,example.com baz", True),
        ("example.com", 443, "example.com:443", True),
        ("example.com", 8443, "example.com:443", False),
        ("example.com", 443, ".", False),
        ("localhost", 80, "localhost", True),
        ("localhost", 80, "127.0.0.1", False),
        ("127.0.0.1", 80, "localhost", False),
        ("127.0.0.1", 80, "127.0.0.1", True),
        ("127.0.0.1", 80, "127.0.0.1:80", True),
        ("127.0.0.1", 80, "127.0.0.1:81", False),
        ("127.0.0.2", 80, "127.0.0.0/8", True),
        ("127.0.0.2", 80, "127.0.0.1/8", True),
        ("10.1.2.3", 80, "10.1.0.0/16", True),
        ("10.2.2.3", 80, "10.1.0.0/16", False),
        ("10.1.2.3", 80, "10.1.0.0/99", False),
        ("110.1.2.3", 80, ".1.2.3", False),
        ("::1", 80, "::1", True),
        ("[::1]", 80, "::1", True),
        ("::1", 80, "[::1]", True),
        ("::1", 80, "[::1]:80", True),
        ("::1", 80, "[::1]:81", False),
        ("0:0:0:0:0:0:0:1", 80, "::1", True),
        ("fd00::17", 80, "fd00::/8", True),
        ("fe00::17", 80, "fd00::/8", False),
        ("::ffff:10.0.0.1", 80, "10.0.0.0/8", True),
        ("fd00::17", 80, "10.0.0.0/8", False),
    ],
)
def test_no_proxy(host, port, excludes, expected):
    assert is_excluded(host, port, excludes) is expected


@given(st.text(), st.text())
def test_no_list_fails(host, excludes):
    assert is_excluded(host, 80, excludes) in {True, False}


def test_passwords_are_not_shown():
    proxy = proxy_for("https", "h", 1, None, {"HTTPS_PROXY": "http://user:hunter2@p:1"})
    assert "hunter2" not in repr(proxy)
    settings = resolve_client(None, {"AWS_PROXY_URL": "http://user:hunter2@p:1"})
    assert settings.proxy_url
    assert "hunter2" not in repr(settings)
    assert b"hunter2" not in pickle.dumps(settings)
