"""obstore's names, members, signatures and keys beside ours: what differs stands in the guide, with its reason."""

from __future__ import annotations

import importlib
import inspect
import re
import typing
from pathlib import Path
from typing import Any

import pytest

import cumulo

from .stubs import FILES, LATER, Name, Parameter, Signature, names_of

GUIDE = Path(__file__).parents[2] / "docs/guides/migrating.md"


def listed() -> set[str]:
    """The differences that the guide names, in the first column of its table of names."""
    section = GUIDE.read_text().partition("## Names and signatures\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def missing(module: str) -> Any:
    try:
        return importlib.import_module(module.replace("obstore", "cumulo", 1))
    except ModuleNotFoundError:
        return None


def differences(module: str) -> set[str]:
    ours = missing(module)
    if ours is None:
        return {module}
    found: set[str] = set()
    for name, theirs in names_of(module).items():
        label = f"{module}.{name}"
        if not hasattr(ours, name):
            found.add(label)
        else:
            found |= compared(label, theirs, getattr(ours, name))
    return found


def compared(label: str, theirs: Name, mine: Any) -> set[str]:
    if theirs.kind == "keys":
        keys = set(typing.get_type_hints(mine)) if typing.is_typeddict(mine) else set()
        return {f"{label}[{key}]" for key in theirs.keys - keys}
    if theirs.kind == "function":
        return parameters(label, theirs.signature, mine)
    found: set[str] = set()
    for member, signature in theirs.members.items():
        if signature is not None and member in LATER and not inspect.isclass(mine):
            continue
        if member not in LATER and not has(mine, member):
            found.add(f"{label}.{member}")
        elif signature is not None and member != "__call__" and kind_has(mine, member):
            found |= parameters(f"{label}.{member}".removesuffix(".__init__"), signature, getattr(mine, member))
    return found


def has(kind: Any, member: str) -> bool:
    if kind is cumulo.Bytes:  # passes on what it has not itself
        return hasattr(cumulo.Bytes(), member)
    return hasattr(kind, member) or any(member in getattr(base, "__annotations__", {}) for base in kind.__mro__)


def kind_has(kind: Any, member: str) -> bool:
    return callable(getattr(kind, member, None))


def parameters(label: str, theirs: Signature, mine: Any) -> set[str]:
    """Parameters that ours lacks, takes in another way, with another default, or needs beside theirs."""
    try:
        ours = dict(inspect.signature(mine).parameters)
    except ValueError:  # the extension's, which its own stub describes
        return set()
    ours.pop("self", None)
    if list(ours) == ["args", "kwargs"]:
        return set()
    found = {f"{label}({name})" for name, wanted in theirs.items() if not fits(wanted, ours.get(name), ours)}
    for name in ours.keys() - theirs.keys():
        if ours[name].default is inspect.Parameter.empty and not ours[name].kind.name.startswith("VAR"):
            found.add(f"{label}({name})")
    positional = [name for name, each in theirs.items() if each.kind.startswith("POSITIONAL") and name in ours]
    if list(ours)[: len(positional)] != positional:
        found.add(f"{label}(order)")
    return found


def fits(wanted: Parameter, mine: inspect.Parameter | None, ours: dict[str, inspect.Parameter]) -> bool:
    if wanted.kind == "VAR_KEYWORD":
        return any(each.kind.name == "VAR_KEYWORD" for each in ours.values())
    if mine is None:
        return False
    kinds = {wanted.kind, "POSITIONAL_OR_KEYWORD"}
    if mine.kind.name not in kinds:
        return False
    if not wanted.has_default:
        return mine.default is inspect.Parameter.empty
    return mine.default is not inspect.Parameter.empty and (wanted.default is ... or mine.default == wanted.default)


@pytest.mark.parametrize("module", FILES)
def test_what_differs_is_in_the_guide(module: str) -> None:
    assert differences(module) - listed() == set()


def test_the_guide_names_nothing_that_does_not_differ() -> None:
    found = set().union(*map(differences, FILES))
    assert listed() - found == set()


def test_stubs_were_read() -> None:
    names = {module: names_of(module) for module in FILES}
    assert len(names["obstore"]) > 45
    assert len(names["obstore.store"]) > 20
    assert names["obstore"]["put"].signature["chunk_size"].default == 5 * 1024 * 1024
    assert "prefix" in names["obstore.store"]["S3Store"].members["__init__"]  # type: ignore[operator]
    assert len(names["obstore.store"]["S3Config"].keys) > 25
