"""The error for a configuration value that can't be used. Its messages name the option and never hold a secret."""

from __future__ import annotations

from cumulo.exceptions import GenericError

__all__ = ["ConfigurationError"]


class ConfigurationError(GenericError, ValueError):
    """An option has a value that can't be used, is given twice, or does not go with another option."""
