"""`_native.pyi` and the module it describes say the same: names, members, arguments."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cumulo import Bytes, _native

STUB = Path(__file__).parents[2] / "src/cumulo/_native.pyi"
SOURCES = Path(__file__).parents[2] / "extension"
TREE = ast.parse(STUB.read_text())
# Whatever an extension class has besides its own; and reflected operators, which come with the plain ones.
GIVEN = {
    *dir(object),
    "__module__",
    "__pyx_vtable__",
    "__setstate__",
    "__radd__",
    "__rmul__",
    "__getattr__",
    "__weakref__",
    "__buffer__",  # C's alone before Python 3.12
}


def defined(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    """Public names that a stub's module or class defines."""
    names: dict[str, ast.stmt] = {}
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names[node.name] = node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names[node.target.id] = node
    return {name: node for name, node in names.items() if not name.startswith("_") or name.startswith("__")}


CLASSES = {name: node for name, node in defined(TREE.body).items() if isinstance(node, ast.ClassDef)}
FUNCTIONS = {name: node for name, node in defined(TREE.body).items() if isinstance(node, ast.FunctionDef)}


def arguments(function: ast.FunctionDef) -> list[tuple[str, bool, bool]]:
    """Name, keyword only, has a default: of each argument."""
    spec = function.args
    plain = [*spec.posonlyargs, *spec.args]
    first_default = len(plain) - len(spec.defaults)
    found = [(argument.arg, False, i >= first_default) for i, argument in enumerate(plain)]
    named = zip(spec.kwonlyargs, spec.kw_defaults, strict=True)
    return [*found, *((argument.arg, True, default is not None) for argument, default in named)]


def members_of(kind: type) -> dict[str, Any]:
    """What a class itself has."""
    return dict(vars(kind))


def run_time_arguments(function: Any) -> list[tuple[str, bool, bool]]:
    """The same of a function that there is."""
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, p.kind is p.KEYWORD_ONLY, p.default is not p.empty) for p in parameters]


def test_the_module_has_the_stubs_names() -> None:
    found = {
        name for name, value in vars(_native).items() if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert found == set(CLASSES) | set(FUNCTIONS)


@pytest.mark.parametrize("name", sorted(set(CLASSES) - {"Bytes"}))
def test_classes_have_the_stubs_members(name: str) -> None:
    fields = {"code", "message"} if name == "ListError" else set[str]()  # its __init__ sets them
    members = members_of(getattr(_native, name))
    assert set(members) - GIVEN == set(defined(CLASSES[name].body)) - GIVEN - fields


def test_bytes_has_the_stubs_members() -> None:
    stub = set(defined(CLASSES["Bytes"].body)) - GIVEN
    assert set(vars(Bytes)) - GIVEN <= stub
    # Any class with __getitem__ can be iterated, and __buffer__ is C's alone before Python 3.12.
    assert [name for name in stub - {"__iter__", "__buffer__"} if not hasattr(Bytes(b"x"), name)] == []
    assert [*Bytes(b"ab")] == [97, 98]
    assert bytes(memoryview(Bytes(b"ab"))) == b"ab"


def test_bytes_has_all_methods_of_bytes() -> None:
    public = {name for name in dir(bytes) if not name.startswith("_")}
    assert public <= set(defined(CLASSES["Bytes"].body))


def functions() -> list[tuple[str, Any, ast.FunctionDef]]:
    """Every function and method with a signature of its own at run time."""
    found = [(name, getattr(_native, name), node) for name, node in FUNCTIONS.items()]
    for name, node in CLASSES.items():
        own = members_of(getattr(_native, name))
        found += [
            (f"{name}.{method.name}", own[method.name], method)
            for method in node.body
            if isinstance(method, ast.FunctionDef) and method.name in own and not method.decorator_list
        ]
    return [(name, function, node) for name, function, node in found if "__" not in name]


@pytest.mark.parametrize(("function", "node"), [pytest.param(f, n, id=name) for name, f, n in functions()])
def test_arguments(function: Any, node: ast.FunctionDef) -> None:
    assert run_time_arguments(function) == arguments(node)


@pytest.mark.parametrize(("name", "file"), [("Client", "http/client.pxi"), ("Request", "http/request.pxi")])
def test_constructors_take_the_stubs_arguments(name: str, file: str) -> None:
    source = (SOURCES / file).read_text()
    found = re.search(r"def __cinit__\(self, (.*?)\):\n", source, re.DOTALL)
    assert found
    names = [part.split("=")[0].split()[-1] for part in found.group(1).replace("not None", "").split(",")]
    stub = next(node for node in CLASSES[name].body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    assert [argument for argument in names if argument != "*"] == [argument for argument, _, _ in arguments(stub)[1:]]
