"""The table of a configuration's options, and how their values are gathered.

An option has one canonical name and perhaps others. Names are taken in any case, with and without the provider's
prefix. A value given twice is an error, even the same value twice: one of the two would have no effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cumulo._given import given_as
from cumulo._records import record
from cumulo.exceptions import UnknownConfigurationKeyError

from .errors import ConfigurationError
from .values import Parser

__all__ = ["Option", "Table"]


@record(frozen=True)
class Option:
    """One option.

    Attributes:
        name: its canonical name.
        parse: turns a value, or its text, into the typed value.
        aliases: other names, the preferred first.
        env: names of environment variables beside the prefix plus a name.
    """

    name: str
    parse: Parser
    aliases: tuple[str, ...] = ()
    env: tuple[str, ...] = ()


class Table:
    """All options of one kind of configuration.

    Attributes:
        kind: what it configures, for messages.
        options: the options.
        prefix: what may stand before a name in upper or lower case, such as `"aws_"`; `""` for none.
        hints: names that other tools use, and the option that does the same here. Where none does with the same values,
            a sentence for the message.
    """

    def __init__(
        self, kind: str, options: tuple[Option, ...], prefix: str = "", hints: Mapping[str, str] | None = None
    ) -> None:
        self.kind = kind
        self.options = options
        self.prefix = prefix
        self.hints = hints or {}
        self._by_name: dict[str, Option] = {}
        for option in options:
            for name in (option.name, *option.aliases):
                if name in self._by_name:
                    raise AssertionError(f"two options are called {name}")
                self._by_name[name] = option

    def find(self, name: str) -> Option | None:
        """The option of this name in any of its forms, or None."""
        plain = name.lower()
        return self._by_name.get(plain) or self._by_name.get(plain.removeprefix(self.prefix))

    def name_of(self, key: object) -> str | None:
        """The canonical name of an option in any of its forms, or None."""
        option = self.find(key) if isinstance(key, str) else None
        return option.name if option is not None else None

    def gather(self, *sources: Mapping[str, Any] | None) -> dict[str, Any]:
        """Values given by the user, typed, by canonical name. None stands for "not given"."""
        found: dict[str, Any] = {}
        for source in sources:
            for key, value in given_as(f"{self.kind} options", source).items():
                option = self._require(key)
                if value is None:
                    continue
                if option.name in found:
                    raise ConfigurationError(f"Duplicate key: {self.kind} option {option.name!r} is given twice")
                found[option.name] = option.parse(value, option.name)
        return found

    def from_env(self, env: Mapping[str, str], prefix: str, skip: Iterable[str] = ()) -> dict[str, Any]:
        """Values from the environment, typed. Options in `skip` are not looked at. Empty variables count as unset."""
        skipped = set(skip)
        found: dict[str, Any] = {}
        for option in self.options:
            if option.name in skipped:
                continue
            names = [f"{prefix}{name.upper()}" for name in (option.name, *option.aliases)]
            variable = next((name for name in (*names, *option.env) if env.get(name)), None)
            if variable is not None:
                found[option.name] = option.parse(env[variable], f"the environment variable {variable}")
        return found

    def _require(self, key: object) -> Option:
        if not isinstance(key, str):
            raise TypeError(f"names of {self.kind} options are str, not {type(key).__name__}")
        option = self.find(key)
        if option is None:
            raise self.unknown(key)
        return option

    def unknown(self, key: str) -> UnknownConfigurationKeyError:
        """The error for a name that is no option, with the nearest that is."""
        import difflib

        plain = key.lower().removeprefix(self.prefix)
        best = self.hints.get(plain) or next(iter(difflib.get_close_matches(plain, self._by_name, 1, 0.6)), None)
        known = ", ".join(sorted(option.name for option in self.options))
        said = best if best is None or " " in best else f"did you mean {best!r}?"
        advice = said or f"known are {known}"
        return UnknownConfigurationKeyError(f"unknown {self.kind} option {key[:60]!r}: {advice}")
