"""What an error says to do is true of the store that it is of."""

from __future__ import annotations

from typing import Any

import pytest

from cumulo import exceptions as e
from cumulo.store import AzureStore, GCSStore, HTTPStore, S3Store
from tests.azure import support as azure
from tests.faults import FaultServer, Response
from tests.gcs import support as gcs
from tests.http import support as http

OF_S3 = ("may not list", "the credentials may not", "region", "access key", "session token")
UNKNOWN = "no-such-host.invalid"


def told(store: Any, verb: str = "get") -> str:
    with pytest.raises(e.BaseError) as caught:
        getattr(store, verb)("key")
    return str(caught.value)


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (403, "AccessDenied", "a role such as 'Storage Object Viewer'"),
        (401, "AuthenticationRequired", "check the token"),
        (404, "NoSuchBucket", "check the bucket's name"),
        (400, "UserProjectMissing", "give user_project"),
    ],
)
def test_of_cloud_storage(fault_server: FaultServer, status: int, code: str, hint: str) -> None:
    fault_server.script(gcs.PATH, Response.error(status, code))
    message = told(gcs.fault_store(fault_server, bearer_token=gcs.TOKEN))
    assert hint in message
    assert not [word for word in OF_S3 if word in message]


def test_of_cloud_storages_json(fault_server: FaultServer) -> None:
    answer = b'{"error": {"errors": [{"reason": "forbidden", "message": "No."}], "code": 403, "message": "No."}}'
    fault_server.script("/storage/v1/b/bucket/o/key", Response.of(answer, status=403, content_type="application/json"))
    assert "a role such as" in told(gcs.fault_store(fault_server, bearer_token=gcs.TOKEN), "delete")


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (401, "AuthenticationRequired")])
def test_of_cloud_storage_without_credentials(fault_server: FaultServer, status: int, code: str) -> None:
    fault_server.script(gcs.PATH, Response.error(status, code))
    message = told(gcs.fault_store(fault_server, skip_signature=True))
    assert "requests are not signed (skip_signature)" in message
    assert "role" not in message
    assert "token" not in message


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (403, "AccessDenied", "if the URL is signed, check for which method, and until when"),
        (400, "ExpiredToken", "get a new URL"),
        (403, "SignatureDoesNotMatch", "a signed URL is good for its own method, path and headers only"),
        (404, "NoSuchBucket", "check the URL"),
        (301, "PermanentRedirect", "the URL has to name the host of the bucket's own region"),
        (400, "AuthorizationHeaderMalformed", "a scripted error"),
        (403, "InvalidAccessKeyId", "a scripted error"),
    ],
)
def test_of_a_url(fault_server: FaultServer, status: int, code: str, hint: str) -> None:
    """That of an object at S3, signed or not."""
    fault_server.script("/data/key", Response.error(status, code))
    message = told(http.web_store(f"{fault_server.url}/data"))
    assert message.endswith(hint)
    assert not [word for word in OF_S3 if word in message.replace("own region", "")]


def test_of_azure(fault_server: FaultServer) -> None:
    """A signature can lack a permission, as an account can a role."""
    fault_server.script(azure.PATH, azure.refused(403, "AuthorizationPermissionMismatch"))
    message = told(azure.fault_store(fault_server, sas_key="sv=2025-01-05&sig=c2VjcmV0"))
    assert "the SAS does not allow this, or a role such as" in message


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (lambda given: S3Store("bucket", endpoint=f"http://{UNKNOWN}", skip_signature=True, **given),
         "check the endpoint and region"),
        (lambda given: GCSStore("bucket", base_url=f"http://{UNKNOWN}", skip_signature=True, **given), "base_url"),
        (lambda given: AzureStore("container", account_name="account", endpoint=f"http://{UNKNOWN}",
                                  skip_signature=True, **given), "account_name"),
        (lambda given: HTTPStore(f"http://{UNKNOWN}", **given), "check the URL"),
    ],
    ids=["s3", "gcs", "azure", "http"],
)  # fmt: skip
def test_of_a_host_that_there_is_not(make: Any, hint: str) -> None:
    message = told(make({"client_options": {"allow_http": True}, "retry_config": {"max_retries": 0}}))
    assert f"{UNKNOWN}:80 does not resolve; check " in message
    assert hint in message


@pytest.mark.parametrize("how", ["option", "environment"])
@pytest.mark.parametrize(
    ("proxy", "hint"),
    [
        (f"{UNKNOWN}:3128", f"the host name of the proxy {UNKNOWN}:3128 does not resolve; check proxy_url"),
        ("127.0.0.1:1", "cannot connect to the proxy 127.0.0.1:1 on the way to example.com:443; check proxy_url"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["s3", "http"])
def test_of_a_proxy(monkeypatch: pytest.MonkeyPatch, how: str, proxy: str, hint: str, kind: str) -> None:
    """It is the proxy that is connected to, and not the host that is asked."""
    url = f"http://user:s3cr3t@{proxy}"
    options: dict[str, Any] = {"client_options": {"proxy_url": url}} if how == "option" else {}
    if how == "environment":
        monkeypatch.setenv("HTTPS_PROXY", url)
    options["retry_config"] = {"max_retries": 0}
    store: Any = HTTPStore("https://example.com", **options)
    if kind == "s3":
        store = S3Store("bucket", endpoint="https://example.com", skip_signature=True, **options)
    message = told(store)
    assert hint in message
    assert "s3cr3t" not in message
