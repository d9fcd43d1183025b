"""What obstore's type stubs and sources say it has: names, members, signatures, keys. Read by `ast`, never imported.

Stubs say more than the module: an extension's functions show inspect no defaults' types, and none of its TypedDicts.
"""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Parameter:
    """A parameter: its kind as `inspect` names it, and its default as a literal, if it is one."""

    kind: str
    has_default: bool
    default: object = None


Signature = dict[str, Parameter]


@dataclass
class Name:
    """A public name: a function, a class with its members, a TypedDict with its keys, or a value."""

    kind: str
    signature: Signature = field(default_factory=dict)
    members: dict[str, Signature | None] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)


def root() -> Path:
    spec = importlib.util.find_spec("obstore")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


FILES = {
    "obstore": ["_attributes.pyi", "_buffered.pyi", "_bytes.pyi", "_copy.pyi", "_delete.pyi", "_get.pyi", "_head.pyi",
                "_list.pyi", "_put.pyi", "_rename.pyi", "_scheme.pyi", "_sign.pyi"],
    "obstore.store": ["_store/_aws.pyi", "_store/_azure.pyi", "_store/_client.pyi", "_store/_gcs.pyi",
                      "_store/_http.pyi", "_store/_retry.pyi", "_store/__init__.pyi", "store.py"],
    "obstore.exceptions": ["exceptions/__init__.pyi"],
    "obstore.fsspec": ["fsspec.py"],
    **{f"obstore.auth.{name}": [f"auth/{name}.py"]
       for name in ("azure", "boto3", "earthdata", "google", "planetary_computer")},
}  # fmt: skip
LATER = ("__init__", "__call__")
"""Special methods that are part of an interface; other ones come with what a class is."""


def names_of(module: str) -> dict[str, Name]:
    """Public names that a module of obstore defines. A class in several files has the members of all."""
    found: dict[str, Name] = {}
    for file in FILES[module]:
        for node in ast.parse((root() / file).read_text()).body:
            for name, value in _defined(node):
                if name.startswith("_"):
                    continue
                if name in found and value.kind == "class":
                    found[name].members |= value.members
                else:
                    found[name] = value
    return {name: value for name, value in found.items() if module != "obstore.store" or name in _of_store()}


def _of_store() -> set[str]:
    """Names that `obstore.store` itself has: its files define more, for type checkers."""
    tree = ast.parse((root() / "store.py").read_text())
    own = {name for node in tree.body for name, _ in _defined(node)}
    (exported,) = (each.value for each in tree.body if isinstance(each, ast.Assign) and "__all__" in ast.unparse(each))
    return own | set(ast.literal_eval(exported))


def _defined(node: ast.stmt) -> list[tuple[str, Name]]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [(node.name, Name("function", _signature(node)))]
    if isinstance(node, ast.ClassDef):
        bases = [ast.unparse(base) for base in node.bases]
        if "TypedDict" in bases:
            keys = {each.target.id for each in node.body if isinstance(each, ast.AnnAssign)}  # type: ignore[union-attr]
            return [(node.name, Name("keys", keys=keys))]
        return [(node.name, Name("class", members=_members(node)))]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [(target.id, Name("value")) for target in targets if isinstance(target, ast.Name)]


def _members(node: ast.ClassDef) -> dict[str, Signature | None]:
    members: dict[str, Signature | None] = {}
    for each in node.body:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            name = each.name
            decorators = [ast.unparse(decorator) for decorator in each.decorator_list]
            if not name.startswith("_") or name in LATER:
                is_value = any(d == "property" or d.endswith(".setter") for d in decorators)
                members[name] = None if is_value else _signature(each, skip_first=True)
        elif isinstance(each, ast.AnnAssign) and not ast.unparse(each.target).startswith("_"):
            members[ast.unparse(each.target)] = None
    return members


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef, *, skip_first: bool = False) -> Signature:
    spec, found = node.args, Signature()
    plain = [*spec.posonlyargs, *spec.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(spec.defaults)) + list(spec.defaults)
    for index, (argument, default) in enumerate(zip(plain, defaults, strict=True)):
        if not (skip_first and index == 0):
            kind = "POSITIONAL_ONLY" if argument in spec.posonlyargs else "POSITIONAL_OR_KEYWORD"
            found[argument.arg] = _parameter(kind, default)
    for argument, default in zip(spec.kwonlyargs, spec.kw_defaults, strict=True):
        found[argument.arg] = _parameter("KEYWORD_ONLY", default)
    if spec.kwarg is not None:
        found[spec.kwarg.arg] = Parameter("VAR_KEYWORD", False)
    return found


def _parameter(kind: str, default: ast.expr | None) -> Parameter:
    if default is None:
        return Parameter(kind, False)
    try:
        return Parameter(kind, True, _literal(default))
    except ValueError:
        return Parameter(kind, True, ...)


def _literal(node: ast.expr) -> object:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):  # 5 * 1024 * 1024
        left, right = _literal(node.left), _literal(node.right)
        assert isinstance(left, int)
        assert isinstance(right, int)
        return left * right
    return ast.literal_eval(node)
