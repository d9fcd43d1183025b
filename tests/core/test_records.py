"""`record` beside `dataclasses.dataclass`: the same classes by both behave alike in all that the package uses."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from cumulo import _records

WAYS = {
    "records": SimpleNamespace(
        record=_records.record, field=_records.field, fields=_records.fields, replace=_records.replace
    ),
    "dataclasses": SimpleNamespace(
        record=dataclasses.dataclass, field=dataclasses.field, fields=dataclasses.fields, replace=dataclasses.replace
    ),
}


def _classes(way: Any) -> Any:
    class Plain:
        name: str
        size: int = 3
        tags: list[str] = way.field(default_factory=list)
        secret: str = way.field(default="s", repr=False)

    class Frozen:
        name: str
        size: int = 3
        note: str = way.field(default="", hash=False)

    class ByIdentity:
        name: str = ""

    plain = way.record(Plain)

    class More(plain):
        extra: int = 9

    return SimpleNamespace(
        plain=plain,
        frozen=way.record(frozen=True)(Frozen),
        same=way.record(eq=False)(ByIdentity),
        more=way.record(More),
    )


@pytest.fixture(params=list(WAYS))
def made(request: pytest.FixtureRequest) -> Any:
    """The classes made in one of the ways."""
    way = WAYS[request.param]
    return SimpleNamespace(**vars(_classes(way)), **vars(way))


def test_fields_and_defaults(made: Any) -> None:
    one, other = made.plain("a"), made.plain("a", 4, tags=["t"])
    assert (one.name, one.size, one.tags, one.secret) == ("a", 3, [], "s")
    assert (other.size, other.tags) == (4, ["t"])
    one.tags.append("x")
    assert made.plain("a").tags == []
    assert [each.name for each in made.fields(one)] == ["name", "size", "tags", "secret"]


def test_inherited(made: Any) -> None:
    assert [each.name for each in made.fields(made.more("a"))] == ["name", "size", "tags", "secret", "extra"]
    assert made.more("a", extra=1).extra == 1


def test_equal_and_shown(made: Any) -> None:
    assert made.plain("a") == made.plain("a")
    assert made.plain("a") != made.plain("b")
    assert made.plain("a") != made.more("a")
    assert made.same("a") != made.same("a")
    assert repr(made.frozen("a", note="n")).endswith("Frozen(name='a', size=3, note='n')")
    assert "secret" not in repr(made.plain("a"))
    with pytest.raises(TypeError):
        hash(made.plain("a"))


def test_frozen(made: Any) -> None:
    one = made.frozen("a")
    assert hash(one) == hash(made.frozen("a", note="other"))
    assert {one: 1}[made.frozen("a")] == 1
    with pytest.raises(AttributeError):
        one.name = "b"
    with pytest.raises(AttributeError):
        del one.name


def test_replaced_and_copied(made: Any) -> None:
    one = made.frozen("a", note="n")
    other = made.replace(one, size=7)
    assert (other.name, other.size, other.note) == ("a", 7, "n")
    assert one.size == 3
    assert copy.copy(one) == copy.deepcopy(one) == one


@pytest.mark.parametrize(
    "call",
    [
        lambda made: made.plain(),
        lambda made: made.plain("a", nothing=1),
        lambda made: made.plain("a", 1, [], "s", 5),
        lambda made: made.replace(made.plain("a"), nothing=1),
    ],
)
def test_other_fields(made: Any, call: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError):
        call(made)


def test_pickled() -> None:
    """As they are in stores."""
    from cumulo.store import S3Store

    store = S3Store("bucket", region="us-east-1", retry_config={"max_retries": 2})
    assert pickle.loads(pickle.dumps(store)) == store
