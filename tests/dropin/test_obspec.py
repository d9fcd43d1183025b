"""obspec's protocols at run time, and its map of exceptions. The types are checked by `make lint`."""

from __future__ import annotations

import asyncio
import builtins
import inspect
from typing import Any

import obspec
import obspec.exceptions
import pytest

from cumulo import exceptions
from cumulo import store as stores

PROTOCOLS = [value for value in vars(obspec).values() if getattr(value, "_is_protocol", False)]
METHODS = [
    (name, method)
    for protocol in PROTOCOLS
    if not protocol.__name__.startswith("GetResult")
    for name, method in vars(protocol).items()
    if inspect.isfunction(method) and not name.startswith("_")
]
KINDS = [getattr(stores, name) for name in stores.__all__ if name.endswith("Store") and name != "ObjectStore"]


def test_all_verbs_are_looked_at() -> None:
    assert len(METHODS) == 20
    assert len(KINDS) == 6


@pytest.mark.parametrize(("name", "theirs"), METHODS, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_store_takes_what_the_protocol_says(kind: Any, name: str, theirs: Any) -> None:
    mine = inspect.signature(getattr(kind, name)).parameters
    wanted = inspect.signature(theirs).parameters
    for parameter in wanted.values():
        assert mine[parameter.name].kind == parameter.kind
        default = mine[parameter.name].default
        assert default == parameter.default or (parameter.default is ... and default is not parameter.empty)
    more = [mine[key] for key in mine.keys() - wanted.keys()]
    assert all(parameter.default is not parameter.empty for parameter in more)


def test_async_methods_give_coroutines() -> None:
    store = stores.MemoryStore()

    async def check() -> None:
        await asyncio.create_task(store.put_async("a", b"data"))
        result = await asyncio.create_task(store.get_async("a"))
        assert b"".join([bytes(chunk) async for chunk in result]) == b"data"
        chunks = [chunk async for chunk in store.list_async()]
        assert [meta["path"] for meta in chunks[0]] == ["a"]

    asyncio.run(check())


NAMES = [name for name in vars(obspec.exceptions) if name.endswith("Error") and hasattr(exceptions, name)]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "BaseError"])
def test_exceptions_are_mapped(name: str) -> None:
    ours = getattr(exceptions, name)("what went wrong", path="a")
    theirs = obspec.exceptions.map_exception(ours)
    assert type(theirs) is getattr(obspec.exceptions, name)
    assert theirs.args == ("what went wrong",)


def test_names_that_obspec_knows_are_ours_too() -> None:
    known = {name for name in obspec.exceptions._name_mapping if not hasattr(builtins, name)}
    assert known <= set(NAMES)


@pytest.mark.parametrize("kind", ["MemoryStore", "LocalStore"])
def test_what_stores_raise_is_mapped(kind: str, tmp_path: Any) -> None:
    store: Any = stores.MemoryStore() if kind == "MemoryStore" else stores.LocalStore(tmp_path)
    store.put("a", b"1")

    def raised(call: Any, *arguments: Any, **options: Any) -> type:
        with pytest.raises(exceptions.BaseError) as caught:
            call(*arguments, **options)
        return type(obspec.exceptions.map_exception(caught.value))

    assert raised(store.head, "none") is obspec.exceptions.NotFoundError
    assert raised(store.put, "a", b"2", mode="create") is obspec.exceptions.AlreadyExistsError
    assert raised(store.get, "a", options={"if_match": '"x"'}) is obspec.exceptions.PreconditionError
    etag = store.head("a")["e_tag"]
    assert raised(store.get, "a", options={"if_none_match": etag}) is obspec.exceptions.NotModifiedError
