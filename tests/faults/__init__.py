"""A server that misbehaves on demand, and the tests that show how cumulo takes it."""

from .objects import Faulty, Object, Reused, Step, Upload, decoded_body
from .records import Connection, Connections, Request
from .responses import (
    BadChunk,
    Cut,
    Delay,
    Fault,
    Flip,
    Response,
    Stall,
    Trickle,
    error_document,
)
from .server import FaultServer, blackhole

__all__ = [
    "BadChunk",
    "Connection",
    "Connections",
    "Cut",
    "Delay",
    "Fault",
    "FaultServer",
    "Faulty",
    "Flip",
    "Object",
    "Request",
    "Response",
    "Reused",
    "Stall",
    "Step",
    "Trickle",
    "Upload",
    "blackhole",
    "decoded_body",
    "error_document",
]
