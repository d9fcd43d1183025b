"""In which region a bucket at AWS is, where nobody has said it: asked of AWS once a process and bucket.

Source: Amazon S3 API reference, HeadBucket. The answer names the region in `x-amz-bucket-region`, whatever its status,
and to anyone: the request is not signed. It blocks, so plans `Call` it; calls that come meanwhile wait for it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from cumulo._config import S3Endpoint, S3Settings, endpoint_of
from cumulo._errors import Context
from cumulo._native import Request, after_fork
from cumulo._providers.native_client import make_client
from cumulo._records import replace
from cumulo.exceptions import BaseError

if TYPE_CHECKING:
    from .s3 import S3Store

_REGION_HEADER = "x-amz-bucket-region"

_asking: dict[str, threading.RLock] = {}
"""By bucket: held while AWS is asked for its region. A signal's handler that uses the bucket asks by itself."""
_found: dict[str, str] = {}
"""Regions by bucket. A bucket's never changes; one that is deleted may come again elsewhere, in a longer time than that
of most processes."""


after_fork(_asking.clear)


def is_unknown(settings: S3Settings, endpoint: S3Endpoint) -> bool:
    """Whether AWS has to be asked."""
    return settings.region is None and settings.endpoint is None and endpoint.service == "s3"


def endpoint_in_region(store: S3Store) -> S3Endpoint:
    """Where the bucket is. Blocks. Without an answer it is where it was: the call itself then says what is wrong.

    Raises:
        ConnectionFailedError, RequestTimeoutError: AWS can't be reached.
    """
    bucket = store._settings.bucket
    with _asking.setdefault(bucket, threading.RLock()):
        region = _found.get(bucket) or _ask(store)
        if region:
            _found[bucket] = region
    settings = replace(store._settings, region=region) if region else store._settings
    return endpoint_of(settings, store._client_settings)


def _ask(store: S3Store) -> str | None:
    settings = replace(store._settings, virtual_hosted_style_request=False)
    endpoint = endpoint_of(settings, store._client_settings)
    client = make_client(
        endpoint, store._client_settings, store._retry, None, bucket=settings.bucket, auth="sigv4",
        region=None, service="s3", sign_payload=False,
    )  # fmt: skip
    context = Context(store, "find the region of", settings.bucket)
    request = Request(client, "HEAD", endpoint.base.removesuffix(b"/"), context=context)
    try:
        request.perform()
    except BaseError as error:
        if error.status is None:
            raise
        return request.failure[0][1].get(_REGION_HEADER)
    return request.response[1].get(_REGION_HEADER)
