"""Batches of calls of the JSON API: up to 100 requests as the parts of one, and their answers as the parts of its own.

Source: "Batch requests" in Cloud Storage's documentation. Each part is an HTTP message of its own (`application/http`),
named by a Content-ID; each answer has the name of its request, or they come in the order of the requests.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from cumulo._errors import json_error

_BOUNDARY = "cumulo-batch-2f9d4c1b7a60"
"""No key can hold it where it would count: on a line of its own."""
_STATUS = re.compile(rb"(?m)^HTTP/1\.[01] ([0-9]{3})")
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
        status = _STATUS.search(part)
        if status is None:
            return None
        name = _NAME.search(part, 0, status.start())
        number = len(answers) if name is None else int(name.group(1))
        answers[number] = _answer(int(status.group(1)), part[status.end() :].partition(b"\r\n\r\n")[2])
    return [answers[number] for number in sorted(answers)] if set(answers) == set(range(len(answers))) else None


def _answer(status: int, body: bytes) -> Answer:
    return Answer(status, *(json_error(body) or ("", body[:300].decode("utf-8", "replace").strip())))
