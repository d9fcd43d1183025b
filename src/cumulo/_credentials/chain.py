"""Which source serves a store: what its options name, else the AWS tools' order.

Keys -> web identity -> profile -> ECS or EKS container -> EC2 instance metadata. The store's settings already hold what
the environment says, and what takes precedence there. They are read when a store is made; files, endpoints and
processes when keys are wanted, each time.

A profile that the store's options name comes before a web identity that only the environment names, as in boto3. The
first source that is configured serves: if it fails, that is the error, and no other source is tried in its place.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from cumulo._records import field, fields, record

from . import services
from .keys import CredentialsError, Keys, make_keys
from .profiles import Profiles, Resolver

# Besides AWS_*: where the files are.
_ENVIRONMENT = ("HOME", "USERPROFILE")


@record(frozen=True)
class Options:
    """A store's options that concern credentials, and its environment. Equal options share one source."""

    profile: str | None = None
    profile_first: bool = False
    config_file: str | None = None
    shared_credentials_file: str | None = None
    role_arn: str | None = None
    role_session_name: str | None = None
    web_identity_token_file: str | None = None
    sts_endpoint: str | None = None
    container_credentials_relative_uri: str | None = None
    container_credentials_full_uri: str | None = field(default=None, repr=False)
    container_authorization_token: str | None = field(default=None, repr=False)
    container_authorization_token_file: str | None = None
    ec2_metadata_disabled: bool = False
    metadata_endpoint: str | None = None
    imdsv1_fallback: bool = False
    ignore_configured_endpoint_urls: bool = False
    region: str | None = None
    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def env(self) -> dict[str, str]:
        """The environment as it was when the store was made."""
        return {
            name: text
            for name, text in self.environment
            if not (self.ignore_configured_endpoint_urls and name.startswith("AWS_ENDPOINT_URL"))
        }


_TAKEN = [each.name for each in fields(Options) if each.name not in ("profile_first", "environment")]


def options_of(settings: object) -> Options:
    """What `settings` says in attributes named as the fields of `Options`; those it lacks are their defaults."""
    values: dict[str, Any] = {name: getattr(settings, name) for name in _TAKEN if getattr(settings, name, None)}
    explicit: Mapping[str, Any] = getattr(settings, "explicit", {})
    environment = ((name, text) for name, text in os.environ.items() if name[:4] == "AWS_" or name in _ENVIRONMENT)
    return Options(
        **values,
        profile_first="profile" in explicit and "web_identity_token_file" not in explicit,
        environment=tuple(sorted(environment)),
    )


def static_keys(settings: object) -> Keys | None:
    """Keys that need no fetching: given in the store's options or in the environment."""
    given = [getattr(settings, name, None) or None for name in ("access_key_id", "secret_access_key", "session_token")]
    return make_keys("options", *given) if given[0] or given[1] else None


def fetch(options: Options) -> Keys:
    """Fresh keys from the source that serves. Blocks."""
    if options.web_identity_token_file and options.role_arn and not options.profile_first:
        return services.assume_role_with_web_identity(
            options.sts_endpoint or services.sts_url(options.region),
            options.role_arn,
            options.role_session_name,
            options.web_identity_token_file,
        )
    keys = _profile(options)
    if keys is not None:
        return keys
    if options.container_credentials_relative_uri or options.container_credentials_full_uri:
        return _container(options)
    return _instance(options)


def _profile(options: Options) -> Keys | None:
    env = options.env
    profiles = Profiles(env, options.config_file, options.shared_credentials_file)
    name = options.profile or "default"
    if options.profile and profiles.get(name) is None:
        raise CredentialsError(f"there is no profile {name!r} in the AWS config and credentials files")
    sources = {
        "Environment": partial(_environment, options),
        "EcsContainer": partial(_container, options),
        "Ec2InstanceMetadata": partial(_instance, options),
    }
    resolver = Resolver(profiles, env, region=options.region, sts_url=options.sts_endpoint, sources=sources)
    return resolver.keys(name)


def _environment(options: Options) -> Keys:
    env = options.env
    return make_keys(
        "environment", env.get("AWS_ACCESS_KEY_ID"), env.get("AWS_SECRET_ACCESS_KEY"), env.get("AWS_SESSION_TOKEN")
    )


def _container(options: Options) -> Keys:
    if not options.container_credentials_relative_uri and not options.container_credentials_full_uri:
        raise CredentialsError("credential_source is EcsContainer, but this is no container with credentials")
    return services.container(
        options.container_credentials_relative_uri,
        options.container_credentials_full_uri,
        options.container_authorization_token,
        options.container_authorization_token_file,
    )


def _instance(options: Options) -> Keys:
    env = options.env
    nothing = (
        "no keys in the options or the environment, no web identity, no profile with credentials, no container's; "
        "skip_signature=True is for public buckets"
    )
    if options.ec2_metadata_disabled:
        raise CredentialsError(f"{nothing} (instance metadata is disabled)")
    ipv6 = env.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "").lower() == "ipv6"
    base = options.metadata_endpoint or (services.IMDS_HOST_IPV6 if ipv6 else services.IMDS_HOST)
    v1 = options.imdsv1_fallback and env.get("AWS_EC2_METADATA_V1_DISABLED", "").lower() != "true"
    try:
        return services.instance_metadata(base, v1_fallback=v1)
    except CredentialsError as error:
        raise CredentialsError(f"{nothing} ({error})") from None
