"""Credential providers made of other packages: one module a provider, imported by its name."""
