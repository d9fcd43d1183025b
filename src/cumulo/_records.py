"""`record`: what of `dataclasses` the package needs, made in a tenth of the time.

That module imports `inspect`, and has Python compile the methods of each class: it was two fifths of what a program
waited for its first store. Here all classes have the same methods. Type checkers see dataclasses, and check what is not
checked here: that no field is given twice.
"""

from __future__ import annotations

__all__ = ["field", "fields", "record", "replace"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataclasses import dataclass as record
    from dataclasses import field, fields, replace
else:
    from typing import Any

    _MISSING = object()

    class field:  # noqa: N801 - it stands for dataclasses' function
        """What is said of a field beside its type."""

        __slots__ = ("default", "factory", "hash", "name", "repr")

        def __init__(
            self, *, default: Any = _MISSING, default_factory: Any = None, repr: bool = True, hash: bool = True
        ) -> None:
            self.name = ""
            self.default, self.factory, self.repr, self.hash = default, default_factory, repr, hash

    def record(cls: Any = None, /, *, frozen: bool = False, eq: bool = True) -> Any:
        """A class whose annotations are its fields; `frozen` ones never change, and can be hashed."""
        if cls is None:
            return lambda decorated: record(decorated, frozen=frozen, eq=eq)
        found = {each.name: each for each in getattr(cls, "_fields", ())}
        for name in cls.__annotations__:
            said = cls.__dict__.get(name, _MISSING)
            if not isinstance(said, field):
                said = field(default=said)
            elif said.default is _MISSING:
                delattr(cls, name)
            else:
                setattr(cls, name, said.default)
            said.name = name
            found[name] = said
        cls._fields = tuple(found.values())
        cls._names = tuple(found)
        cls._defaults = {each.name: each.default for each in cls._fields if each.default is not _MISSING}
        cls._factories = [(each.name, each.factory) for each in cls._fields if each.factory is not None]
        cls.__init__, cls.__repr__ = _init, _repr
        if eq:
            cls.__eq__, cls.__hash__ = _eq, _hash if frozen else None
        if frozen:
            cls.__setattr__ = cls.__delattr__ = _refuse
        return cls

    def fields(of: Any) -> tuple[Any, ...]:
        """The fields of a record, in their order."""
        return of._fields

    def replace(one: Any, /, **changes: Any) -> Any:
        """A record like another, but for some fields."""
        return type(one)(**{**one.__dict__, **changes})

    def _init(self: Any, *values: Any, **named: Any) -> None:
        state, names = self.__dict__, self._names
        state.update(self._defaults)
        for name, factory in self._factories:
            state[name] = factory()
        state.update(zip(names, values, strict=False))
        state.update(named)
        if len(state) != len(names) or len(values) > len(names):
            raise TypeError(f"{type(self).__name__} has the fields {', '.join(names)}, and no others")

    def _refuse(self: Any, name: str, *_value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} does not change: {name!r} can't")

    def _repr(self: Any) -> str:
        shown = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in self._fields if each.repr)
        return f"{type(self).__qualname__}({shown})"

    def _eq(self: Any, other: Any) -> Any:
        if type(other) is not type(self):
            return NotImplemented
        return self.__dict__ == other.__dict__

    def _hash(self: Any) -> int:
        return hash(tuple(getattr(self, each.name) for each in self._fields if each.hash))
