"""Batches of calls of the JSON API: up to 100 requests as the parts of one, and their answers as the parts of its own.

Source: "Batch requests" in Cloud Storage's documentation. Each part is an HTTP message of its own (`application/http`),
named by a Content-ID; the answers come in any order, each with the name of its request.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from cumulo._errors import json_error

_BOUNDARY = "cumulo-batch-2f9d4c1b7a60"
"""No key can hold it where it would count: on a line of its own."""
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})")
_NAME = re.compile(rb"(?im)^content-id:[^\r\n]*?([0-9]+)>?[ \t]*\r?$")


class Answer(NamedTuple):
    """To one call."""

    status: int
    code: str
    message: str


def batch_body(paths: Sequence[bytes]) -> tuple[bytes, str]:
    """A DELETE of each path, and the Content-Type of it all."""
    pieces: list[bytes] = []
    for number, path in enumerate(paths):
        head = f"--{_BOUNDARY}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n"
        pieces += [head.encode(), b"Content-ID: <cumulo+%d>\r\n\r\n" % number]
        pieces.append(b"DELETE " + path + b" HTTP/1.1\r\nContent-Length: 0\r\n\r\n\r\n")
    pieces.append(f"--{_BOUNDARY}--\r\n".encode())
    return b"".join(pieces), f"multipart/mixed; boundary={_BOUNDARY}"


def read_batch(body: bytes, content_type: str) -> list[Answer] | None:
    """The answers in the order of the calls; None when they can't be read."""
    found = re.search(r'boundary="?([^";]+)"?', content_type)
    if found is None:
        return None
    answers: dict[int, Answer] = {}
    for part in (b"\r\n" + body).split(b"\r\n--" + found.group(1).encode())[1:]:
        if part.startswith(b"--"):
            break
        head, _, message = part.partition(b"\r\n\r\n")
        name, status = _NAME.search(head), _STATUS.match(message.lstrip())
        if name is None or status is None:
            return None
        answers[int(name.group(1))] = _answer(int(status.group(1)), message.partition(b"\r\n\r\n")[2])
    return [answers[number] for number in sorted(answers)] if set(answers) == set(range(len(answers))) else None


def _answer(status: int, body: bytes) -> Answer:
    return Answer(status, *(json_error(body) or ("", body[:300].decode("utf-8", "replace").strip())))
