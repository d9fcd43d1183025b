"""Names that are imported when they are first asked for (PEP 562): a program pays for what it uses, when it uses it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def attach(
    namespace: dict[str, object], homes: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """A module's `__getattr__` and `__dir__`, for its `globals()` and the module each name is in.

    A name that is its home's last part is the module itself.
    """
    package = namespace["__name__"]

    def get(name: str) -> object:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        from importlib import import_module

        found: object = import_module(home)
        if home != f"{package}.{name}":
            found = getattr(found, name)
        namespace[name] = found
        return found

    def names() -> list[str]:
        return sorted({*namespace, *homes})

    return get, names
