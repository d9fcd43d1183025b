"""Configuration: from options, environment and defaults to typed, checked and complete settings.

Pure: nothing here opens a file or a socket, and the environment is passed in. `*Config` are what users write,
`*Settings` what the rest of the package reads.
"""

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
from .gcs_config import GCSConfig
from .proxy import Proxy, proxy_for
from .retry import BackoffConfig, RetryConfig, RetrySettings, resolve_retry
from .s3 import S3_OPTIONS, S3Settings, resolve_s3
from .s3_config import S3ChecksumAlgorithm, S3Config, S3EncryptionAlgorithm
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
    "GCSEndpoint",
    "GCSSettings",
    "Proxy",
    "RetryConfig",
    "RetrySettings",
    "S3ChecksumAlgorithm",
    "S3Config",
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
