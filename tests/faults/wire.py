"""One conversation: reads requests from a connection, plays responses and their faults onto it.

Runs on the server's event loop only. A conversation ends when the peer leaves, a fault ends it,
or the server closes; whoever came first is what its `Connection` record says. While stalled it
watches for the peer's leaving, so tests can assert that a cancelled request closed its connection.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import socket
import ssl
import struct
import sys
import termios
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Protocol

from .objects import Step, resolve
from .records import Connection, Request
from .responses import Cut, Delay, Ending, Response, Stall, Trickle, encode_body, encode_head

HEAD_LIMIT = 1 << 20
READ_BYTES = 1 << 18
WRITE_BYTES = 1 << 20
FLUSH_S = 30.0
LINGER_S = 1.0
TLS_RECORD = b"\x16"

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
TLS_TO_PLAIN = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class EndedError(Exception):
    """The conversation is over: a fault ended it or the peer left."""


class Director(Protocol):
    """What a conversation needs of the server."""

    keep_body: int
    requests: list[Request]
    errors: list[BaseException]
    stalled: int

    @property
    def gate(self) -> asyncio.Future[None]:
        """Done when the stalls that wait now are released."""
        ...

    def choose(self, request: Request) -> Step:
        """The next step scripted for this request."""
        ...


class _WatchedProtocol(asyncio.StreamReaderProtocol):
    """Tells the conversation the moment the peer leaves, even while nobody reads."""

    def __init__(
        self, reader: asyncio.StreamReader, left: Callable[[bool], None], closed: asyncio.Future[None]
    ) -> None:
        super().__init__(reader)
        self._left, self._closed_now = left, closed

    def eof_received(self) -> bool | None:
        self._left(False)
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._left(isinstance(exc, ConnectionResetError))
        self._closed_now.set_result(None)
        super().connection_lost(exc)


class Conversation:
    """One accepted connection from its first byte to its end."""

    def __init__(self, director: Director, record: Connection, sock: socket.socket) -> None:
        self.record, self.sock = record, sock
        self._director = director
        self._gone = asyncio.get_running_loop().create_future()
        self._closed = asyncio.get_running_loop().create_future()
        self._opening: asyncio.Task[object] | None = None
        self._unread = False
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._transport: asyncio.Transport | None = None

    async def run(self, context: ssl.SSLContext | None) -> None:
        """Shake hands, then answer until one side ends it."""
        try:
            if await self._open(context) and self.record.closed_by != "server":
                await self._serve(plain=context is None)
        except (EndedError, ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.TimeoutError):
            pass
        finally:
            await self._close()

    async def watch_only(self) -> None:
        """Accept and read nothing until the peer leaves."""
        try:
            while not peer_left(self.sock):  # noqa: ASYNC110 - nothing on the loop sees an unread socket close
                await asyncio.sleep(0.02)
            self.left(False)
        finally:
            self.sock.close()

    def kill(self, how: Ending) -> None:
        """End it from outside, whatever it is doing."""
        self.record.end("server", time.monotonic())
        if self._transport is None:
            _reset_on_close(self.sock, how)
            if self._opening is None:
                self.sock.close()
            else:
                # The loop watches the socket during a TLS handshake and has to let go of it first.
                self._opening.cancel()
        elif how == "fin":
            self._transport.close()
        else:
            self._abort(how)

    def left(self, reset: bool) -> None:
        """The peer left."""
        self.record.end("peer", time.monotonic())
        self.record.reset_by_peer |= reset and self.record.closed_by == "peer"
        if not self._gone.done():
            self._gone.set_result(None)

    async def _open(self, context: ssl.SSLContext | None) -> bool:
        if self.record.closed is not None:
            return False
        self._opening = asyncio.current_task()
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(HEAD_LIMIT, loop)
        protocol = _WatchedProtocol(reader, self.left, self._closed)
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol,
                self.sock,
                ssl=context,
                ssl_handshake_timeout=60 if context else None,
            )
        except (OSError, ssl.SSLError) as error:
            self.record.tls_error = str(error)
            self.left(False)
            return False
        self._transport = transport  # pyright: ignore[reportAttributeAccessIssue]
        self._reader = reader
        self._writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        return True

    async def _close(self) -> None:
        self.record.end("server", time.monotonic())
        if self._transport is None:
            self.sock.close()
            return
        try:
            await self._flush()
            if not self._transport.is_closing():
                self._transport.close()
            # Over TLS asyncio never closes one whose peer left while reading was paused.
            await asyncio.wait([self._closed], timeout=LINGER_S)
        finally:
            self._transport.abort()

    async def _serve(self, *, plain: bool) -> None:
        first = await self._reader.readexactly(1)
        if plain and first == TLS_RECORD:
            self._writer.write(TLS_TO_PLAIN)
            await self._end("fin")
        while True:
            request = self._parse(first + await self._reader.readuntil(b"\r\n\r\n"))
            first = b""
            step = self._director.choose(request)
            if getattr(step, "read_body", True):
                await self._read_body(request, step)
            response = self._resolve(step, request)
            request.status = response.status
            await self._play(request, response)
            request.answered = time.monotonic()
            await self._finish(request, response)

    def _resolve(self, step: Step, request: Request) -> Response:
        try:
            return resolve(step, request)
        except Exception as error:
            # A script's own mistake must fail the test, not look like a server's error to the client.
            self._director.errors.append(error)
            return Response.error(500, "ScriptError", repr(error))

    def _parse(self, head: bytes) -> Request:
        lines = head[:-4].decode("latin-1").split("\r\n")
        method, _, rest = lines[0].partition(" ")
        target, _, version = rest.rpartition(" ")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
        number = self.record.requests
        self.record.requests += 1
        request = Request(method, target, version, headers, self.record.id, number, time.monotonic())
        self._unread = (request.header("content-length") or "0") != "0"
        self._unread |= request.header("transfer-encoding") is not None
        self._director.requests.append(request)
        return request

    async def _read_body(self, request: Request, step: Step) -> None:
        if not self._unread:
            request.body_done = request.received
            return
        if (request.header("expect") or "").lower() == "100-continue" and getattr(step, "send_continue", True):
            self._writer.write(CONTINUE)
        body = _Body(request, self._director.keep_body)
        pace = _Pace(getattr(step, "read_rate", None), getattr(step, "read_stall", None))
        if request.header("transfer-encoding") is None:
            await self._read_exactly(int(request.header("content-length") or 0), body, pace)
        else:
            await self._read_chunks(body, pace)
        body.finish()
        request.body_done = time.monotonic()
        self._unread = False

    async def _read_exactly(self, left: int, body: _Body, pace: _Pace) -> None:
        while left:
            most = min(left, READ_BYTES)
            if pace.stall_at is not None:
                most = min(most, pace.stall_at - body.length)
                if most <= 0:
                    pace.stall_at = None
                    await self._stall(None)
                    continue
            data = await self._reader.read(min(most, pace.piece))
            if not data:
                raise EndedError
            body.add(data)
            left -= len(data)
            await pace.wait(len(data))

    async def _read_chunks(self, body: _Body, pace: _Pace) -> None:
        while True:
            line = await self._reader.readuntil(b"\r\n")
            size = int(line.partition(b";")[0], 16)
            if size == 0:
                break
            await self._read_exactly(size, body, pace)
            await self._reader.readexactly(2)
        while await self._reader.readuntil(b"\r\n") != b"\r\n":
            pass

    async def _play(self, request: Request, response: Response) -> None:
        for status in response.interim:
            self._writer.write(encode_head(Response(status, framing="none"), formatdate(usegmt=True)))
        await self._before_head(response)
        if response.wire is not None:
            head, body = b"", memoryview(response.wire)
        else:
            head = encode_head(response, formatdate(usegmt=True))
            bodyless = response.bodyless or request.method == "HEAD" or response.status in (204, 304)
            body = memoryview(b"" if bodyless else encode_body(response))
        rate = next((fault for fault in response.faults if isinstance(fault, Trickle)), None)
        sent = 0
        for fault in _positioned(response):
            stop = max(sent, min(fault.after or 0, len(body)))
            await self._send(head, body[sent:stop], rate)
            head, sent = b"", stop
            if isinstance(fault, Cut):
                await self._end(fault.how)
            else:
                await self._stall(fault.seconds)
        await self._send(head, body[sent:], rate)

    async def _before_head(self, response: Response) -> None:
        for fault in response.faults:
            if isinstance(fault, Delay):
                await self._wait(fault.seconds)
            elif isinstance(fault, Stall) and fault.after is None:
                await self._stall(fault.seconds)
            elif isinstance(fault, Cut) and fault.after is None:
                await self._end(fault.how)

    async def _send(self, head: bytes, body: memoryview, rate: Trickle | None) -> None:
        if rate is not None:
            self._writer.write(head)
            await self._trickle(body, rate)
        elif len(body) <= WRITE_BYTES:
            self._writer.write(head + body if head else body)
            await self._writer.drain()
        else:
            self._writer.write(head)
            for start in range(0, len(body), WRITE_BYTES):
                self._writer.write(body[start : start + WRITE_BYTES])
                await self._writer.drain()

    async def _trickle(self, body: memoryview, rate: Trickle) -> None:
        piece = max(1, int(rate.bytes_per_second * rate.interval))
        pace = _Pace(rate.bytes_per_second, None)
        for start in range(0, len(body), piece):
            self._writer.write(body[start : start + piece])
            await self._writer.drain()
            if self._gone.done():
                raise EndedError
            await pace.wait(min(piece, len(body) - start))

    async def _stall(self, seconds: float | None) -> None:
        self._director.stalled += 1
        try:
            await self._wait(seconds, self._director.gate)
        finally:
            self._director.stalled -= 1

    async def _wait(self, seconds: float | None, gate: asyncio.Future[None] | None = None) -> None:
        """Sleep; end the conversation as soon as the peer has left."""
        until = None if seconds is None else time.monotonic() + seconds
        waiting = {self._gone} if gate is None else {self._gone, gate}
        while gate is None or not gate.done():
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                break
            # An unread request body keeps the loop from seeing the peer's close: poll for it.
            limit = 0.05 if self._unread else left
            await asyncio.wait(waiting, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if self._unread and peer_left(self.sock):
                self.left(False)
            if self._gone.done():
                raise EndedError

    async def _finish(self, request: Request, response: Response) -> None:
        after = response.after
        if after == "hold":
            await asyncio.wait({self._gone})
            raise EndedError
        if after != "keep":
            await self._end(after)
        closing = response.framing == "none" and response.status not in (204, 304) and request.method != "HEAD"
        closing |= (request.header("connection") or "").lower() == "close" or self._unread
        if closing:
            await self._end("fin")

    async def _end(self, how: Ending) -> None:
        """Let what was sent arrive, then leave as told."""
        assert self._transport is not None
        self.record.end("server", time.monotonic())
        await self._flush()
        if how != "fin":
            self._abort(how)
        elif self._unread and self._transport.can_write_eof():
            # Closing with unread input would reset the connection and lose the response.
            self._transport.write_eof()
            await self._discard()
        raise EndedError

    async def _flush(self) -> None:
        """Let the peer's kernel have what was sent, however slowly the client reads it."""
        assert self._transport is not None
        # Under TLS a second transport buffers the records; asyncio has no public name for it.
        under = getattr(getattr(self._transport, "_ssl_protocol", None), "_transport", None) or self._transport
        until = time.monotonic() + FLUSH_S
        while time.monotonic() < until and not self._gone.done():
            queued = self._transport.get_write_buffer_size() + under.get_write_buffer_size()
            if not queued + unsent_bytes(self.sock):
                break
            await asyncio.sleep(0.001)

    async def _discard(self) -> None:
        until = time.monotonic() + LINGER_S
        while (left := until - time.monotonic()) > 0:
            if not await asyncio.wait_for(self._reader.read(READ_BYTES), left):
                break

    def _abort(self, how: Ending) -> None:
        assert self._transport is not None
        try:
            _reset_on_close(self.sock, how)
        except OSError:
            return  # it is closed already
        self._transport.abort()


class _Body:
    """Collects a request's body: length and digest always, the bytes up to a limit."""

    def __init__(self, request: Request, keep: int) -> None:
        self._request, self._keep = request, keep
        self._digest = hashlib.sha256()
        self._kept = bytearray()
        self.length = 0

    def add(self, data: bytes) -> None:
        self.length += len(data)
        self._request.body_length = self.length
        self._digest.update(data)
        if self.length <= self._keep:
            self._kept += data

    def finish(self) -> None:
        self._request.body_sha256 = self._digest.hexdigest()
        if self.length <= self._keep:
            self._request.body = bytes(self._kept)


class _Pace:
    """Keeps a rate over a whole body, so that coarse sleeps don't add up."""

    def __init__(self, rate: float | None, stall_at: int | None) -> None:
        self.rate, self.stall_at = rate, stall_at
        self.piece = READ_BYTES if rate is None else max(1, int(rate / 20))
        self._started, self._done = time.monotonic(), 0

    async def wait(self, count: int) -> None:
        if self.rate is None:
            return
        self._done += count
        ahead = self._done / self.rate - (time.monotonic() - self._started)
        if ahead > 0:
            await asyncio.sleep(ahead)


def _positioned(response: Response) -> list[Stall | Cut]:
    faults = [each for each in response.faults if isinstance(each, (Stall, Cut)) and each.after is not None]
    return sorted(faults, key=lambda fault: fault.after or 0)


def _reset_on_close(sock: socket.socket, how: Ending) -> None:
    if sock.fileno() < 0:  # it has ended by itself, a moment ago
        return
    if how == "rst":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif how == "truncate":
        sock.shutdown(socket.SHUT_WR)


def unsent_bytes(sock: socket.socket) -> int:
    """Bytes the peer's kernel hasn't acknowledged yet; 0 where that can't be told."""
    try:
        return struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0]
    except (OSError, ValueError):
        return 0


def peer_left(sock: socket.socket) -> bool:
    """Whether the peer has closed or reset, without reading (Linux only)."""
    if sock.fileno() < 0:
        return True
    if sys.platform != "linux":
        return False
    close, close_wait = 7, 8
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in (close, close_wait)
