"""The stores. Each is imported when it is first asked for: who reads S3 does not wait for the local disk's code."""

from __future__ import annotations

from cumulo._lazy import attach as _attach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cumulo._config import (
        AzureAccessKey,
        AzureBearerToken,
        AzureConfig,
        AzureCredential,
        AzureCredentialProvider,
        AzureSASToken,
        BackoffConfig,
        ClientConfig,
        GCSConfig,
        GCSCredential,
        GCSCredentialProvider,
        RetryConfig,
        S3Config,
        S3Credential,
        S3CredentialProvider,
    )
    from cumulo._many import FutureStream, GetItem, ManyStream, PutItem
    from cumulo._operations.delete_prefix import DeletedPrefix
    from cumulo._types import ObjectVersion

    from ._base import ObjectStoreMethods
    from ._every import ObjectStore
    from ._urls import from_url, parse_scheme
    from .azure import AzureStore
    from .gcs import GCSStore
    from .http import HTTPStore
    from .local import LocalStore
    from .memory import MemoryStore
    from .s3 import S3Store

__all__ = [
    "AzureAccessKey",
    "AzureBearerToken",
    "AzureConfig",
    "AzureCredential",
    "AzureCredentialProvider",
    "AzureSASToken",
    "AzureStore",
    "BackoffConfig",
    "ClientConfig",
    "DeletedPrefix",
    "FutureStream",
    "GCSConfig",
    "GCSCredential",
    "GCSCredentialProvider",
    "GCSStore",
    "GetItem",
    "HTTPStore",
    "LocalStore",
    "ManyStream",
    "MemoryStore",
    "ObjectStore",
    "ObjectStoreMethods",
    "ObjectVersion",
    "PutItem",
    "RetryConfig",
    "S3Config",
    "S3Credential",
    "S3CredentialProvider",
    "S3Store",
    "from_url",
    "parse_scheme",
]

_HOMES = {
    "ObjectStore": "cumulo.store._every",
    "ObjectStoreMethods": "cumulo.store._base",
    "AzureAccessKey": "cumulo._config",
    "AzureBearerToken": "cumulo._config",
    "AzureConfig": "cumulo._config",
    "AzureCredential": "cumulo._config",
    "AzureCredentialProvider": "cumulo._config",
    "AzureSASToken": "cumulo._config",
    "AzureStore": "cumulo.store.azure",
    "BackoffConfig": "cumulo._config",
    "ClientConfig": "cumulo._config",
    "DeletedPrefix": "cumulo._operations.delete_prefix",
    "FutureStream": "cumulo._many",
    "GCSConfig": "cumulo._config",
    "GCSCredential": "cumulo._config",
    "GCSCredentialProvider": "cumulo._config",
    "GCSStore": "cumulo.store.gcs",
    "GetItem": "cumulo._many",
    "HTTPStore": "cumulo.store.http",
    "LocalStore": "cumulo.store.local",
    "ManyStream": "cumulo._many",
    "MemoryStore": "cumulo.store.memory",
    "ObjectVersion": "cumulo._types",
    "PutItem": "cumulo._many",
    "RetryConfig": "cumulo._config",
    "S3Config": "cumulo._config",
    "S3Credential": "cumulo._config",
    "S3CredentialProvider": "cumulo._config",
    "S3Store": "cumulo.store.s3",
    "from_url": "cumulo.store._urls",
    "parse_scheme": "cumulo.store._urls",
}

__getattr__, __dir__ = _attach(globals(), _HOMES)
