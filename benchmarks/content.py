"""What the origin serves: the files on disk, their layout, and how to tell that bytes read back are the right ones.

Every 16 KiB block of every file starts with the file's number and the block's index, so that a range answered from the
wrong place or from the wrong object can't go unnoticed. Cases read the expected bytes straight from these files.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator
from pathlib import Path

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

BUCKET = "bench"
LISTING_BUCKET = "listing"
SINK_BUCKET = "sink"
BLOBS_BUCKET = "blobs"
"""The listing bucket's objects, as Azure lists them."""

FEW_BUCKET = "few"
FEW_BLOBS_BUCKET = "fewblobs"
"""The last fifth of these listings, for clients that take minutes for all of it."""
FEW = 20_000
BLOB_SINK = "blobsink"
"""A sink that answers 201, as Azure does and its SDK wants it."""

BIG_KEY = "big.bin"
STREAM_KEY = "stream.bin"
SMALL_KEY = "small.bin"
OBJECTS = 256
OBJECT_KEYS = [f"objects/{index:03d}.bin" for index in range(OBJECTS)]
COG_KEYS = [f"cog/{index}.tif" for index in range(4)]

SIZES: dict[str, int] = {
    BIG_KEY: GIB,
    STREAM_KEY: 16 * MIB,
    SMALL_KEY: 16 * KIB,
    **dict.fromkeys(OBJECT_KEYS, MIB),
    **dict.fromkeys(COG_KEYS, 64 * MIB),
}
TOTAL_SIZE = sum(SIZES.values())

LIST_PAGES = 100
KEYS_PER_PAGE = 1000
BLOBS_PER_PAGE = 5000
LISTED_SIZE = 123_456

_BLOCK = 16 * KIB
_STAMP = struct.Struct("<QQ")


def write_files(root: Path) -> None:
    """Write every served object and every listing page under ``root``."""
    noise = bytearray(random.Random(20).randbytes(MIB))
    for number, (key, size) in enumerate(SIZES.items()):
        path = root / BUCKET / key
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.writelines(_stamped(noise, number, size))
    pages = root / "pages"
    pages.mkdir()
    for page in range(LIST_PAGES):
        (pages / f"{page_token(page)}.xml").write_text(_list_page(page))
        if page >= LIST_PAGES - FEW // KEYS_PER_PAGE:
            (pages / f"{page_token(page)}.json").write_text(_json_page(page))
    for page in range(LIST_PAGES * KEYS_PER_PAGE // BLOBS_PER_PAGE):
        (pages / f"blobs-{page_token(page)}.xml").write_text(_blob_page(page))


def read_range(root: str, key: str, start: int, length: int) -> bytes:
    """The bytes that a correct client gets for this range of ``key``."""
    with (Path(root) / BUCKET / key).open("rb") as file:
        file.seek(start)
        return file.read(length)


def listed_key(index: int) -> str:
    """The key at ``index`` of the 100,000 that the listing bucket holds."""
    return f"sentinel-2-l2a/{index // 1000:03d}/scene-{index:06d}/B{index % 12:02d}.tif"


def page_token(page: int) -> str:
    """The continuation token, and the file name, of one listing page."""
    return f"page{page:03d}"


def _stamped(noise: bytearray, number: int, size: int) -> Iterator[bytes]:
    for start in range(0, size, MIB):
        length = min(MIB, size - start)
        for offset in range(0, length, _BLOCK):
            _STAMP.pack_into(noise, offset, number, (start + offset) // _BLOCK)
        yield bytes(memoryview(noise)[:length])


def _list_page(page: int) -> str:
    first = page * KEYS_PER_PAGE
    contents = "".join(map(_list_entry, range(first, first + KEYS_PER_PAGE)))
    last = page == LIST_PAGES - 1
    token = "" if last else f"<NextContinuationToken>{page_token(page + 1)}</NextContinuationToken>"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{LISTING_BUCKET}</Name><Prefix></Prefix><MaxKeys>{KEYS_PER_PAGE}</MaxKeys>"
        f"<KeyCount>{KEYS_PER_PAGE}</KeyCount><IsTruncated>{str(not last).lower()}</IsTruncated>{token}"
        f"{contents}</ListBucketResult>"
    )


def _list_entry(index: int) -> str:
    return (
        f"<Contents><Key>{listed_key(index)}</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>"
        f"<ETag>&quot;{index:032x}&quot;</ETag><Size>{LISTED_SIZE + index}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )


def _json_page(page: int) -> str:
    """As Cloud Storage's JSON API lists objects, with what its clients ask for by default."""
    first = page * KEYS_PER_PAGE
    items = [
        {
            "kind": "storage#object",
            "id": f"{FEW_BUCKET}/{listed_key(index)}/1",
            "name": listed_key(index),
            "bucket": FEW_BUCKET,
            "generation": "1",
            "metageneration": "1",
            "contentType": "image/tiff",
            "storageClass": "STANDARD",
            "size": str(LISTED_SIZE + index),
            "md5Hash": "1B2M2Y8AsgTpgAmY7PhCfg==",
            "crc32c": "AAAAAA==",
            "etag": "CAE=",
            "timeCreated": "2026-01-02T03:04:05.000Z",
            "updated": "2026-01-02T03:04:05.000Z",
        }
        for index in range(first, first + KEYS_PER_PAGE)
    ]
    rest = {} if page == LIST_PAGES - 1 else {"nextPageToken": page_token(page + 1)}
    return json.dumps({"kind": "storage#objects", "items": items, **rest})


def _blob_page(page: int) -> str:
    first = page * BLOBS_PER_PAGE
    # adlfs goes by it.
    name = FEW_BLOBS_BUCKET if first >= LIST_PAGES * KEYS_PER_PAGE - FEW else BLOBS_BUCKET
    blobs = "".join(map(_blob_entry, range(first, first + BLOBS_PER_PAGE)))
    last = first + BLOBS_PER_PAGE == LIST_PAGES * KEYS_PER_PAGE
    marker = "<NextMarker />" if last else f"<NextMarker>{page_token(page + 1)}</NextMarker>"
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        f'<EnumerationResults ServiceEndpoint="http://127.0.0.1/" ContainerName="{name}">'
        f"<Blobs>{blobs}</Blobs>{marker}</EnumerationResults>"
    )


def _blob_entry(index: int) -> str:
    date = "Fri, 02 Jan 2026 03:04:05 GMT"
    return (
        f"<Blob><Name>{listed_key(index)}</Name><Properties><Creation-Time>{date}</Creation-Time>"
        f"<Last-Modified>{date}</Last-Modified><Etag>0x{index:015X}</Etag>"
        f"<Content-Length>{LISTED_SIZE + index}</Content-Length><Content-Type>image/tiff</Content-Type>"
        "<Content-Encoding /><Content-Language /><Content-CRC64 /><Content-MD5>1B2M2Y8AsgTpgAmY7PhCfg==</Content-MD5>"
        "<Cache-Control /><Content-Disposition /><BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier>"
        "<AccessTierInferred>true</AccessTierInferred><LeaseStatus>unlocked</LeaseStatus>"
        "<LeaseState>available</LeaseState><ServerEncrypted>true</ServerEncrypted></Properties><OrMetadata /></Blob>"
    )
