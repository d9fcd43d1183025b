"""Credential providers for `S3Store` by boto3, which the extra `cumulo[boto3]` brings.

Without a provider the store finds what the AWS tools find; these are for sessions that the program makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypedDict

from cumulo.exceptions import MissingExtraError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from cumulo._config import S3Config, S3Credential

__all__ = [
    "AssumeRoleRequestRequestTypeDef",
    "Boto3CredentialProvider",
    "PolicyDescriptorTypeTypeDef",
    "ProvidedContextTypeDef",
    "StsCredentialProvider",
    "TagTypeDef",
]


class PolicyDescriptorTypeTypeDef(TypedDict, total=False):
    """A managed policy, by its ARN."""

    arn: str


class TagTypeDef(TypedDict):
    """A session's tag."""

    Key: str
    Value: str


class ProvidedContextTypeDef(TypedDict, total=False):
    """A context that an identity provider has asserted."""

    ProviderArn: str
    ContextAssertion: str


class _RoleAndSession(TypedDict):
    RoleArn: str
    RoleSessionName: str


class AssumeRoleRequestRequestTypeDef(_RoleAndSession, total=False):
    """What STS takes for AssumeRole. Source: AWS STS API reference, AssumeRole."""

    PolicyArns: Sequence[PolicyDescriptorTypeTypeDef]
    Policy: str
    DurationSeconds: int
    Tags: Sequence[TagTypeDef]
    TransitiveTagKeys: Sequence[str]
    ExternalId: str
    SerialNumber: str
    TokenCode: str
    SourceIdentity: str
    ProvidedContexts: Sequence[ProvidedContextTypeDef]


class Boto3CredentialProvider:
    """The keys of a session of boto3 or botocore, whatever they come from: a profile, SSO, a role.

    Args:
        session: the session; by default `boto3.Session()`.
        ttl: how long keys are used before the session is asked again; keys that expire before that, until then.

    A session can't be pickled; what it was made of can: pickles hold its profile, its region, and keys if they were
    given to it in Python. Others are looked for where the pickle is opened.

    Raises:
        MissingExtraError: boto3 is not installed.
        ValueError: the session finds no credentials.
    """

    config: S3Config
    """For the store: the session's region, if it has one."""
    credentials: Any
    """botocore's credentials of the session."""
    ttl: timedelta

    def __init__(self, session: Any = None, *, ttl: timedelta = timedelta(minutes=30)) -> None:
        self._session = session if session is not None else _new_session()
        found = self._session.get_credentials()
        if found is None:
            raise ValueError(
                "the boto3 session finds no credentials: give it keys or a profile, or set AWS_PROFILE or "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        self.credentials = found
        self.config = _region_config(self._session)
        self.ttl = ttl

    def __call__(self) -> S3Credential:
        """The session's keys now; blocks if it has to fetch them."""
        frozen = self.credentials.get_frozen_credentials()
        expires_at = datetime.now(timezone.utc) + self.ttl
        known = getattr(self.credentials, "_expiry_time", None)  # botocore has no public name for it
        if isinstance(known, datetime) and known.tzinfo is not None:
            expires_at = min(expires_at, known)
        return {
            "access_key_id": frozen.access_key, "secret_access_key": frozen.secret_key, "token": frozen.token,
            "expires_at": expires_at,
        }  # fmt: skip

    def __reduce__(self) -> tuple[Any, ...]:
        return _boto3_again, (_recipe(self._session), self.ttl)


class StsCredentialProvider:
    """Keys of a role, which STS gives to a session of boto3.

    Args:
        session: the session that assumes the role; by default `boto3.Session()`.
        **kwargs: what STS takes for AssumeRole: `RoleArn`, `RoleSessionName`, `DurationSeconds` and others.

    Pickles are as those of `Boto3CredentialProvider`.

    Raises:
        MissingExtraError: boto3 is not installed.
    """

    config: S3Config
    """For the store: the session's region, if it has one."""
    session: Any
    """The session of boto3."""

    def __init__(self, session: Any = None, **kwargs: Unpack[AssumeRoleRequestRequestTypeDef]) -> None:
        self.session = session if session is not None else _new_session()
        self.kwargs = kwargs
        self.config = _region_config(self.session)

    def __call__(self) -> S3Credential:
        """Fresh keys; blocks. Raises what botocore raises."""
        client = self.session.client("sts")
        try:
            found = client.assume_role(**self.kwargs)["Credentials"]
        finally:
            client.close()
        return {
            "access_key_id": found["AccessKeyId"], "secret_access_key": found["SecretAccessKey"],
            "token": found["SessionToken"], "expires_at": found["Expiration"],
        }  # fmt: skip

    def __reduce__(self) -> tuple[Any, ...]:
        return _sts_again, (_recipe(self.session), dict(self.kwargs))


# -- sessions


def _new_session(**options: Any) -> Any:
    try:
        boto3: Any = import_module("boto3")  # untyped
    except ImportError as error:
        raise MissingExtraError("this needs boto3: pip install 'cumulo[boto3]'") from error
    return boto3.Session(**options)


def _of_botocore(session: Any) -> Any:
    """The session of botocore: itself, or the one in boto3's."""
    return getattr(session, "_session", session)


def _region_config(session: Any) -> S3Config:
    region = _of_botocore(session).get_config_variable("region")
    return {"region": region} if region else {}


def _recipe(session: Any) -> dict[str, Any]:
    """Arguments of a session alike. Keys that the session has found itself are not among them."""
    core = _of_botocore(session)
    recipe: dict[str, Any] = {
        "profile_name": core.instance_variables().get("profile"), "region_name": core.get_config_variable("region"),
    }  # fmt: skip
    found = session.get_credentials()
    if found is not None and found.method == "explicit":
        frozen = found.get_frozen_credentials()
        recipe |= {
            "aws_access_key_id": frozen.access_key, "aws_secret_access_key": frozen.secret_key,
            "aws_session_token": frozen.token,
        }  # fmt: skip
    return recipe


def _boto3_again(recipe: dict[str, Any], ttl: timedelta) -> Boto3CredentialProvider:
    return Boto3CredentialProvider(_new_session(**recipe), ttl=ttl)


def _sts_again(recipe: dict[str, Any], kwargs: Any) -> StsCredentialProvider:
    return StsCredentialProvider(_new_session(**recipe), **kwargs)
