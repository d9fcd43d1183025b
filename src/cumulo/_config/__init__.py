"""Configuration: from options, environment and defaults to typed, checked and complete settings.

Pure: nothing here opens a file or a socket, and the environment is passed in. `*Config` are what users write,
`*Settings` what the rest of the package reads.
"""

from __future__ import annotations

from cumulo._lazy import attach as _attach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .azure import AZURE_OPTIONS, AzureSettings, resolve_azure
    from .azure_config import (
        AzureAccessKey,
        AzureBearerToken,
        AzureConfig,
        AzureCredential,
        AzureCredentialProvider,
        AzureSASToken,
    )
    from .azure_endpoint import AzureEndpoint, azure_endpoint_of
    from .client import ClientConfig, ClientSettings, resolve_client
    from .durations import Duration, milliseconds, parse_duration
    from .endpoint import S3Endpoint, endpoint_of
    from .errors import ConfigurationError
    from .gcs import GCS_OPTIONS, GCSEndpoint, GCSSettings, gcs_endpoint_of, resolve_gcs, service_account_of
    from .gcs_config import GCSConfig, GCSCredential, GCSCredentialProvider
    from .proxy import Proxy, proxy_for
    from .retry import BackoffConfig, RetryConfig, RetrySettings, resolve_retry
    from .s3 import S3_OPTIONS, S3Settings, resolve_s3
    from .s3_config import S3ChecksumAlgorithm, S3Config, S3Credential, S3CredentialProvider, S3EncryptionAlgorithm
    from .s3_values import CopyIfNotExists

__all__ = [
    "AZURE_OPTIONS",
    "GCS_OPTIONS",
    "S3_OPTIONS",
    "AzureAccessKey",
    "AzureBearerToken",
    "AzureConfig",
    "AzureCredential",
    "AzureCredentialProvider",
    "AzureEndpoint",
    "AzureSASToken",
    "AzureSettings",
    "BackoffConfig",
    "ClientConfig",
    "ClientSettings",
    "ConfigurationError",
    "CopyIfNotExists",
    "Duration",
    "GCSConfig",
    "GCSCredential",
    "GCSCredentialProvider",
    "GCSEndpoint",
    "GCSSettings",
    "Proxy",
    "RetryConfig",
    "RetrySettings",
    "S3ChecksumAlgorithm",
    "S3Config",
    "S3Credential",
    "S3CredentialProvider",
    "S3EncryptionAlgorithm",
    "S3Endpoint",
    "S3Settings",
    "azure_endpoint_of",
    "endpoint_of",
    "gcs_endpoint_of",
    "milliseconds",
    "parse_duration",
    "proxy_for",
    "resolve_azure",
    "resolve_client",
    "resolve_gcs",
    "resolve_retry",
    "resolve_s3",
    "service_account_of",
]

_HOMES = {
    "AZURE_OPTIONS": "cumulo._config.azure",
    "AzureAccessKey": "cumulo._config.azure_config",
    "AzureBearerToken": "cumulo._config.azure_config",
    "AzureConfig": "cumulo._config.azure_config",
    "AzureCredential": "cumulo._config.azure_config",
    "AzureCredentialProvider": "cumulo._config.azure_config",
    "AzureEndpoint": "cumulo._config.azure_endpoint",
    "AzureSASToken": "cumulo._config.azure_config",
    "AzureSettings": "cumulo._config.azure",
    "BackoffConfig": "cumulo._config.retry",
    "ClientConfig": "cumulo._config.client",
    "ClientSettings": "cumulo._config.client",
    "ConfigurationError": "cumulo._config.errors",
    "CopyIfNotExists": "cumulo._config.s3_values",
    "Duration": "cumulo._config.durations",
    "GCSConfig": "cumulo._config.gcs_config",
    "GCSCredential": "cumulo._config.gcs_config",
    "GCSCredentialProvider": "cumulo._config.gcs_config",
    "GCSEndpoint": "cumulo._config.gcs",
    "GCSSettings": "cumulo._config.gcs",
    "GCS_OPTIONS": "cumulo._config.gcs",
    "Proxy": "cumulo._config.proxy",
    "RetryConfig": "cumulo._config.retry",
    "RetrySettings": "cumulo._config.retry",
    "S3ChecksumAlgorithm": "cumulo._config.s3_config",
    "S3Config": "cumulo._config.s3_config",
    "S3Credential": "cumulo._config.s3_config",
    "S3CredentialProvider": "cumulo._config.s3_config",
    "S3EncryptionAlgorithm": "cumulo._config.s3_config",
    "S3Endpoint": "cumulo._config.endpoint",
    "S3Settings": "cumulo._config.s3",
    "S3_OPTIONS": "cumulo._config.s3",
    "azure_endpoint_of": "cumulo._config.azure_endpoint",
    "endpoint_of": "cumulo._config.endpoint",
    "gcs_endpoint_of": "cumulo._config.gcs",
    "milliseconds": "cumulo._config.durations",
    "parse_duration": "cumulo._config.durations",
    "proxy_for": "cumulo._config.proxy",
    "resolve_azure": "cumulo._config.azure",
    "resolve_client": "cumulo._config.client",
    "resolve_gcs": "cumulo._config.gcs",
    "resolve_retry": "cumulo._config.retry",
    "resolve_s3": "cumulo._config.s3",
    "service_account_of": "cumulo._config.gcs",
}

__getattr__, __dir__ = _attach(globals(), _HOMES)
