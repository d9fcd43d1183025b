"""The fault server: an HTTP/1.1 origin on loopback that misbehaves exactly as a test scripts it.

It owns a thread with an event loop, its listeners, the scripts and the records. Tests call it
from any thread. It is raw TCP and speaks HTTP by hand (wire.py), because every library would
correct what a test wants wrong.

    with FaultServer() as server:
        server.script("/bucket/key", [Response.error(503, retry_after=1), Object(b"data")])
        ...                       # the first request gets 503, all later ones the object
        assert [each.status for each in server.requests] == [503, 200]

In a forked child the server's sockets are closed at once: a child that kept them open would hide
every close from the client.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar
from urllib.parse import parse_qsl

from .objects import Step
from .records import Connection, Connections, Request
from .responses import Ending, Response
from .wire import Conversation, peer_left

if TYPE_CHECKING:
    from .certs import Authority, Certificate

T = TypeVar("T")

Greeting: TypeAlias = Literal["serve", "mute", "rst", "fin"]
"""What a new connection meets, before any TLS: `mute` accepts and reads nothing; `rst` and `fin` end it."""

WAIT_S = 30.0
BACKLOG = 4096


@dataclass
class _Route:
    """The steps for one pattern of requests; the last one repeats."""

    method: str | None
    query: tuple[tuple[str, str | None], ...]
    steps: list[Step]
    taken: int = 0

    def matches(self, request: Request) -> bool:
        if self.method is not None and self.method != request.method:
            return False
        asked = request.query if self.query else {}
        return all(name in asked and value in (None, asked[name]) for name, value in self.query)

    def next(self) -> Step:
        step = self.steps[min(self.taken, len(self.steps) - 1)]
        self.taken += 1
        return step

    @property
    def weight(self) -> tuple[int, int]:
        return len(self.query), self.method is not None


@dataclass
class _Listener:
    """One listening port, kept reserved while it is down."""

    host: str
    scheme: str
    context: ssl.SSLContext | None
    sock: socket.socket
    greetings: list[Greeting] = field(default_factory=lambda: ["serve"])
    up: bool = False

    @property
    def port(self) -> int:
        return self.sock.getsockname()[1]

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def greet(self) -> Greeting:
        return self.greetings.pop(0) if len(self.greetings) > 1 else self.greetings[0]


class FaultServer:
    """See the module's docstring; `Response`, `Object` and the faults are what it is scripted with."""

    def __init__(self, *, directory: Path | None = None) -> None:
        """`directory` takes the certificates; a temporary one unless given."""
        self.keep_body = 64 << 20
        self.requests: list[Request] = []
        self.connections = Connections()
        self.errors: list[BaseException] = []
        """What scripted callables raised."""
        self.stalled = 0
        """How many conversations stall right now."""
        self.default: Step = Response.error(404, "NoSuchKey", "nothing is scripted for this request")
        self._directory = directory
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._routes: dict[str, list[_Route]] = {}
        self._prefixes: dict[str, list[_Route]] = {}
        self._listeners: dict[tuple[str, str], _Listener] = {}
        self._conversations: set[Conversation] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._gate: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-server", daemon=True)
        _servers.add(self)

    def __enter__(self) -> FaultServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._close_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    # Scripts

    def script(self, path: str, steps: Step | Sequence[Step], *, method: str | None = None) -> None:
        """Answer requests for this raw path with these steps in turn; the last one repeats.

        A `*` at the end matches every path so beginning. A query in `path` narrows it:
        `"/b/k?uploadId"` needs the parameter, `"/b/k?partNumber=2"` this value too. The narrowest
        script wins, and scripting the same again replaces it.
        """
        path, _, query = path.partition("?")
        names = tuple(each.partition("=")[0] for each in query.split("&")) if query else ()
        values = dict(parse_qsl(query))
        sequence = list(steps) if isinstance(steps, Sequence) else [steps]
        route = _Route(method, tuple((name, values.get(name)) for name in names), sequence)
        table, key = (self._prefixes, path[:-1]) if path.endswith("*") else (self._routes, path)
        kept = [each for each in table.get(key, ()) if (each.method, each.query) != (method, route.query)]
        table[key] = sorted([*kept, route], key=lambda each: each.weight, reverse=True)

    def choose(self, request: Request) -> Step:
        """The next step for this request (called by the conversation)."""
        tables = [self._routes.get(request.path, [])]
        if self._prefixes:
            prefixes = [prefix for prefix in self._prefixes if request.path.startswith(prefix)]
            tables += [self._prefixes[prefix] for prefix in sorted(prefixes, key=len, reverse=True)]
        for routes in tables:
            for route in routes:
                if route.matches(request):
                    return route.next()
        return self.default

    def greet(self, greetings: Greeting | Sequence[Greeting], *, url: str | None = None) -> None:
        """What new connections meet, in turn; the last one repeats. `url` chooses the listener."""
        sequence: list[Greeting] = [greetings] if isinstance(greetings, str) else list(greetings)
        self._listener(url).greetings = sequence

    def release(self) -> None:
        """Let every response that stalls now go on."""
        self._call(self._release())

    # Listeners

    @property
    def url(self) -> str:
        """`http://127.0.0.1:port`."""
        return self.url_at("127.0.0.1")

    def url_at(self, host: str, port: int = 0) -> str:
        """The same server by plain HTTP on another loopback address, such as 127.0.0.2 or ::1; on any port if 0."""
        return self._listen(host, "http", port)

    def tls_url(self, certificate: Certificate = "valid", host: str = "127.0.0.1") -> str:
        """The same server over TLS with this certificate; trust `ca_file` to accept the valid one."""
        return self._listen(host, certificate)

    @property
    def authority(self) -> Authority:
        """The test CA."""
        from .certs import authority

        if self._directory is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="fault-server-")
            self._directory = Path(self._temporary.name)
        return authority(self._directory)

    @property
    def ca_file(self) -> Path:
        """The test CA's certificate."""
        return self.authority.ca_file

    def down(self, seconds: float | None = None, *, url: str | None = None, kill: bool = True) -> None:
        """Refuse connections, for `seconds` or until `up()`; `kill` resets the open ones too.

        The port stays reserved.
        """
        listener = self._listener(url)
        self._call(self._take_down(listener))
        if kill:
            self.close_connections("rst")
        if seconds is not None:
            self._loop.call_soon_threadsafe(self._loop.call_later, seconds, self._bring_up, listener)

    def up(self, *, url: str | None = None) -> None:
        """Accept connections again."""
        listener = self._listener(url)

        async def bring_up() -> None:
            self._bring_up(listener)

        self._call(bring_up())

    def close_connections(self, how: Ending = "fin") -> None:
        """End every open connection now, idle or not."""

        async def close() -> None:
            for conversation in list(self._conversations):
                conversation.kill(how)

        self._call(close())

    def reset(self) -> None:
        """Forget scripts and records, end all connections, and move to new ports.

        New ports, because a client may keep connections to the old ones in a pool that outlives a test.
        """
        self._call(self._close_all())
        self._routes.clear()
        self._prefixes.clear()
        self.requests, self.connections, self.errors = [], Connections(), []
        self.default = Response.error(404, "NoSuchKey", "nothing is scripted for this request")

    # Waiting

    def wait_for(self, condition: Callable[[], object], seconds: float = WAIT_S) -> None:
        """Block until the condition holds. Not on an event loop that the client needs: see `wait_for_async`."""
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise AssertionError(f"not reached in {seconds} s; seen so far:\n{self.summary()}")
            time.sleep(0.005)

    async def wait_for_async(self, condition: Callable[[], object], seconds: float = WAIT_S) -> None:
        """The same from a coroutine."""
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise AssertionError(f"not reached in {seconds} s; seen so far:\n{self.summary()}")
            await asyncio.sleep(0.005)

    def seen(self, path: str | None = None, method: str | None = None) -> list[Request]:
        """The requests so far for this raw path and method."""
        every = list(self.requests)
        return [each for each in every if path in (None, each.path) and method in (None, each.method)]

    def summary(self) -> str:
        """The requests and connections, a line each, for a failing test's message."""
        lines = [f"  #{each.connection} {each.method} {each.target} -> {each.status}" for each in self.requests[-50:]]
        count = self.connections
        lines.append(f"  {count.accepted} connections, {count.open} open, {self.stalled} stalled")
        return "\n".join(lines)

    # The loop's side

    @property
    def gate(self) -> asyncio.Future[None]:
        """Done when the stalls that wait now are released (read by conversations)."""
        return self._gate

    def _call(self, job: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(job, self._loop).result(30)

    def _listener(self, url: str | None) -> _Listener:
        url = url or self.url
        return next(each for each in self._listeners.values() if each.url == url)

    def _listen(self, host: str, kind: Literal["http"] | Certificate, port: int = 0) -> str:
        with self._lock:
            listener = self._listeners.get((host, kind))
            if listener is None:
                context = None if kind == "http" else self.authority.context(kind)
                listener = _Listener(host, "https" if context else "http", context, _bound(host, port))
                self._call(self._start(listener))
                self._listeners[host, kind] = listener
            return listener.url

    async def _start(self, listener: _Listener) -> None:
        self._bring_up(listener)

    def _bring_up(self, listener: _Listener) -> None:
        if not listener.up and listener.sock.fileno() >= 0:
            listener.sock.listen(BACKLOG)
            listener.up = True
            self._loop.add_reader(listener.sock, self._accept, listener)

    async def _take_down(self, listener: _Listener) -> None:
        if listener.up:
            port = listener.port
            self._close_listener(listener)
            listener.sock = _bound(listener.host, port)

    def _close_listener(self, listener: _Listener) -> None:
        if listener.up:
            self._loop.remove_reader(listener.sock)
            listener.up = False
        listener.sock.close()

    def _accept(self, listener: _Listener) -> None:
        # Not `loop.sock_accept`: cancelled at the wrong moment it loses the socket it has accepted.
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            while True:
                self._accepted(listener, *listener.sock.accept())

    def _accepted(self, listener: _Listener, sock: socket.socket, peer: tuple[Any, ...]) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        record = Connection(self.connections.accepted, listener.url, peer[:2], time.monotonic())
        conversation = Conversation(self, record, sock)
        self._conversations.add(conversation)
        self.connections.add(record, sum(not peer_left(each.sock) for each in self._conversations))
        task = self._loop.create_task(self._converse(listener, conversation))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, listener: _Listener, conversation: Conversation) -> None:
        try:
            match listener.greet():
                case "serve":
                    await conversation.run(listener.context)
                case "mute":
                    await conversation.watch_only()
                case "rst" | "fin" as how:
                    conversation.kill(how)
        except Exception as error:
            # A mistake of the server's own must fail the test, not vanish in its thread.
            self.errors.append(error)
        finally:
            self._conversations.discard(conversation)

    async def _release(self) -> None:
        self._gate.set_result(None)
        self._gate = self._loop.create_future()

    async def _close_all(self) -> None:
        for listener in self._listeners.values():
            self._close_listener(listener)
        self._listeners.clear()
        for conversation in list(self._conversations):
            conversation.kill("rst")
        await asyncio.gather(*(_cancel(task) for task in list(self._tasks)))

    def close_in_child(self) -> None:
        """After a fork: give up the sockets, which are the parent's to close."""
        for listener in self._listeners.values():
            listener.sock.close()
        for conversation in self._conversations:
            conversation.sock.close()


_servers: weakref.WeakSet[FaultServer] = weakref.WeakSet()


def _close_in_child() -> None:
    for server in list(_servers):
        server.close_in_child()


os.register_at_fork(after_in_child=_close_in_child)


def _bound(host: str, port: int) -> socket.socket:
    """A socket that holds the port but doesn't listen, so that connecting is refused."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    sock.setblocking(False)
    return sock


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@contextlib.contextmanager
def blackhole(host: str = "127.0.0.1") -> Iterator[str]:
    """A URL that neither accepts nor refuses: its backlog is full, so connecting hangs (Linux)."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_bound(host, 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(8):
            filler = stack.enter_context(socket.socket(listener.family))
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(address)
        yield f"http://{host}:{address[1]}"
