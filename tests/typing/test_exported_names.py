"""The public names: sorted, importable at run time, annotated, documented; obstore's, but for what is yet to come."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
import typing
from types import ModuleType
from typing import Any

import obstore
import pytest

import cumulo

MODULES = ("cumulo", "cumulo.exceptions", "cumulo.fsspec", "cumulo.futures", "cumulo.runtime", "cumulo.store")


def exported(name: str) -> list[str]:
    """A module's `__all__`."""
    names: list[str] = list(importlib.import_module(name).__all__)
    return names


def in_order(names: list[str]) -> list[str]:
    """As ruff sorts `__all__`: constants, classes, the rest."""
    return sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))


@pytest.mark.parametrize("name", MODULES)
def test_names_are_sorted_and_there(name: str) -> None:
    module = importlib.import_module(name)
    names = exported(name)
    assert names == in_order(names)
    assert [missing for missing in names if not hasattr(module, missing)] == []


def test_what_is_not_asked_for_is_not_imported() -> None:
    program = "import sys; before = set(sys.modules); import cumulo; print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert loaded == ["__future__", "cumulo", "cumulo._lazy"]
    program = "import sys; from cumulo.store import S3Store; S3Store('b', region='r'); print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert not {"asyncio", "concurrent.futures", "email.utils", "logging", "ssl", "tempfile"} & set(loaded)


@pytest.mark.parametrize("name", MODULES)
def test_public_names_that_are_not_exported_are_modules(name: str) -> None:
    module = importlib.import_module(name)
    own = {
        found
        for found, value in vars(module).items()
        if not found.startswith("_")
        and not isinstance(value, ModuleType)
        and str(getattr(value, "__module__", "")).startswith("cumulo")
    }
    left = own - set(exported(name))
    if name == "cumulo.futures":
        assert left <= {"ObjectStoreMethods"}
    else:
        assert left == set()


def test_obstores_names() -> None:
    names: list[str] = list(vars(obstore)["__all__"])
    theirs = {name for name in names if not name.startswith("_")}
    assert theirs - set(cumulo.__all__) == set()


def test_obstores_stores() -> None:
    theirs = {name for name in vars(obstore.store) if name.endswith("Store") or name == "from_url"} - {"ObjectStore"}
    assert theirs - set(exported("cumulo.store")) == set()


def test_obstores_exceptions() -> None:
    theirs = {name for name in dir(obstore.exceptions) if name.endswith("Error")}
    assert theirs - set(exported("cumulo.exceptions")) == set()


def callables() -> list[tuple[str, Any]]:
    """Every public function, and every public method of every public class."""
    found: dict[str, Any] = {}
    for name in MODULES:
        for public in exported(name):
            value = getattr(importlib.import_module(name), public)
            if inspect.isfunction(value):
                found[f"{name}.{public}"] = value
            elif inspect.isclass(value) and not typing.is_typeddict(value):
                found |= {
                    f"{public}.{method}": function
                    for method, function in inspect.getmembers(value, inspect.isfunction)
                    if not method.startswith("_") and function.__module__.startswith("cumulo")
                }
    return sorted(found.items())


@pytest.mark.parametrize("function", [pytest.param(function, id=name) for name, function in callables()])
def test_functions_are_annotated_and_documented(function: Any) -> None:
    signature = inspect.signature(function)
    bare = [p.name for p in signature.parameters.values() if p.name != "self" and p.annotation is p.empty]
    assert bare == []
    assert signature.return_annotation is not signature.empty
    assert inspect.getdoc(function)


@pytest.mark.parametrize("name", [name for name in cumulo.__all__ if name[0].isupper()])
def test_typing_names_are_usable_at_run_time(name: str) -> None:
    def annotated(value: Any) -> None: ...

    annotated.__annotations__ = {"value": getattr(cumulo, name), "return": type(None)}
    assert typing.get_type_hints(annotated)["value"] is not None
