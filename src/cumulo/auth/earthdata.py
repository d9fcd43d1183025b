"""Credential providers for NASA's Earthdata Cloud: keys for an hour to read a DAAC's buckets, in AWS's us-west-2 only.

A DAAC gives keys at a URL of its own, to who has an Earthdata login: with the login's token at once; with its user and
password by way of Earthdata's login server, which sends back with a code. https://data.lpdaac.earthdatacloud.nasa.gov
/s3credentialsREADME describes both.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from cumulo._config.http import HTTPTarget, http_target
from cumulo._credentials.keys import CredentialsError, json_object, parse_time
from cumulo.exceptions import GenericError, UnauthenticatedError

from ._talk import Ask, Reply, Talk, run, run_async

if TYPE_CHECKING:
    from cumulo._config import S3Config, S3Credential

__all__ = ["DEFAULT_EARTHDATA_HOST", "NasaEarthdataAsyncCredentialProvider", "NasaEarthdataCredentialProvider"]

DEFAULT_EARTHDATA_HOST = "urs.earthdata.nasa.gov"
"""Earthdata's login server. `uat.urs.earthdata.nasa.gov` is the one for tests."""

_MOST_REDIRECTS = 10
_NAMES = {"access_key_id": "accessKeyId", "secret_access_key": "secretAccessKey", "token": "sessionToken"}


class _Earthdata:
    """What both providers are."""

    config: S3Config
    """For the store: the region that the buckets are in."""

    def __init__(
        self,
        credentials_url: str,
        *,
        host: str | None = None,
        auth: str | tuple[str, str] | None = None,
        session: Any = None,
    ) -> None:
        self.config = {"region": "us-west-2"}
        self._credentials_url = http_target(credentials_url, credentials_url).url
        self._host = host or os.environ.get("EARTHDATA_HOST") or DEFAULT_EARTHDATA_HOST
        self._auth = _checked(auth)
        self._session = session

    @property
    def session(self) -> Any:
        """The session given, if any."""
        return self._session

    def _talk(self) -> Talk[S3Credential]:
        auth = self._auth or _from_environment() or _from_netrc(self._host)
        if auth is None:
            raise UnauthenticatedError(
                "no Earthdata login: give auth, set EARTHDATA_TOKEN or EARTHDATA_USERNAME and EARTHDATA_PASSWORD, or "
                f"have {self._host} in the netrc file"
            )
        if isinstance(auth, str):
            reply = yield Ask(self._credentials_url, (("Authorization", f"Bearer {auth}"),))
            if reply.location is not None:
                raise UnauthenticatedError(f"{_named(reply)} does not take the Earthdata token: it asks to log in")
        else:
            reply = yield from self._log_in(auth)
        return _keys_of(reply)

    def _log_in(self, auth: tuple[str, str]) -> Talk[Reply]:
        """From redirect to redirect; user and password go to the login server only."""
        pair = base64.b64encode(":".join(auth).encode()).decode()
        start = http_target(self._credentials_url, self._credentials_url)
        reply = yield Ask(start.url)
        for _ in range(_MOST_REDIRECTS):
            if reply.location is None:
                return reply
            target = http_target(reply.location, reply.url)
            if start.tls and not target.tls:
                raise UnauthenticatedError(f"{_named(reply)} redirects away from TLS, to {target.plain_url}")
            at_login = self._is_login(target)
            reply = yield Ask(target.url, (("Authorization", f"Basic {pair}"),) if at_login else ())
        raise GenericError(f"{start.plain_url}: more than {_MOST_REDIRECTS} redirects")

    def _is_login(self, target: HTTPTarget) -> bool:
        return self._host.lower() in (target.host.lower(), target.host_header.lower())


class NasaEarthdataCredentialProvider(_Earthdata):
    """Keys of a DAAC for its buckets.

    Args:
        credentials_url: where the DAAC gives them, such as
            `"https://data.ornldaac.earthdata.nasa.gov/s3credentials"`.
        host: Earthdata's login server. Default: `EARTHDATA_HOST`, else `DEFAULT_EARTHDATA_HOST`.
        auth: a token, or user and password. Default, each time: `EARTHDATA_TOKEN`; `EARTHDATA_USERNAME` with
            `EARTHDATA_PASSWORD`; the login server's entry in the file that `NETRC` names, or in `~/.netrc`.
        session: a `requests.Session` to ask with. Default: the engine, as for AWS's own services; nothing has to be
            installed for it.

    Pickles hold `auth`, if it was given; what comes from the environment is looked for where the pickle is opened.
    """

    def __call__(self) -> S3Credential:
        """Fresh keys; blocks.

        Raises:
            UnauthenticatedError: there is no login, or it is not accepted.
            GenericError: the service answers otherwise than it should.
        """
        return run(self._talk(), self._session)

    def close(self) -> None:
        """Close the session that was given, if any."""
        if self._session is not None:
            self._session.close()


class NasaEarthdataAsyncCredentialProvider(_Earthdata):
    """The same as a coroutine function.

    Args:
        credentials_url: as for `NasaEarthdataCredentialProvider`.
        host: as there.
        auth: as there.
        session: an `aiohttp.ClientSession` to ask with, which has to belong to the event loop that this is awaited on.
            Stores await it on a loop of cumulo's own; so give them none. Pickles leave it out.
    """

    async def __call__(self) -> S3Credential:
        """Fresh keys. Raises what `NasaEarthdataCredentialProvider` raises."""
        return await run_async(self._talk(), self._session)

    async def close(self) -> None:
        """Close the session that was given, if any."""
        if self._session is not None:
            await self._session.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_session": None}


# -- the login


def _checked(auth: object) -> str | tuple[str, str] | None:
    if auth is None or (isinstance(auth, str) and auth):
        return auth
    pair = cast("tuple[object, ...]", auth) if isinstance(auth, tuple) else ()
    if len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], str):
        return pair[0], pair[1]
    raise ValueError("auth must be a token, or a tuple of user and password")


def _from_environment() -> str | tuple[str, str] | None:
    if token := os.environ.get("EARTHDATA_TOKEN"):
        return token
    user, password = os.environ.get("EARTHDATA_USERNAME"), os.environ.get("EARTHDATA_PASSWORD")
    return (user, password) if user and password else None


def _from_netrc(host: str) -> tuple[str, str] | None:
    from netrc import NetrcParseError, netrc
    from pathlib import Path

    path = os.environ.get("NETRC") or Path.home() / ".netrc"
    try:
        found = netrc(str(path)).authenticators(host)
    except FileNotFoundError:
        return None
    except (OSError, NetrcParseError, UnicodeDecodeError) as error:
        raise UnauthenticatedError(f"the netrc file {str(path)!r} can't be read: {type(error).__name__}") from error
    return (found[0], found[2] or "") if found is not None else None


# -- the answer


def _named(reply: Reply) -> str:
    return http_target(reply.url, reply.url).plain_url


def _keys_of(reply: Reply) -> S3Credential:
    where = _named(reply)
    if reply.status in (401, 403):
        raise UnauthenticatedError(f"{where}: HTTP {reply.status}: the Earthdata login is not accepted")
    if reply.status != 200:
        raise GenericError(f"{where}: HTTP {reply.status}")
    try:
        found: Mapping[str, Any] = json_object(where, reply.body)
        missing = [name for name in (*_NAMES.values(), "expiration") if not found.get(name)]
        if missing:
            raise CredentialsError(f"{where}: the answer lacks {', '.join(missing)}")
        expires_at = parse_time(where, found["expiration"])
    except CredentialsError as error:
        raise GenericError(str(error)) from error
    return {
        "access_key_id": found["accessKeyId"], "secret_access_key": found["secretAccessKey"],
        "token": found["sessionToken"], "expires_at": expires_at,
    }  # fmt: skip
