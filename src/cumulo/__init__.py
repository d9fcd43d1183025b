"""Object storage for Python: S3, Google Cloud Storage, Azure, HTTP, local disk and memory behind one interface."""

# The build reads the version from this line; it stands nowhere else.
__version__ = "0.1.0"
