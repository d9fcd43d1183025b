"""How the cases open a store: the same keyword arguments for every library."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from . import content
from .origin import Origin
from .workload import CheckError, Library, Variant

Cloud: TypeAlias = Literal["s3", "gcs", "azure", "http"]
AZURE_KEY = "YmVuY2htYXJr"


def open_store(
    library: Library,
    origin: Origin,
    *,
    bucket: str = content.BUCKET,
    signed: bool = False,
    tls: bool = False,
    capped: bool = False,
    cloud: Cloud = "s3",
) -> Any:
    """A store on the origin, with every setting that is not about reaching it left at its default.

    `capped`: on the port where each connection is held to `nginx.LIMIT_RATE`. `cloud`: as a bucket of Cloud Storage,
    with a token in each request, as a container of Azure's, with an account's key, or as a mere web server's folder;
    the origin answers what their XML APIs would.
    """
    credentials: dict[str, Any] = {"skip_signature": True}
    if signed:
        credentials = {"access_key_id": "AKIDBENCHMARK", "secret_access_key": "benchmark-secret"}
    client_options: dict[str, Any] = {"allow_invalid_certificates": True} if tls else {"allow_http": True}
    url = origin.tls_url if tls else origin.limited_url if capped else origin.url
    if url is None:
        raise CheckError("the origin has no TLS port: the openssl command is needed to make its certificate")
    if cloud == "http":
        return library.store.HTTPStore(f"{url}/{bucket}", client_options=client_options)
    if cloud == "azure":
        return library.store.AzureStore(
            bucket, account_name="account", account_key=AZURE_KEY, endpoint=url, client_options=client_options
        )
    if cloud == "gcs":
        return library.store.GCSStore(bucket, base_url=url, bearer_token="token", client_options=client_options)
    return library.store.S3Store(
        bucket,
        endpoint=url,
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options=client_options,
        **credentials,
        **(library.s3_options if isinstance(library, Variant) else {}),
    )
