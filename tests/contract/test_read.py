"""get, get_range, get_ranges, head."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from cumulo.exceptions import GenericError, NotModifiedError, NotSupportedError, PreconditionError

DATA = bytes(range(256)) * 40


@pytest.fixture
def filled(store: Any) -> Any:
    """A store with one object, `a/b.bin`."""
    store.put("a/b.bin", DATA)
    return store


def test_get_gives_all_bytes_and_metadata(filled: Any, call: Callable[..., Any]) -> None:
    result = call(filled, "get", "a/b.bin")
    assert result.meta["path"] == "a/b.bin"
    assert result.meta["size"] == len(DATA)
    assert result.range == (0, len(DATA))
    assert result.meta["last_modified"].tzinfo is not None
    content = result.bytes()
    assert content == DATA
    assert bytes(content) == DATA


def test_a_result_is_consumed_once(filled: Any) -> None:
    result = filled.get("a/b.bin")
    result.bytes()
    with pytest.raises(ValueError, match="consumed"):
        result.bytes()


def test_stream_gives_chunks_of_the_size_asked_for(filled: Any) -> None:
    chunks = list(filled.get("a/b.bin").stream(min_chunk_size=1000))
    assert b"".join(chunks) == DATA
    assert all(len(chunk) == 1000 for chunk in chunks[:-1])
    assert all(type(chunk) is bytes for chunk in chunks)


def test_stream_without_a_smallest_chunk(filled: Any) -> None:
    assert b"".join(filled.get("a/b.bin").stream(min_chunk_size=0)) == DATA
    assert len(list(filled.get("a/b.bin").stream(min_chunk_size=0))) == 1
    with pytest.raises(ValueError, match="min_chunk_size"):
        filled.get("a/b.bin").stream(min_chunk_size=-1)


def test_stream_from_asyncio(filled: Any) -> None:
    async def read() -> bytes:
        result = await filled.get_async("a/b.bin")
        return b"".join([chunk async for chunk in result.stream(min_chunk_size=3000)])

    assert asyncio.run(read()) == DATA


@pytest.mark.parametrize(
    ("option", "start", "end"),
    [((5, 25), 5, 25), ([0, 1], 0, 1), ({"offset": 10000}, 10000, 10240), ({"suffix": 7}, 10233, 10240),
     ((10230, 99999), 10230, 10240), ({"suffix": 99999}, 0, 10240)],
)  # fmt: skip
def test_get_with_a_range(filled: Any, option: Any, start: int, end: int) -> None:
    if type(filled).__name__ == "AzureStore" and "suffix" in option:
        with pytest.raises(NotSupportedError, match="no suffix ranges"):
            filled.get("a/b.bin", options={"range": option})
        return
    result = filled.get("a/b.bin", options={"range": option})
    assert result.range == (start, end)
    assert result.meta["size"] == len(DATA)
    assert result.bytes() == DATA[start:end]


def test_get_range(filled: Any, call: Callable[..., Any]) -> None:
    assert call(filled, "get_range", "a/b.bin", start=3, end=1000) == DATA[3:1000]
    assert call(filled, "get_range", "a/b.bin", start=3, length=5) == DATA[3:8]
    assert call(filled, "get_range", "a/b.bin", start=10239, length=500) == DATA[10239:]


def test_a_range_behind_the_end_is_an_error(filled: Any, call: Callable[..., Any]) -> None:
    with pytest.raises(GenericError):
        call(filled, "get_range", "a/b.bin", start=10240, length=1)


@pytest.mark.parametrize(
    "bad",
    [
        {"start": 0},
        {"start": 0, "end": 1, "length": 1},
        {"start": 5, "end": 5},
        {"start": 5, "end": 2},
        {"start": -1, "end": 5},
        {"start": 0, "length": 0},
        {"start": 2**63 - 1, "length": 10},
    ],
)
def test_ranges_that_are_none(filled: Any, bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"must be|empty|exactly one"):
        filled.get_range("a/b.bin", **bad)


@pytest.mark.parametrize("coalesce", [0, 1, 100, 1 << 20])
def test_get_ranges(filled: Any, call: Callable[..., Any], coalesce: int) -> None:
    starts, ends = [500, 0, 5, 5000, 10200, 7, 500], [600, 5, 10, 5001, 10300, 300, 600]
    found = call(filled, "get_ranges", "a/b.bin", starts=starts, ends=ends, coalesce=coalesce)
    assert [bytes(part) for part in found] == [DATA[s:e] for s, e in zip(starts, ends, strict=True)]


def test_get_ranges_of_unequal_lists(filled: Any) -> None:
    with pytest.raises(ValueError, match="as many"):
        filled.get_ranges("a/b.bin", starts=[1, 2], ends=[3])
    assert filled.get_ranges("a/b.bin", starts=[], ends=[]) == []


def test_head(filled: Any, call: Callable[..., Any]) -> None:
    meta = call(filled, "head", "a/b.bin")
    assert meta["size"] == len(DATA)
    assert meta["path"] == "a/b.bin"
    assert meta["e_tag"]
    assert meta == filled.get("a/b.bin").meta


@pytest.mark.parametrize("verb", ["get", "head"])
def test_a_missing_object(store: Any, call: Callable[..., Any], verb: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        call(store, verb, "no/such")
    assert caught.value.path == "no/such"  # type: ignore[attr-defined]
    assert "no/such" in str(caught.value)


def test_head_option_transfers_nothing(filled: Any) -> None:
    result = filled.get("a/b.bin", options={"head": True})
    assert result.meta["size"] == len(DATA)
    assert result.bytes() == b""


def test_conditions_by_etag(filled: Any) -> None:
    etag = filled.head("a/b.bin")["e_tag"]
    assert filled.get("a/b.bin", options={"if_match": etag}).bytes() == DATA
    with pytest.raises(NotModifiedError):
        filled.get("a/b.bin", options={"if_none_match": etag})
    with pytest.raises(PreconditionError):
        filled.get("a/b.bin", options={"if_match": '"other"'})
    assert filled.get("a/b.bin", options={"if_none_match": '"other"'}).bytes() == DATA


def test_conditions_by_date(filled: Any) -> None:
    written = filled.head("a/b.bin")["last_modified"].astimezone(timezone.utc)
    before, after = written - timedelta(hours=1), written + timedelta(seconds=1)
    assert filled.get("a/b.bin", options={"if_modified_since": before}).bytes() == DATA
    assert filled.get("a/b.bin", options={"if_unmodified_since": after}).bytes() == DATA
    with pytest.raises(PreconditionError):
        filled.get("a/b.bin", options={"if_unmodified_since": before})
    with pytest.raises(ValueError, match="time zone"):
        filled.get("a/b.bin", options={"if_modified_since": datetime(2020, 1, 1)})


def test_unknown_options_are_refused(store: Any) -> None:
    with pytest.raises(ValueError, match="if_mach"):
        store.get("a", options={"if_mach": "x"})


@pytest.mark.parametrize("bad", ["a\r\nX: y", "a\nb", "a\x00b"])
def test_nothing_is_injected_into_headers(store: Any, bad: str) -> None:
    with pytest.raises(ValueError, match="control"):
        store.get("a", options={"if_match": bad})


def test_an_empty_object(store: Any, call: Callable[..., Any]) -> None:
    call(store, "put", "empty", b"")
    assert call(store, "get", "empty").bytes() == b""
    assert call(store, "head", "empty")["size"] == 0
    assert list(store.get("empty").stream()) == []
    with pytest.raises(GenericError):
        store.get_range("empty", start=0, length=1)


def test_dropping_results_unread(filled: Any) -> None:
    for _ in range(50):
        filled.get("a/b.bin")
    assert filled.get("a/b.bin").bytes() == DATA
