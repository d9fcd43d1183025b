"""The commands. Each is thin: planning is in plan.py and listing.py, copying in transfer.py and run.py."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING

import click

import cumulo

from . import options
from .listing import Entry, all_moves, entries, one_move
from .local import remove_tree
from .options import FAILED, command
from .plan import Move, Refusal, check_pair, folder
from .progress import Reporter
from .run import run_all
from .text import human, reason, shown
from .transfer import Transfers, from_stdin, to_stdout

if TYPE_CHECKING:
    from .connect import Connection
    from .urls import Location

_BATCH = 1000


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(cumulo.__version__, prog_name="cumulo")
def app() -> None:
    """Copy, list, show and remove objects.

    A LOCATION is s3://bucket/key, gs://bucket/key, az://container/key, https://host/path or another URL of a store,
    file:///path or a path; '-' is stdin or stdout. Accounts, credentials, regions and endpoints that are not given
    come from the environment and the providers' tools' files.

    Exit status: 0 done; 1 something failed, with reasons on stderr; 2 wrong usage; 130 interrupted.
    """


@app.command()
@click.argument("source", type=options.location)
@click.argument("target", type=options.location)
@click.option("-r", "--recursive", is_flag=True, help="All that is in the folder SOURCE.")
@click.option("--concurrency", metavar="N", type=click.IntRange(1, 1000), default=32, show_default=True,
              help="Objects at a time.")  # fmt: skip
@click.option("--content-type", metavar="TYPE", help="Instead of a guess from the file's name.")
@click.option(
    "--resume", is_flag=True, help="Go on with transfers of files that were broken off, and leave theirs for another."
)
@click.option("--dry-run", is_flag=True, help="Only print what would be copied.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but failures.")
@click.option("-v", "--verbose", is_flag=True, help="Print a line for each object.")
@command
def cp(
    connection: Connection,
    source: Location,
    target: Location,
    *,
    recursive: bool,
    concurrency: int,
    content_type: str | None,
    resume: bool,
    dry_run: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Copy SOURCE to TARGET.

    As with `aws s3 cp`: a TARGET that ends in a slash, is a bucket or is an existing directory takes the object under
    its own name; any other TARGET is the new object's whole name. With --recursive both are folders: what is below
    SOURCE comes below TARGET, without SOURCE's own name; s3://bucket/a means the keys that begin with a/, not ab.

    A download appears under its name when it is complete. Keys that no path can have, or that would lead out of
    TARGET, are refused. Within one account the server copies; otherwise the content passes through here, in parts.
    Attributes are not kept on disk; uploads get a content type by their name. Of a web server only WebDAV can be
    listed, which --recursive needs.
    """
    check_pair(source, target, recursive=recursive)
    connection.check(source, target)  # wrong options are wrong usage, and no failure of each object
    if "stream" in (source.kind, target.kind):
        return _pipe(connection, source, target, content_type, dry_run)
    if dry_run:
        return asyncio.run(_show(_moves(connection, source, target, recursive)))
    on_wire = connection.sent if target.remote else connection.received
    report = Reporter(quiet=quiet, verbose=verbose, on_wire=on_wire)
    transfers = Transfers(connection, content_type, report.moved, resume=resume)
    with report:
        asyncio.run(run_all(_moves(connection, source, target, recursive), transfers.run, concurrency, report))
    if recursive and source.remote and not report.total and not report.failures:
        raise FileNotFoundError(f"there is nothing below {source}")
    report.summary("copied")
    return FAILED if report.failures else 0


async def _moves(
    connection: Connection, source: Location, target: Location, recursive: bool
) -> AsyncIterator[Move | Refusal]:
    if not recursive:
        yield await one_move(connection, source, target)
        return
    async for move in all_moves(connection, source, target):
        yield move


def _pipe(connection: Connection, source: Location, target: Location, kind: str | None, dry_run: bool) -> int:
    if dry_run:
        click.echo(f"(dry run) {shown(f'{source} -> {target}')}")
    elif source.kind == "stream":
        from_stdin(connection, target, kind)
    else:
        to_stdout(connection, source)
    return 0


async def _show(moves: AsyncIterator[Move | Refusal]) -> int:
    status = 0
    async for move in moves:
        if isinstance(move, Refusal):
            click.echo(f"failed: {shown(move.label)}: {move.reason}", err=True)
            status = FAILED
        else:
            click.echo(f"(dry run) {shown(f'{move.source} -> {move.target}')}")
    return status


@app.command()
@click.argument("location", type=options.location)
@click.option("-r", "--recursive", is_flag=True, help="All that is in it, not only the first level.")
@click.option("-l", "--long", is_flag=True, help="With time (UTC) and size.")
@click.option("--human", "readable", is_flag=True, help="Sizes with units, with -l.")
@command
def ls(connection: Connection, location: Location, recursive: bool, long: bool, readable: bool) -> int:
    """List the object LOCATION, or what is in the folder LOCATION.

    Names are relative to the folder; those of folders end in a slash. Control characters are escaped.
    """
    status = 0
    for entry in entries(connection, _not_stream(location), recursive=recursive):
        if isinstance(entry, Refusal):
            click.echo(f"failed: {shown(entry.label)}: {entry.reason}", err=True)
            status = FAILED
        else:
            click.echo(_line(entry, long, readable))
    return status


def _not_stream(location: Location) -> Location:
    if location.kind == "stream":
        raise ValueError("'-' has no name here; for a file of that name write ./-")
    return location


def _line(entry: Entry, long: bool, readable: bool) -> str:
    if not long:
        return shown(entry.name)
    modified = f"{entry.modified:%Y-%m-%d %H:%M:%S}" if entry.modified else ""
    size = "" if entry.size is None else human(entry.size) if readable else str(entry.size)
    return f"{modified:19} {size:>12} {shown(entry.name)}"


@app.command()
@click.argument("location", type=options.location)
@click.option("--range", "span", type=options.span, metavar="RANGE",
              help="Only these bytes: 0-99 (both included), 100- or -50 (the last 50).")  # fmt: skip
@command
def cat(connection: Connection, location: Location, span: tuple[int, int | None] | int | None) -> None:
    """Write the object LOCATION to stdout; '-' writes what comes on stdin."""
    if location.kind == "stream" and span is not None:
        raise ValueError("stdin has no ranges")
    to_stdout(connection, location, span)


@app.command()
@click.argument("location", type=options.location)
@command
def head(connection: Connection, location: Location) -> None:
    """Print what is known of the object LOCATION, without reading it."""
    if _not_stream(location).kind == "local":
        if os.path.isdir(location.path):
            raise IsADirectoryError(f"{location} is a directory")
        (entry,) = (each for each in entries(connection, location, recursive=False) if isinstance(each, Entry))
        facts = {"size": entry.size, "last-modified": entry.modified}
    else:
        result = connection.store(location).get(location.path, options={"head": True})
        meta = result.meta
        facts = {"size": meta["size"], "last-modified": meta["last_modified"], "etag": meta["e_tag"]}
        facts |= {"version": meta["version"]} | {name.lower(): value for name, value in result.attributes.items()}
    click.echo(f"location: {shown(str(location))}")
    for name, value in facts.items():
        if value is not None:
            click.echo(f"{name}: {shown(str(value))}")


@app.command()
@click.argument("locations", type=options.location, nargs=-1, required=True, metavar="LOCATION...")
@click.option("-r", "--recursive", is_flag=True, help="All that is in the folders.")
@click.option("--dry-run", is_flag=True, help="Only print what would be removed.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but failures.")
@command
def rm(connection: Connection, locations: Sequence[Location], recursive: bool, dry_run: bool, quiet: bool) -> int:
    """Remove objects. Nothing is asked.

    With --recursive LOCATION is a folder, and all that is below it goes: s3://bucket is all of the bucket. On S3 an
    object that isn't there counts as removed; elsewhere that is a failure.
    """
    for location in locations:
        _check_removal(_not_stream(location), recursive)
    count = failures = 0
    for location in locations:
        try:
            for removed in _removals(connection, location, recursive, dry_run):
                count += len(removed)
                if dry_run:
                    click.echo("\n".join(f"(dry run) remove {shown(str(location.at(path)))}" for path in removed))
        except (cumulo.exceptions.BaseError, OSError) as error:
            failures += 1
            click.echo(f"failed: {shown(str(location))}: {reason(error)}", err=True)
    if not quiet and not dry_run:
        click.echo(f"removed {count} files" + (f"; {failures} failed" if failures else ""), err=True)
    return FAILED if failures else 0


def _check_removal(location: Location, recursive: bool) -> None:
    if location.remote and not recursive and location.is_folder:
        raise ValueError(f"{location} is a folder: add --recursive to remove all that is in it")
    if location.kind == "local":
        if os.path.realpath(location.path) == os.path.realpath(os.sep):
            raise ValueError("this would remove all there is; nothing was removed")
        if not recursive and os.path.isdir(location.path) and not os.path.islink(location.path):
            raise ValueError(f"{location} is a directory: add --recursive to remove all that is in it")


def _removals(connection: Connection, location: Location, recursive: bool, dry_run: bool) -> Iterator[list[str]]:
    """Removes; yields what was removed."""
    if location.kind == "local":
        yield from _local_removals(location.path, recursive, dry_run)
        return
    store = connection.store(location)
    if not recursive:
        if not dry_run:
            store.delete(location.path)
        yield [location.path]
        return
    for chunk in store.list(folder(location.path), chunk_size=_BATCH):
        paths = [meta["path"] for meta in chunk]
        if not dry_run:
            store.delete(paths)
        yield paths


def _local_removals(path: str, recursive: bool, dry_run: bool) -> Iterator[list[str]]:
    if not recursive or os.path.islink(path) or not os.path.isdir(path):
        os.lstat(path) if dry_run else os.unlink(path)
        yield [path]
        return
    for below in remove_tree(path):
        is_directory = os.path.isdir(below) and not os.path.islink(below)
        if not dry_run:
            os.rmdir(below) if is_directory else os.unlink(below)
        if not is_directory:
            yield [below]
