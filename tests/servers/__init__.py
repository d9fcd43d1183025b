"""Real S3 servers that the suite starts for itself, from PyPI packages of the `test` dependency group."""

from .s3server import Feature, S3Server

__all__ = ["Feature", "S3Server"]
