"""IAM Identity Center (SSO): the token that `aws sso login` left in its cache, turned into a role's keys.

Source of the rules: AWS SDKs and Tools reference guide, "IAM Identity Center credential provider"; the portal's
GetRoleCredentials and SSO OIDC's CreateToken APIs. The cache's file names and members are the AWS CLI's.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import urlencode

from .exchange import exchange
from .keys import CredentialsError, Keys, json_object, make_keys, parse_time

_REFRESH_BEFORE = timedelta(minutes=5)
_PORTAL_MEMBERS = ("accessKeyId", "secretAccessKey", "sessionToken")


class Sso(NamedTuple):
    """What a profile and its `sso-session` section say."""

    profile: str
    session: str | None
    start_url: str
    region: str
    account_id: str
    role_name: str


def role_keys(sso: Sso, env: Mapping[str, str]) -> Keys:
    """Exchange the cached token, refreshed where that is possible, for the role's keys."""
    token = _access_token(sso, env)
    base = env.get("AWS_ENDPOINT_URL_SSO") or f"https://portal.sso.{sso.region}.amazonaws.com"
    query = urlencode({"role_name": sso.role_name, "account_id": sso.account_id})
    headers = [("x-amz-sso_bearer_token", token)]
    answer = exchange("GET", f"{base.rstrip('/')}/federation/credentials?{query}", headers=headers)
    if answer.status == HTTPStatus.UNAUTHORIZED:
        raise _login_again(sso)
    if answer.status != HTTPStatus.OK:
        raise CredentialsError(f"SSO: HTTP {answer.status} for role {sso.role_name!r} of account {sso.account_id}")
    given = json_object("SSO", answer.body).get("roleCredentials")
    if not isinstance(given, dict):
        raise CredentialsError("SSO: the answer has no roleCredentials")
    members = cast("dict[str, Any]", given)
    expires = members.get("expiration")
    if not isinstance(expires, int):
        raise CredentialsError("SSO: the answer has no expiration")
    return make_keys(
        "SSO",
        *(members.get(name) for name in _PORTAL_MEMBERS),
        expires=datetime.fromtimestamp(expires / 1000, timezone.utc),
    )


def _login_again(sso: Sso) -> CredentialsError:
    how = f"--sso-session {sso.session}" if sso.session else f"--profile {sso.profile}"
    return CredentialsError(f"SSO: the login has expired; run `aws sso login {how}`")


def cache_file(sso: Sso, env: Mapping[str, str]) -> Path:
    """Where the AWS CLI keeps this session's token."""
    name = hashlib.sha1((sso.session or sso.start_url).encode(), usedforsecurity=False).hexdigest()
    home = env.get("HOME")
    return (Path(home) if home else Path.home()) / ".aws" / "sso" / "cache" / f"{name}.json"


def _access_token(sso: Sso, env: Mapping[str, str]) -> str:
    path = cache_file(sso, env)
    try:
        cached = json_object("SSO: the cached token", path.read_bytes())
    except OSError:
        raise _login_again(sso) from None
    now = datetime.now(timezone.utc)
    expires = parse_time("SSO: the cached token", cached.get("expiresAt"))
    if expires - _REFRESH_BEFORE < now:
        try:
            cached = _refreshed(sso, env, path, cached)
        except CredentialsError:
            if expires <= now:
                raise _login_again(sso) from None
    token = cached.get("accessToken")
    if not isinstance(token, str) or not token.isprintable():
        raise _login_again(sso)
    return token


def _refreshed(sso: Sso, env: Mapping[str, str], path: Path, cached: dict[str, Any]) -> dict[str, Any]:
    """The token renewed by OIDC, and written back for the AWS tools."""
    asked = {name: cached.get(name) for name in ("clientId", "clientSecret", "refreshToken")}
    if not sso.session or not all(asked.values()):
        raise CredentialsError("SSO: the token cannot be refreshed")
    base = env.get("AWS_ENDPOINT_URL_SSO_OIDC") or f"https://oidc.{sso.region}.amazonaws.com"
    body = json.dumps({**asked, "grantType": "refresh_token"}).encode()
    headers = [("Content-Type", "application/json")]
    answer = exchange("POST", f"{base.rstrip('/')}/token", headers=headers, body=body)
    if answer.status != HTTPStatus.OK:
        raise CredentialsError(f"SSO: HTTP {answer.status} to the request for a new token")
    given = json_object("SSO: the new token", answer.body)
    lifetime = given.get("expiresIn")
    if not isinstance(given.get("accessToken"), str) or not isinstance(lifetime, int):
        raise CredentialsError("SSO: the new token is incomplete")
    expires = datetime.now(timezone.utc) + timedelta(seconds=lifetime)
    fresh = {**cached, "accessToken": given["accessToken"], "expiresAt": expires.strftime("%Y-%m-%dT%H:%M:%SZ")}
    if isinstance(given.get("refreshToken"), str):
        fresh["refreshToken"] = given["refreshToken"]
    with contextlib.suppress(OSError):  # a read-only home: the token still serves this process
        _write_private(path, json.dumps(fresh))
    return fresh


def _write_private(path: Path, text: str) -> None:
    """Replace the file at once; mkstemp's mode is 0600, as the AWS CLI's."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
