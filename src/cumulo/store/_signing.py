"""`SigningStore`: `sign`, for stores whose URLs can carry a right. A store class says how (`_plan_urls`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from cumulo._drivers import run_async, sync
from cumulo._drivers.effects import Call, Plan
from cumulo._operations import sign as operation
from cumulo.exceptions import NotSupportedError, UnauthenticatedError

from ._native_store import NativeStore

if TYPE_CHECKING:
    from datetime import timedelta

    from cumulo._operations.sign import HTTP_METHOD
    from cumulo._types import CallFuture


SigningKeys: TypeAlias = "tuple[str, str, str | None]"
"""Access key id, secret and token; other services' as `cumulo._credentials` has them."""


class SigningStore(NativeStore):
    """A store that can make signed URLs."""

    @overload
    def sign(  # pyright: ignore[reportOverlappingOverload]
        self, method: HTTP_METHOD, paths: str, expires_in: timedelta
    ) -> str: ...  # a str is a sequence of them
    @overload
    def sign(self, method: HTTP_METHOD, paths: Sequence[str], expires_in: timedelta) -> list[str]: ...
    def sign(self, method: HTTP_METHOD, paths: str | Sequence[str], expires_in: timedelta) -> str | list[str]:
        """URLs with which who has them can do one thing with one object each, without credentials, for a while.

        Nothing is asked of the objects, which need not be there. What is signed with is what the store's requests are
        sent with: if those credentials expire or are taken back, the URLs end with them.

        - S3: the query form of SigV4.
        - Cloud Storage: V4, with a service account's key, or by IAM's `signBlob` where there is only a token (one
          request a path; needs `cumulo[gcs]`, and the role Service Account Token Creator). A `bearer_token` alone can't
          sign: it doesn't say whose it is.
        - Azure: a service SAS with the account's key, or with a token a user delegation SAS, whose key is asked for
          first. For GET and HEAD it allows to read, for PUT to create and write, for DELETE to delete. A client that
          puts a blob has to send `x-ms-blob-type: BlockBlob`.

        Args:
            method: the HTTP method that the URL is for.
            paths: an object's path, or several.
            expires_in: for how long, from now: whole seconds, at least one; 7 days at most, but for an Azure account's
                key.

        Returns:
            A URL for a path, a list of URLs, in order, for several.

        Raises:
            ValueError: no HTTP method, or a time that can't be.
            InvalidPathError: an empty path.
            UnauthenticatedError: there are no credentials to sign with.
            NotSupportedError: these credentials can't sign, or not for this method.
        """
        return sync.run(self._plan_sign(method, paths, expires_in))

    @overload
    def sign_async(  # pyright: ignore[reportOverlappingOverload]
        self, method: HTTP_METHOD, paths: str, expires_in: timedelta
    ) -> CallFuture[str]: ...  # a str is a sequence of them
    @overload
    def sign_async(self, method: HTTP_METHOD, paths: Sequence[str], expires_in: timedelta) -> CallFuture[list[str]]: ...
    def sign_async(self, method: HTTP_METHOD, paths: str | Sequence[str], expires_in: timedelta) -> Any:
        """`sign`, awaited."""
        return run_async(self._plan_sign(method, paths, expires_in))

    def _plan_sign(self, method: str, paths: str | Sequence[str], expires_in: timedelta) -> Plan[Any]:
        method = operation.verb(method)
        expires_s = operation.lifetime_s(expires_in, self._most_signed_s())
        keys = [self._keys.key(path) for path in operation.paths_of(paths)]
        urls = (yield from self._plan_urls(method, keys, expires_s)) if keys else []
        return urls[0] if isinstance(paths, str) else urls

    def _most_signed_s(self) -> int | None:
        return operation.WEEK_S

    def _plan_urls(self, method: str, keys: list[str], expires_s: int) -> Plan[list[str]]:
        raise NotImplementedError

    def _plan_signing_keys(self, static: SigningKeys | None) -> Plan[SigningKeys]:
        """What requests are signed with now: these, or what the source of this store's keys gives."""
        source = self._use().source
        if source is None:
            raise self._cannot_sign("it sends anonymous requests (skip_signature): give it credentials")
        if static is not None:
            return static
        from cumulo._credentials.keys import CredentialsError
        from cumulo._credentials.refresher import fresh_keys

        try:
            keys = yield Call(fresh_keys, source)
        except CredentialsError as error:
            raise self._cannot_sign(f"no credentials: {error}") from error
        return keys[:3]

    def _cannot_sign(self, why: str) -> UnauthenticatedError:
        return UnauthenticatedError(f"sign in {self!r}: {why}", operation="sign", store=repr(self))

    def _never_signs(self, why: str) -> NotSupportedError:
        return NotSupportedError(f"sign in {self!r}: {why}", operation="sign", store=repr(self))


def signing(store: object) -> SigningStore:
    """The store, if it can sign. Raises `NotSupportedError`."""
    if not isinstance(store, SigningStore):
        raise NotSupportedError(
            f"{store!r} has no signed URLs: those of S3Store, GCSStore and AzureStore do", operation="sign"
        )
    return store
