"""What a file system does beyond fsspec's own suites, over memory, the local disk and a real S3 server."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from fsspec.callbacks import Callback

from cumulo.exceptions import NotSupportedError, UnknownConfigurationKeyError
from cumulo.fsspec import SUPPORTED_PROTOCOLS, BufferedFile, FsspecStore, register
from cumulo.store import S3Store
from tests.faults import FaultServer, Object
from tests.s3.support import list_page, targets
from tests.servers import S3Server

from .conftest import KINDS, file_system, s3_options

DATA = bytes(range(256)) * 400
TREE = ("a.txt", "b/c.txt", "b/d/e.bin", "b/d/f.txt", "g h+ü.txt")


@pytest.fixture(params=KINDS)
def placed(request: pytest.FixtureRequest) -> tuple[Any, str]:
    """A file system, and a place in it that has `TREE`."""
    fs, path = file_system(request.param, request)
    fs.pipe({f"{path}/{name}": name.encode() for name in TREE})
    return fs, path


def below(path: str, *names: str) -> list[str]:
    """Names in the file system's form."""
    return sorted(f"{path}/{name}" for name in names)


# -- what there is


def test_listing(placed: tuple[Any, str]) -> None:
    fs, path = placed
    assert fs.ls(path, detail=False) == below(path, "a.txt", "b", "g h+ü.txt")
    entries = {entry["name"]: entry for entry in fs.ls(path, detail=True)}
    assert entries[f"{path}/b"]["type"] == "directory"
    for entry in (entries[f"{path}/a.txt"], fs.info(f"{path}/a.txt")):
        assert entry | {"last_modified": None} == {
            "name": f"{path}/a.txt", "size": 5, "type": "file", "last_modified": None, "version": None,
            "e_tag": entries[f"{path}/a.txt"]["e_tag"],
        }  # fmt: skip
    assert fs.ls(f"{path}/a.txt", detail=False) == [f"{path}/a.txt"]
    with pytest.raises(FileNotFoundError):
        fs.ls(f"{path}/missing")
    assert fs.find(path) == below(path, *TREE)
    assert fs.find(path, withdirs=True) == sorted([path, *below(path, *TREE, "b", "b/d")])
    assert fs.find(path, maxdepth=1) == below(path, "a.txt", "g h+ü.txt")
    assert fs.find(f"{path}/a.txt") == [f"{path}/a.txt"]
    assert fs.find(f"{path}/missing") == []
    assert fs.glob(f"{path}/**/*.txt") == below(path, "a.txt", "b/c.txt", "b/d/f.txt", "g h+ü.txt")
    assert fs.glob(f"{path}/b/*") == below(path, "b/c.txt", "b/d")
    assert fs.du(path) == sum(len(name.encode()) for name in TREE)
    assert [sorted(files) for _, _, files in fs.walk(path)] == [["a.txt", "g h+ü.txt"], ["c.txt"], ["e.bin", "f.txt"]]


def test_asking_for_one(placed: tuple[Any, str]) -> None:
    fs, path = placed
    assert fs.exists(f"{path}/b")
    assert fs.isdir(f"{path}/b")
    assert fs.isdir(path)
    assert fs.isfile(f"{path}/a.txt")
    assert not fs.exists(f"{path}/b/c")
    assert fs.size(f"{path}/a.txt") == 5
    assert fs.modified(f"{path}/a.txt").tzinfo is not None
    assert fs.info(fs.unstrip_protocol(f"{path}/a.txt"))["name"] == f"{path}/a.txt"
    with pytest.raises(FileNotFoundError):
        fs.info(f"{path}/nowhere")


def test_nothing_is_remembered(placed: tuple[Any, str]) -> None:
    fs, path = placed
    fs.ls(path)
    fs.pipe_file(f"{path}/new.txt", b"1")
    assert f"{path}/new.txt" in fs.ls(path, detail=False)
    fs.invalidate_cache()


# -- reading and writing


@pytest.mark.parametrize(
    ("start", "end"),
    [(None, None), (10, 20), (None, 5), (5, None), (-7, None), (-7, -2), (3, -3), (None, -1), (5, 5), (9, 3),
     (len(DATA), None), (len(DATA) + 5, len(DATA) + 9), (len(DATA) - 3, len(DATA) + 10)],
)  # fmt: skip
def test_parts_of_a_file(placed: tuple[Any, str], start: int | None, end: int | None) -> None:
    fs, path = placed
    fs.pipe_file(f"{path}/data", DATA)
    assert fs.cat_file(f"{path}/data", start=start, end=end) == DATA[start:end]
    assert fs.cat_ranges([f"{path}/data"], [start], [end]) == [DATA[start:end]]


def test_many_ranges(placed: tuple[Any, str]) -> None:
    fs, path = placed
    fs.pipe_file(f"{path}/data", DATA)
    paths = [*[f"{path}/data"] * 4, f"{path}/a.txt", f"{path}/missing", f"{path}/data"]
    starts, ends = [0, 100, 50_000, 3, 1, 0, -4], [10, 200, 60_000, 3, 3, 9, None]
    found = fs.cat_ranges(paths, starts, ends)
    assert found[:5] == [DATA[:10], DATA[100:200], DATA[50_000:60_000], b"", b".t"]
    assert isinstance(found[5], FileNotFoundError)
    assert found[6] == DATA[-4:]
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges(paths, starts, ends, on_error="raise")
    with pytest.raises(ValueError, match="as many"):
        fs.cat_ranges(paths, starts[1:], ends)
    many = [f"{path}/data"] * 3
    assert fs.cat_ranges(many, [1, 2, len(DATA)], [5, 6, len(DATA) + 1], max_gap=0) == [DATA[1:5], DATA[2:6], b""]
    assert fs.cat_ranges([f"{path}/data", f"{path}/a.txt"], 0, 3) == [DATA[:3], b"a.t"]


def test_many_files(placed: tuple[Any, str], tmp_path: Path) -> None:
    fs, path = placed
    assert fs.cat(path, recursive=True) == {f"{path}/{name}": name.encode() for name in TREE}
    assert fs.cat([f"{path}/a.txt"]) == {f"{path}/a.txt": b"a.txt"}
    assert fs.cat(f"{path}/a.txt") == b"a.txt"
    wanted = [f"{path}/a.txt", f"{path}/missing"]
    assert set(fs.cat(wanted, on_error="omit")) == {f"{path}/a.txt"}
    assert isinstance(fs.cat(wanted, on_error="return")[f"{path}/missing"], FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        fs.cat(wanted)
    fs.get(path, str(tmp_path / "got"), recursive=True)
    found = {str(each.relative_to(tmp_path / "got")) for each in (tmp_path / "got").rglob("*") if each.is_file()}
    assert found == set(TREE)
    fs.put(str(tmp_path / "got"), f"{path}/put", recursive=True)
    assert fs.find(f"{path}/put") == below(f"{path}/put", *TREE)
    fs.copy(f"{path}/b", f"{path}/copy", recursive=True)
    assert fs.find(f"{path}/copy") == below(f"{path}/copy", "c.txt", "d/e.bin", "d/f.txt")
    fs.mv(f"{path}/a.txt", f"{path}/moved.txt")
    assert (fs.exists(f"{path}/a.txt"), fs.cat(f"{path}/moved.txt")) == (False, b"a.txt")
    fs.rm(f"{path}/copy", recursive=True)
    assert not fs.exists(f"{path}/copy")
    fs.rm([f"{path}/b/c.txt", f"{path}/moved.txt"])
    assert fs.glob(f"{path}/b/*.txt") == []
    with pytest.raises(FileNotFoundError):
        fs.rm(f"{path}/nowhere", recursive=True)


def test_names_that_begin_so(placed: tuple[Any, str]) -> None:
    fs, path = placed
    assert fs.find(f"{path}/b", prefix="d/") == below(path, "b/d/e.bin", "b/d/f.txt")
    assert fs.find(path, prefix="g") == below(path, "g h+ü.txt")
    assert set(fs.find(path, prefix="b/c", detail=True)) == set(below(path, "b/c.txt"))
    assert fs.find(path, prefix="nothing", withdirs=True) == []
    assert fs.glob(f"{path}/b/d/f*") == below(path, "b/d/f.txt")
    assert fs.find(path, prefix="a", maxdepth=1, withdirs=True) == below(path, "a.txt")


def test_versions_are_not_passed_over(placed: tuple[Any, str], tmp_path: Path) -> None:
    """As options of s3fs and gcsfs: what is current is not what was asked for."""
    fs, path = placed
    file = f"{path}/a.txt"
    calls: list[Any] = [
        fs.open,
        fs.cat_file,
        fs.info,
        lambda name, **how: fs.get_file(name, str(tmp_path / "x"), **how),
    ]
    for call in calls:
        with pytest.raises(NotSupportedError, match="version"):
            call(file, version_id="1")
    with pytest.raises(NotSupportedError, match="generation"):
        fs.open(file, generation=1)
    assert fs.cat_file(file, version_id=None) == b"a.txt"


def test_trees_move_as_a_whole(placed: tuple[Any, str]) -> None:
    fs, path = placed
    fs.mv(f"{path}/b", f"{path}/moved", recursive=True)
    assert fs.find(path) == below(path, "a.txt", "g h+ü.txt", "moved/c.txt", "moved/d/e.bin", "moved/d/f.txt")
    with pytest.raises(FileNotFoundError):
        fs.copy(f"{path}/nowhere", f"{path}/x", recursive=True)
    with pytest.raises(FileNotFoundError):
        fs.mv(f"{path}/nowhere", f"{path}/x")


def test_a_tree_is_not_lost_on_its_way(ministack: S3Server) -> None:
    """fsspec itself passes over files that are not found, and so over a bucket to copy to."""
    fs = FsspecStore("s3", **s3_options(ministack))
    bucket = ministack.new_bucket()
    fs.pipe({f"{bucket}/{name}": b"1" for name in TREE})
    for call in (fs.copy, fs.mv):
        with pytest.raises(FileNotFoundError, match="NoSuchBucket"):
            call(f"{bucket}/b", "there-is-no-such-bucket/b", recursive=True)
    assert fs.find(bucket) == below(bucket, *TREE)
    fs.rm(f"{bucket}/b/d", recursive=True)
    fs.rm(f"{bucket}/b", recursive=True, maxdepth=1)
    with pytest.raises(FileNotFoundError):
        fs.rm(f"{bucket}/b", recursive=True, maxdepth=1)


def test_getting_trees(placed: tuple[Any, str], tmp_path: Path) -> None:
    fs, path = placed
    large = bytes(range(256)) * 8192
    fs.pipe({f"{path}/b/large": large, f"{path}/b/d/empty": b""})
    for deep, names in ((None, {"c.txt", "large", "d/e.bin", "d/f.txt", "d/empty"}), (1, {"c.txt", "large"})):
        got = tmp_path / f"got-{deep}"
        fs.get(f"{path}/b", str(got), recursive=True, maxdepth=deep)
        found = {str(each.relative_to(got)): each.read_bytes() for each in got.rglob("*") if each.is_file()}
        assert found.keys() == names
        assert all(content == fs.cat_file(f"{path}/b/{name}") for name, content in found.items())
    fs.get([f"{path}/a.txt", f"{path}/b/large"], [str(tmp_path / "1"), str(tmp_path / "2")])
    assert (tmp_path / "2").read_bytes() == large
    fs.get(f"{path}/b/*.txt", f"{tmp_path}/globbed/")
    assert (tmp_path / "globbed" / "c.txt").read_bytes() == b"b/c.txt"
    (tmp_path / "kept" / "c.txt").mkdir(parents=True)
    fs.get(f"{path}/b/", str(tmp_path / "kept"), recursive=True)  # as fsspec has it: what is a directory stays one
    assert (tmp_path / "kept" / "c.txt").is_dir()
    with pytest.raises(FileNotFoundError):
        fs.get(f"{path}/nowhere", str(tmp_path / "x"), recursive=True)


def test_small_files_of_a_tree_cost_no_more_than_a_request(fault_server: FaultServer, tmp_path: Path) -> None:
    keys = ["d/a", "d/e/b", "d/e/f/c"]
    fault_server.script("/bucket", list_page(*keys))
    for key in keys:
        fault_server.script(f"/bucket/{key}", Object(b"1"))
    fs = FsspecStore(
        "s3", endpoint=fault_server.url, region="us-east-1", skip_signature=True, client_options={"allow_http": True},
        skip_instance_cache=True,
    )  # fmt: skip
    fs.get("bucket/d", str(tmp_path / "got"), recursive=True)
    assert (tmp_path / "got/e/f/c").read_bytes() == b"1"
    gets = [each for each in targets(fault_server) if "?" not in each]
    assert sorted(gets) == [f"GET /bucket/{key}" for key in keys]


class Heard(Callback):
    """Keeps all that it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.children: list[Heard] = []

    def branched(self, path_1: Any, path_2: Any, **kwargs: Any) -> Heard:
        self.children.append(Heard())
        return self.children[-1]


def test_progress(placed: tuple[Any, str], tmp_path: Path) -> None:
    fs, path = placed
    (tmp_path / "data").write_bytes(DATA)
    heard = Heard()
    fs.put_file(str(tmp_path / "data"), f"{path}/data", callback=heard)
    assert (heard.size, heard.value) == (len(DATA), len(DATA))
    heard = Heard()
    fs.get_file(f"{path}/data", str(tmp_path / "again"), callback=heard)
    assert (heard.size, heard.value) == (len(DATA), len(DATA))
    assert (tmp_path / "again").read_bytes() == DATA
    heard = Heard()
    fs.put([str(tmp_path / "data"), str(tmp_path / "again")], [f"{path}/1", f"{path}/2"], callback=heard)
    assert (heard.size, heard.value) == (2, 2)
    assert [child.value for child in heard.children] == [len(DATA)] * 2
    heard = Heard()
    fs.get(f"{path}/b", str(tmp_path / "b"), recursive=True, callback=heard)
    assert heard.value == heard.size


def test_a_download_that_fails_leaves_nothing(placed: tuple[Any, str], tmp_path: Path) -> None:
    fs, path = placed
    for callback in ({}, {"callback": Heard()}):
        with pytest.raises(FileNotFoundError):
            fs.get_file(f"{path}/missing", str(tmp_path / "x"), **callback)
        assert not (tmp_path / "x").exists()


# -- files


def test_files(placed: tuple[Any, str]) -> None:
    fs, path = placed
    with fs.open(f"{path}/x", "wb") as file:
        assert isinstance(file, BufferedFile)
        assert file.write(DATA) == file.tell() == len(DATA)
    with fs.open(f"{path}/x") as file:
        assert file.size == len(DATA)
        assert file.read(3) == DATA[:3]
        assert file.seek(-3, os.SEEK_END) == file.loc == len(DATA) - 3
        assert file.read() == DATA[-3:]
        assert file.info()["size"] == len(DATA)
        again = pickle.loads(pickle.dumps(file)) if "memory" not in fs.protocol else file
        assert again.tell() == len(DATA)
    assert file.closed
    with fs.open(f"{path}/t", "w", encoding="utf-8") as text:
        text.write("grün\nblau\n")
    with fs.open(f"{path}/t", "rt", encoding="utf-8") as text:
        assert text.readlines() == ["grün\n", "blau\n"]
    with fs.open(f"{path}/z.gz", "wb", compression="infer") as file:
        file.write(DATA)
    with fs.open(f"{path}/z.gz", "rb", compression="infer") as file:
        assert file.read() == DATA
    for mode in ("ab", "r+b"):
        with pytest.raises(ValueError, match="mode"):
            fs.open(f"{path}/x", mode)
    assert fs.head(f"{path}/x", 5) == DATA[:5]
    assert fs.tail(f"{path}/x", 5) == DATA[-5:]
    assert fs.read_block(f"{path}/t", 1, 6, b"\n") == b"blau\n"
    fs.touch(f"{path}/empty")
    assert fs.size(f"{path}/empty") == 0


@pytest.mark.parametrize("mode", ["wb", "w"])
def test_an_error_in_the_with_block(placed: tuple[Any, str], mode: str) -> None:
    fs, path = placed

    def half() -> None:
        with fs.open(f"{path}/half", mode) as file:
            file.write(b"half" if "b" in mode else "half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert not fs.exists(f"{path}/half")


def test_a_file_that_is_dropped(placed: tuple[Any, str]) -> None:
    fs, path = placed
    file = fs.open(f"{path}/half", "wb")
    file.write(b"half")
    with pytest.warns(ResourceWarning, match="without close"):  # noqa: PT031 - what is collected is what is dropped
        del file
        gc.collect()
    assert not fs.exists(f"{path}/half")


def test_transactions(placed: tuple[Any, str]) -> None:
    fs, path = placed
    with fs.transaction:
        with fs.open(f"{path}/1", "wb") as file:
            file.write(b"1")
        assert not fs.exists(f"{path}/1")
    assert fs.cat(f"{path}/1") == b"1"

    def failing() -> None:
        with fs.transaction:
            with fs.open(f"{path}/2", "wb") as file:
                file.write(b"2")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert not fs.exists(f"{path}/2")


def test_tables(placed: tuple[Any, str]) -> None:
    fs, path = placed
    table = pa.table({"number": list(range(1000)), "word": ["x"] * 1000})
    for number in range(3):
        pq.write_table(table, f"{path}/tables/{number}.parquet", filesystem=fs)
    assert ds.dataset(f"{path}/tables", filesystem=fs).to_table().num_rows == 3000
    with fs.open(f"{path}/tables/0.parquet") as file:
        assert pd.read_parquet(file, columns=["number"])["number"].sum() == 499_500


# -- on the caller's own event loop


@pytest.mark.parametrize("kind", KINDS)
def test_asynchronous(kind: str, request: pytest.FixtureRequest) -> None:
    async def run() -> None:
        fs, path = file_system(kind, request, asynchronous=True)
        await fs._pipe({f"{path}/{name}": name.encode() for name in TREE})
        assert await fs._ls(path, detail=False) == below(path, "a.txt", "b", "g h+ü.txt")
        assert await fs._cat_ranges([f"{path}/a.txt"] * 2, [0, 2], [1, 4]) == [b"a", b"tx"]
        async with await fs.open_async(f"{path}/new", "wb") as file:
            await file.write(DATA)
        file = await fs.open_async(f"{path}/new", "rb")
        assert await file.read() == DATA
        await file.close()
        with pytest.raises(FileExistsError):
            async with await fs.open_async(f"{path}/new", "xb") as file:
                await file.write(b"1")
        await fs._rm(path, recursive=True)
        assert not await fs._exists(f"{path}/a.txt")

    asyncio.run(run())


# -- protocols and instances


@pytest.fixture
def registered() -> Iterator[None]:
    """cumulo's classes in fsspec's registry, for a test."""
    registry: Any = import_module("fsspec.registry")._registry
    before = dict(registry)
    register()
    register(["file", "memory"])
    yield
    registry.clear()
    registry.update(before)


def test_urls(registered: None, ministack: S3Server) -> None:
    options = s3_options(ministack)
    bucket = ministack.new_bucket()
    with fsspec.open(f"s3://{bucket}/a/x.csv", "wt", **options) as file:
        file.write("a,b\n1,2\n")
    assert pd.read_csv(f"s3://{bucket}/a/x.csv", storage_options=options).shape == (1, 2)
    pd.DataFrame({"n": [1, 2, 3]}).to_parquet(f"s3://{bucket}/a/x.parquet", storage_options=options)
    assert pd.read_parquet(f"s3://{bucket}/a/x.parquet", storage_options=options)["n"].sum() == 6
    fs, path = fsspec.url_to_fs(f"s3://{bucket}/a", **options)
    assert (path, fs.ls(path, detail=False)) == (f"{bucket}/a", [f"{bucket}/a/x.csv", f"{bucket}/a/x.parquet"])
    assert fsspec.get_mapper(f"s3://{bucket}/a", **options)["x.csv"] == b"a,b\n1,2\n"
    assert [file.path for file in fsspec.open_files(f"s3://{bucket}/a/*.csv", **options)] == [f"{bucket}/a/x.csv"]
    with fsspec.open(f"simplecache::s3://{bucket}/a/x.csv", "rb", s3=options) as file:
        assert file.read() == b"a,b\n1,2\n"


def test_an_instance_is_made_once(registered: None, ministack: S3Server) -> None:
    options = s3_options(ministack)
    fs = fsspec.filesystem("s3", **options)
    assert type(fs).__name__ == "FsspecStore_s3"
    assert fsspec.filesystem("s3", **options) is fs
    other = fsspec.filesystem("s3", **options, max_cache_size=2)
    assert other is not fs
    copied = pickle.loads(pickle.dumps(other))
    bucket = ministack.new_bucket()
    copied.pipe(f"{bucket}/x", b"1")
    assert copied.cat(f"s3://{bucket}/x") == b"1"
    assert fs.store_and_key(f"{bucket}/x")[0] is fs.store_and_key(f"{bucket}/y")[0]
    assert isinstance(fs.store_and_key(f"{bucket}/x")[0], S3Store)


def test_a_bucket_is_no_file(ministack: S3Server) -> None:
    """A plain `ValueError` would tell rasterio, which tries the path `test`, that `fs.open` opens no files."""
    fs = FsspecStore("s3", **s3_options(ministack))
    for path, mode in (("test", "rb"), ("s3://test/", "rb"), ("test", "wb")):
        with pytest.raises(IsADirectoryError, match="test"):
            fs.open(path, mode)
    with pytest.raises(IsADirectoryError, match="test"):
        asyncio.run(FsspecStore("s3", asynchronous=True, **s3_options(ministack)).open_async("test"))


def test_a_hosts_own_page(fault_server: FaultServer) -> None:
    fault_server.script("/", Object(b"a page"))
    fs = FsspecStore("http", client_options={"allow_http": True})
    for url in (fault_server.url, f"{fault_server.url}/"):
        assert fs.cat_file(url) == b"a page"
        with fs.open(url) as file:
            assert file.read() == b"a page"


def test_between_buckets_and_names_that_are_odd(ministack: S3Server) -> None:
    fs = FsspecStore("s3", **s3_options(ministack))
    one, two = ministack.new_bucket(), ministack.new_bucket()
    fs.pipe(f"{one}/x", b"1")
    fs.copy(f"{one}/x", f"{two}/y")
    fs.mv(f"{one}/x", f"{two}/z")
    assert fs.ls(two, detail=False) == [f"{two}/y", f"{two}/z"]
    assert fs.ls(one) == []
    ministack.boto3.put_object(Bucket=one, Key="marked/", Body=b"")
    ministack.boto3.put_object(Bucket=one, Key="marked/x", Body=b"1")
    ministack.boto3.put_object(Bucket=one, Key="only/", Body=b"")
    assert fs.ls(f"{one}/marked", detail=False) == [f"{one}/marked/x"]
    assert fs.isdir(f"{one}/only")
    assert fs.ls(f"{one}/only") == []
    assert fs.find(one, withdirs=True) == [one, f"{one}/marked", f"{one}/marked/x", f"{one}/only"]
    fs.rm(f"{one}/marked", recursive=True)
    fs.rm(f"{one}/only", recursive=True)
    assert "Contents" not in ministack.boto3.list_objects_v2(Bucket=one)
    with pytest.raises(FileNotFoundError):
        fs.ls("there-is-no-such-bucket")


def test_signed_urls(ministack: S3Server) -> None:
    fs = FsspecStore("s3", **s3_options(ministack))
    bucket = ministack.new_bucket()
    fs.pipe(f"{bucket}/x", b"1")
    assert "X-Amz-Signature" in fs.sign(f"{bucket}/x", expiration=10)


def test_web_servers(webdav: str) -> None:
    scheme, _, host = webdav.partition("://")
    fs = FsspecStore(scheme, client_options={"allow_http": True})
    url = f"{webdav}/from-fsspec"
    fs.pipe(f"{url}/x", DATA)
    assert fs.cat(f"{url}/x") == DATA
    assert fs.info(f"{url}/x?a=b")["size"] == len(DATA)
    assert fs.ls(url, detail=False) == [f"{host}/from-fsspec/x"]
    fs.rm(f"{url}/x")
    assert not fs.exists(f"{url}/x")


def test_protocols_and_options() -> None:
    for protocol in SUPPORTED_PROTOCOLS:
        fs = FsspecStore(protocol, skip_instance_cache=True)
        plain = "/a/b" if protocol == "file" else "a/b"
        assert fs._strip_protocol(f"{protocol}:///a/b/") == plain
        assert fs._strip_protocol([plain]) == [plain]
    assert FsspecStore("s3")._strip_protocol("s3a://bucket/key") == "bucket/key"
    assert FsspecStore("file")._strip_protocol("x") == os.path.join(os.getcwd(), "x")
    assert FsspecStore("file")._strip_protocol("/a//b/./c/") == "/a/b/c"
    with pytest.raises(ValueError, match="gs:// is not s3://"):
        FsspecStore("s3").info("gs://bucket/key")
    with pytest.raises(ValueError, match="begins with a bucket"):
        FsspecStore("s3").ls("")
    with pytest.raises(UnknownConfigurationKeyError, match="region"):
        FsspecStore("s3", regiom="x").info("bucket/key")
    with pytest.warns(UserWarning, match="protocol"):
        FsspecStore("ftp", skip_instance_cache=True)
    names = {
        "gcs": "GCSStore", "gs": "GCSStore", "az": "AzureStore", "abfs": "AzureStore", "abfss": "AzureStore",
        "adl": "AzureStore", "azure": "AzureStore", "s3a": "S3Store", "https": "HTTPStore",
    }  # fmt: skip
    for protocol, name in names.items():
        options = {"account_name": "account"} if name == "AzureStore" else {}
        fs = FsspecStore(protocol, **options)
        assert type(fs.store_and_key(f"{protocol}://bucket/key")[0]).__name__ == name


def test_in_a_forked_child(ministack: S3Server) -> None:
    fs = FsspecStore("s3", **s3_options(ministack))
    bucket = ministack.new_bucket()
    fs.pipe(f"{bucket}/x", DATA)
    file = fs.open(f"{bucket}/x")
    file.read(10)
    child = os.fork()
    if child == 0:
        try:
            right = fs.cat(f"{bucket}/x") == DATA and file.read() == DATA[10:]
            right = right and FsspecStore("s3", **s3_options(ministack)).exists(f"{bucket}/x")
            os._exit(0 if right else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert fs.cat(f"{bucket}/x") == DATA
