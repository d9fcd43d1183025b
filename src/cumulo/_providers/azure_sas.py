"""Shared access signatures for one blob each: by the account's key, or by a user delegation key.

Sources of the rules: Azure Storage REST reference, "Create a service SAS", "Create a user delegation SAS", "Get User
Delegation Key". The text that is signed is that of versions 2020-12-06 to 2025-05-05.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote

from cumulo._errors import Context
from cumulo._native import Request, xml_fields
from cumulo.exceptions import GenericError

if TYPE_CHECKING:
    from cumulo._native import Client

VERSION = "2025-01-05"
_CLOCKS_DIFFER_BY_S = 300
_KEY_FIELDS = ("SignedOid", "SignedTid", "SignedStart", "SignedExpiry", "SignedService", "SignedVersion")
_KEY_PARAMETERS = ("skoid", "sktid", "skt", "ske", "sks", "skv")


class Grant(NamedTuple):
    """What a signature allows."""

    permission: str
    until: str
    tls_only: bool


class DelegationKey(NamedTuple):
    """A key that Azure has made for a user or an application."""

    fields: tuple[str, ...]
    """In the order of `_KEY_FIELDS`."""
    value: str

    def __repr__(self) -> str:
        return "<DelegationKey>"


def moment(unix_s: float) -> str:
    """As Azure writes times."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_s))


def by_account_key(key: str, account: str, grant: Grant) -> Callable[[str], str]:
    """What turns a blob's `container/name` (percent-encoded) into the query that grants this."""
    return _signer(key, account, grant, {}, ())


def by_delegation_key(key: DelegationKey, account: str, grant: Grant) -> Callable[[str], str]:
    """The same, in the name of whom the key was made for."""
    # Behind the key's own fields: who may use it, who may not, and a correlation id. None is given.
    text = (*key.fields, "", "", "")
    return _signer(key.value, account, grant, dict(zip(_KEY_PARAMETERS, key.fields, strict=True)), text)


def _signer(
    key: str, account: str, grant: Grant, parameters: Mapping[str, str], who: tuple[str, ...]
) -> Callable[[str], str]:
    secret = base64.b64decode(key)
    protocol = "https" if grant.tls_only else ""
    behind = ("", protocol, VERSION, "b", "", "", "", "", "", "", "")
    # With an account's key, a policy's name stands where the delegation key's fields do.
    middle = who or ("",)

    def query(blob: str) -> str:
        resource = f"/blob/{account}/{unquote(blob)}"
        text = "\n".join((grant.permission, "", grant.until, resource, *middle, *behind))
        signature = base64.b64encode(hmac.digest(secret, text.encode(), hashlib.sha256)).decode()
        given = {"sv": VERSION, "sr": "b", "sp": grant.permission, "se": grant.until, "spr": protocol, **parameters}
        return "&".join(
            f"{name}={quote(value, safe='')}" for name, value in {**given, "sig": signature}.items() if value
        )

    return query


# -- the key


def delegation_key_request(store: Any, client: Client, about: str, now_s: float, until_s: float) -> Request:
    """Asks for one that is good until then, seven days from its start at most; sent with a bearer token.

    `about` is what it is wanted for, in messages.
    """
    start_s = max(now_s - _CLOCKS_DIFFER_BY_S, until_s - 7 * 86400)
    body = (
        '<?xml version="1.0" encoding="utf-8"?>'
        f"<KeyInfo><Start>{moment(start_s)}</Start><Expiry>{moment(until_s)}</Expiry></KeyInfo>"
    )
    account_root = client.base[:-1].rpartition(b"/")[0] + b"/"
    return Request(
        client, "POST", account_root + b"?restype=service&comp=userdelegationkey",
        headers=[("Content-Type", "application/xml")], body=body.encode(), context=Context(store, "sign", about),
    )  # fmt: skip


def delegation_key_of(request: Request) -> DelegationKey:
    """The key in the answer."""
    found = {name.rpartition("/")[2]: text for name, text in xml_fields(request.take_body())}
    missing = [name for name in (*_KEY_FIELDS, "Value") if not found.get(name)]
    if missing:
        store = repr(request.context.store)
        raise GenericError(
            f"sign in {store}: the user delegation key lacks {', '.join(missing)}",
            operation="sign", store=store, status=request.response[0], attempts=request.attempts,
        )  # fmt: skip
    return DelegationKey(tuple(found[name] for name in _KEY_FIELDS), found["Value"])
