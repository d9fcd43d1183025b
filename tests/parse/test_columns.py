"""Pages as Arrow columns: the rows that dicts would be, in memory that is nobody's copy and is let go of once."""

from __future__ import annotations

import ctypes
import gc
import random
import subprocess
import sys
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any

import arro3.core
import nanoarrow
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cumulo._native import Columns, ListError, columns_of, join_columns, live_objects, parse_blob_page, parse_list_page

from . import test_blobs as azure
from .pages import Item, meta, page, prefixes

SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("last_modified", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("size", pa.uint64(), nullable=False),
        pa.field("e_tag", pa.string()),
        pa.field("version", pa.string()),
    ]
)


def batch_of(columns: Columns) -> pa.RecordBatch:
    """As pyarrow sees it, and finds it sound."""
    batch = pa.record_batch(columns)
    batch.validate(full=True)
    assert batch.schema == SCHEMA
    return batch


def rows(columns: Columns) -> list[dict[str, Any]]:
    return batch_of(columns).to_pylist()


def both(body: bytes, strip: str = "", url: bool = False) -> Columns:
    """A page's columns, once they are what its dicts are."""
    as_dicts = parse_list_page(body, strip, url)
    as_columns = parse_list_page(body, strip, url, True)
    assert rows(as_columns[0]) == as_dicts[0]
    assert as_columns[1:] == as_dicts[1:]
    return as_columns[0]


def test_a_page() -> None:
    body = page(
        Item("p/a&b<c>", 12, '"x"'),
        Item("p/ü€𝄞", 2**64 - 1, None),
        Item("p/" + "k" * 1000, 0, ""),
        Item("p/d", modified="2011-02-28T23:59:59.123456+05:30"),
        prefixes("p/q/"),
    )
    assert len(both(body, "p/")) == 4
    assert len(both(page())) == 0


def test_cloud_storages_generations_and_keys_that_are_encoded() -> None:
    generation = page(Item("k")).replace(b"<ETag>", b"<Generation>17</Generation><ETag>")
    assert rows(both(generation))[0]["version"] == "17"
    names = ["a b+c", "100%25", "\n\t\0x", "ü&amp;"]
    assert [row["path"] for row in rows(both(page(*map(Item, names), url=True), url=True))] == names


def test_azures_pages() -> None:
    body = azure.page(azure.blob("p/a"), azure.blob("p/b"))
    assert rows(parse_blob_page(body, "p/", True)[0]) == parse_blob_page(body, "p/")[0]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"], min_codepoint=1), min_size=1),
            st.integers(0, 2**64 - 1),
            st.none() | st.text("ab\"'&<é", min_size=1),
            st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)),
        ),
        max_size=40,
    ),
    st.booleans(),
)
def test_as_dicts_whatever_is_in_it(found: list[tuple[str, int, str | None, datetime]], url: bool) -> None:
    items = [Item(key, size, e_tag, f"{when.isoformat('T', 'microseconds')}Z") for key, size, e_tag, when in found]
    columns = both(page(*items, url=url), url=url)
    expected = [meta(key, size, e_tag, when.replace(tzinfo=timezone.utc)) for key, size, e_tag, when in found]
    assert rows(columns) == expected == rows(columns_of(expected))


@settings(deadline=None)
@given(st.lists(st.integers(0, 150), max_size=4), st.data())
def test_slices_and_joins(lengths: list[int], data: st.DataObject) -> None:
    source = random.Random(sum(lengths))
    dicts = [
        [meta(f"{i}/" + "x" * source.randrange(9), i, source.choice([None, '"e"'])) for i in range(length)]
        for length in lengths
    ]
    pages = [columns_of(each) for each in dicts]
    everything = [each for some in dicts for each in some]
    joined = join_columns(list(pages))
    assert rows(joined) == everything
    start, stop = data.draw(st.integers(-200, 200)), data.draw(st.integers(-200, 200))
    assert rows(joined[start:stop]) == everything[start:stop]
    inner = data.draw(st.integers(0, 100))
    assert rows(joined[start:stop][inner:]) == everything[start:stop][inner:]
    assert rows(join_columns([joined[start:stop], *pages])) == everything[start:stop] + everything


@settings(deadline=None)
@given(st.lists(st.text("ab/é𝄞", min_size=1), max_size=20), st.none() | st.text("ab/é𝄞"), st.none() | st.text("ab/é𝄞"))
def test_between(names: list[str], after: str | None, until: str | None) -> None:
    def raw(text: str | None) -> bytes | None:
        return None if text is None else text.encode()

    kept = columns_of([meta(name) for name in names]).between(raw(after), raw(until))
    expected = [
        name
        for name in names
        if (after is None or name.encode() > after.encode()) and (until is None or name.encode() <= until.encode())
    ]
    assert [kept.path(i) for i in range(len(kept))] == expected


def test_paths_by_index() -> None:
    columns = columns_of([meta("a"), meta("b"), meta("c")])[1:]
    assert (columns.path(0), columns.path(1), columns.path(-1), columns.path(-2)) == ("b", "c", "c", "b")
    for beyond in (2, -3):
        with pytest.raises(IndexError):
            columns.path(beyond)
    with pytest.raises(ValueError, match="step"):
        columns[::2]


# --- what can't be in a batch


@pytest.mark.parametrize(
    "key",
    ["a\udcff", "\udcc3(", "\udced\udca0\udc80", "\udcc0\udc80", "x\udcf5\udc80\udc80\udc80", "é\udcc3"],
)
def test_a_key_that_is_not_utf8(key: str) -> None:
    columns = parse_list_page(page(Item("before"), Item(key), Item("after")), "", False, True)[0]
    with pytest.raises(ListError, match="UTF-8") as caught:
        columns.__arrow_c_array__()
    assert repr(key) in str(caught.value)
    assert [row["path"] for row in rows(columns[:1]) + rows(columns[2:])] == ["before", "after"]
    with pytest.raises(ListError, match="UTF-8"):
        columns_of([meta(key)]).__arrow_c_array__()


@pytest.mark.parametrize("lacking", [{"size": -1}, {"size": None}, {"last_modified": None}])
def test_an_object_of_unknown_size_or_date(lacking: dict[str, Any]) -> None:
    with pytest.raises(ListError, match="'k'"):
        columns_of([{**meta("k"), **lacking}])


def test_a_page_that_is_cut_anywhere_leaves_nothing() -> None:
    body = page(Item("a&b", 12), Item("c" * 300), prefixes("p/"))
    for length in range(len(body)):
        with pytest.raises(ListError):
            parse_list_page(body[:length], "", True, True)


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_mutations_are_read_as_dicts_are_or_not_at_all(seed: int) -> None:
    source = random.Random(seed)
    body = bytearray(page(Item("p/a&b", 12), Item("p/%C3%A9", 3, None), Item("p/ü"), url=source.random() < 0.5))
    for _ in range(source.randrange(1, 6)):
        at = source.randrange(len(body))
        body[at : at + source.randrange(3)] = source.choice([b"", b"<", b"&", b"%", b"\xff", b"9", b"/>", b"<Key>"])
    as_dicts, as_columns = (_read(bytes(body), columns) for columns in (False, True))
    if isinstance(as_dicts, str):
        assert as_columns == as_dicts
    else:
        with suppress(ListError):  # not UTF-8
            assert rows(as_columns) == as_dicts


def _read(body: bytes, columns: bool) -> Any:
    """The objects of a page, or why it is none."""
    try:
        return parse_list_page(body, "", True, columns)[0]
    except ListError as error:
        return str(error)


# --- whose memory it is


class _Array(ctypes.Structure):
    pass


_Array._fields_ = [
    *((name, ctypes.c_int64) for name in ("length", "null_count", "offset", "n_buffers", "n_children")),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_Array))),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.c_void_p),
    ("private_data", ctypes.c_void_p),
]


def addresses(columns: Columns) -> list[list[int]]:
    """Where each column's buffers are, as the C data interface says; 0 for none."""
    capsule = columns.__arrow_c_array__()[1]
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    array = _Array.from_address(pointer(capsule, b"arrow_array"))
    children = [array.children[i].contents for i in range(array.n_children)]
    return [[child.buffers[i] or 0 for i in range(child.n_buffers)] for child in children]


def of_pyarrow(batch: pa.RecordBatch) -> list[list[int]]:
    return [[buffer.address if buffer else 0 for buffer in column.buffers()] for column in batch.columns]


def some_columns(count: int = 1000) -> Columns:
    when = datetime(2026, 1, 2, tzinfo=timezone.utc)
    each = (meta(f"p/{i}", i, f'"{i}"' if i % 3 else None, when + timedelta(seconds=i)) for i in range(count))
    return columns_of([{**row, "version": "v"} for row in each])


def test_nobody_copies() -> None:
    columns = some_columns()
    own = addresses(columns)
    assert all(buffers[-1] % 64 == 0 for buffers in own)
    batch = arro3.core.RecordBatch.from_arrow(columns)
    assert of_pyarrow(pa.record_batch(batch)) == own == of_pyarrow(pa.record_batch(columns))
    assert [list(child.buffers) for child in nanoarrow.c_array(batch).children] == own
    part = addresses(columns[300:700])
    assert [buffers[1:] for buffers in part] == [buffers[1:] for buffers in own]


def test_a_batch_outlives_what_it_came_from() -> None:
    columns = some_columns()
    expected = rows(columns)
    part = pa.record_batch(arro3.core.RecordBatch.from_arrow(columns[10:20]))
    column = pa.record_batch(columns).column("path")
    del columns
    gc.collect()
    assert part.to_pylist() == expected[10:20]
    assert column.to_pylist() == [row["path"] for row in expected]
    assert live_objects()["columns"] == 1
    del part, column
    gc.collect()
    assert (live_objects()["columns"], live_objects()["arrays"]) == (0, 0)


def test_capsules_that_nobody_imports() -> None:
    columns = some_columns(3)
    before = live_objects()
    capsules = [columns.__arrow_c_array__() for _ in range(10)]
    assert live_objects()["arrays"] == before["arrays"] + 60
    del capsules
    columns.__arrow_c_schema__()
    assert live_objects() == before


def test_capsules_that_were_imported_are_not_released_twice() -> None:
    columns = some_columns(3)
    schema, array = columns.__arrow_c_array__()
    batch = pa.RecordBatch._import_from_c_capsule(schema, array)
    del schema, array
    assert batch.to_pylist() == rows(columns)
    del batch
    assert live_objects()["arrays"] == 0


def test_an_interpreter_that_ends_with_batches_and_capsules_alive() -> None:
    program = """
import arro3.core, pyarrow as pa
from tests.parse.test_columns import some_columns
class Late:
    def __del__(self): self.batch.validate(full=True)
columns = some_columns()
kept = [pa.record_batch(columns), arro3.core.RecordBatch.from_arrow(columns), columns.__arrow_c_array__()]
late = Late(); late.batch = pa.record_batch(columns); late.itself = late
import builtins; builtins.kept = kept, late
"""
    command = [sys.executable, "-X", "dev", "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
