"""One module a provider: an operation as that provider's request, and its response or error back. No waiting here."""
