"""The AWS tools' files, and what a profile in them asks for.

Source of the rules: AWS SDKs and Tools reference guide, "Shared config and credentials files"; the order within one
profile is botocore's: a role, web identity, SSO, static keys, a process.
"""

from __future__ import annotations

import configparser
import os
import shlex
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from . import services
from .keys import CredentialsError, Keys, json_object, keys_of_json, make_keys
from .sso import Sso, role_keys

PROCESS_TIMEOUT_S = 60
_SSO_SETTINGS = ("sso_start_url", "sso_region", "sso_account_id", "sso_role_name")

Profile = Mapping[str, str]


class Profiles:
    """The sections of both files; a profile's settings in the credentials file win."""

    def __init__(self, env: Mapping[str, str], config_file: str | None, credentials_file: str | None) -> None:
        home = Path(env.get("HOME") or Path.home())
        config = _read(config_file, home / ".aws" / "config")
        credentials = _read(credentials_file, home / ".aws" / "credentials")
        self._profiles: dict[str, dict[str, str]] = {}
        self.sso_sessions: dict[str, dict[str, str]] = {}
        for section, settings in config.items():
            kind, _, name = section.partition(" ")
            name = name.strip().strip("'\"")
            if section == "default" or (kind == "profile" and name):
                self._profiles.setdefault(name or section, {}).update(settings)
            elif kind == "sso-session" and name:
                self.sso_sessions[name] = settings
        for section, settings in credentials.items():
            self._profiles.setdefault(section, {}).update(settings)

    def get(self, name: str) -> Profile | None:
        """A profile's settings, None if there is no such profile."""
        return self._profiles.get(name)


def _read(name: str | None, default: Path) -> dict[str, dict[str, str]]:
    path = Path(name).expanduser() if name else default
    # No default section, as in the AWS tools: "DEFAULT" is a profile like any other.
    parser = configparser.RawConfigParser(default_section="\0", strict=False, allow_no_value=True)
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise CredentialsError(f"cannot read {path}: {reason}") from None
    except configparser.Error as error:
        raise CredentialsError(f"cannot parse {path}{_line(error)}") from None  # its own text quotes the line
    return {name: {key: value or "" for key, value in parser.items(name)} for name in parser.sections()}


def _line(error: configparser.Error) -> str:
    if isinstance(error, configparser.MissingSectionHeaderError):  # a ParsingError that is made otherwise
        return f", line {error.lineno}"
    return f", line {error.errors[0][0]}" if isinstance(error, configparser.ParsingError) and error.errors else ""


class Resolver:
    """Finds the keys that profiles ask for. `sources` are what their `credential_source` may name."""

    def __init__(
        self,
        profiles: Profiles,
        env: Mapping[str, str],
        *,
        region: str | None,
        sts_url: str | None,
        sources: Mapping[str, Callable[[], Keys]],
    ) -> None:
        self._profiles = profiles
        self._env = env
        self._region = region
        self._sts_url = sts_url
        self._sources = sources

    def keys(self, name: str, seen: tuple[str, ...] = ()) -> Keys | None:
        """The keys of a profile; None if it says nothing about credentials, or does not exist."""
        profile = self._profiles.get(name)
        if profile is None:
            return None
        if profile.get("role_arn"):
            return self._role(name, profile, seen)
        if profile.get("sso_session") or profile.get("sso_start_url"):
            return role_keys(self._sso(name, profile), self._env)
        if profile.get("aws_access_key_id"):
            return _static(name, profile)
        if command := profile.get("credential_process"):
            return run_process(command, f"credential_process of profile {name!r}")
        if profile.get("login_session"):
            raise CredentialsError(
                f"profile {name!r} is an `aws login` session: name in another profile "
                f"`credential_process = aws configure export-credentials --profile {name}`"
            )
        return None

    def _role(self, name: str, profile: Profile, seen: tuple[str, ...]) -> Keys:
        role = profile["role_arn"]
        region = self._region or profile.get("region")
        url = self._sts_url or services.sts_url(region)
        session = profile.get("role_session_name")
        if token_file := profile.get("web_identity_token_file"):
            return services.assume_role_with_web_identity(url, role, session, token_file)
        if profile.get("mfa_serial"):
            raise CredentialsError(
                f"profile {name!r} asks for an MFA code: use a credential_provider that can ask for it"
            )
        form = {
            "RoleArn": role,
            "RoleSessionName": session or services.session_name(),
            "ExternalId": profile.get("external_id"),
            "DurationSeconds": profile.get("duration_seconds"),
        }
        given = {key: value for key, value in form.items() if value}
        return services.assume_role(url, region, self._role_source(name, profile, seen), given)

    def _role_source(self, name: str, profile: Profile, seen: tuple[str, ...]) -> Keys:
        """The keys that a role is assumed with."""
        source = profile.get("source_profile")
        if not source:
            kind = profile.get("credential_source", "")
            if kind not in self._sources:
                raise CredentialsError(f"profile {name!r} has a role_arn without a source_profile or credential_source")
            return self._sources[kind]()
        if source == name and profile.get("aws_access_key_id"):
            return _static(name, profile)
        if source in (*seen, name):
            raise CredentialsError(f"the profiles {', '.join((*seen, name))} name each other as source_profile")
        keys = self.keys(source, (*seen, name))
        if keys is None:
            raise CredentialsError(f"profile {source!r}, the source_profile of {name!r}, has no credentials")
        return keys

    def _sso(self, name: str, profile: Profile) -> Sso:
        session = profile.get("sso_session")
        if session and session not in self._profiles.sso_sessions:
            raise CredentialsError(f"profile {name!r} names an sso-session {session!r} that is not there")
        settings = {**profile, **(self._profiles.sso_sessions[session] if session else {})}
        missing = [key for key in _SSO_SETTINGS if not settings.get(key)]
        if missing:
            raise CredentialsError(f"profile {name!r} lacks {', '.join(missing)}")
        start_url, region, account_id, role_name = (settings[key] for key in _SSO_SETTINGS)
        return Sso(name, session, start_url, region, account_id, role_name)


def _static(name: str, profile: Profile) -> Keys:
    return make_keys(
        f"profile {name!r}",
        profile.get("aws_access_key_id"),
        profile.get("aws_secret_access_key"),
        profile.get("aws_session_token") or profile.get("aws_security_token"),
    )


# -- credential_process

_running: set[subprocess.Popen[bytes]] = set()


def run_process(command: str, where: str) -> Keys:
    """Run a command without a shell; it prints the keys as JSON. Its output is never shown, its complaints are."""
    try:
        arguments = [os.path.expanduser(part) for part in shlex.split(command)]
        process = subprocess.Popen(  # noqa: S603 - the user's own configuration names it
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its quotes do not match"
        raise CredentialsError(f"{where}: cannot run it: {reason}") from None
    _running.add(process)
    try:
        output, complaints = process.communicate(timeout=PROCESS_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise CredentialsError(f"{where}: not done within {PROCESS_TIMEOUT_S} s") from None
    finally:
        _running.discard(process)
        _reap(process)
    if process.returncode != 0:
        last = (complaints.decode("utf-8", "replace").strip().splitlines() or [""])[-1][:200]
        raise CredentialsError(f"{where}: exit status {process.returncode}{': ' if last else ''}{last}")
    if json_object(where, output).get("Version") != 1:
        raise CredentialsError(f"{where}: the output's Version is not 1")
    return keys_of_json(where, output, session="SessionToken")


def _reap(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def kill_processes() -> None:
    """At exit: end what still runs."""
    for process in list(_running):
        process.kill()


os.register_at_fork(after_in_child=_running.clear)  # the parent's children
