"""STS, ECS and EKS containers, EC2 instance metadata: what each is asked, and what its answer says.

Sources of the rules: AWS STS API reference (AssumeRole, AssumeRoleWithWebIdentity); AWS SDKs and Tools reference guide,
"Container credential provider" and "IMDS credential provider"; EC2 user guide, "Use the Instance Metadata Service".
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Sequence
from html import unescape
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from .exchange import Answer, Limits, NoAnswerError, Signer, exchange
from .keys import CredentialsError, Keys, keys_of_json, make_keys, parse_time

CONTAINER_HOST = "http://169.254.170.2"
IMDS_HOST = "http://169.254.169.254"
IMDS_HOST_IPV6 = "http://[fd00:ec2::254]"
_CONTAINER_ADDRESSES = ("169.254.170.2", "169.254.170.23", "fd00:ec2::23")
_TOKEN_LIFETIME_S = 21600
# The answer comes from the host itself: without one after a second or two there is no such service.
_METADATA_LIMITS = Limits(connect_s=1, total_s=2, retries=2)
_CONTAINER_LIMITS = Limits(connect_s=2, total_s=10, retries=3)


def session_name() -> str:
    """A role session's name, where the user gave none."""
    return f"cumulo-{int(time.time())}"


# -- STS


def sts_url(region: str | None) -> str:
    """The regional endpoint; the global one where no region is known."""
    if not region:
        return "https://sts.amazonaws.com"
    return f"https://sts.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


def assume_role_with_web_identity(url: str, role_arn: str, name: str | None, token_file: str) -> Keys:
    """The token file is read anew each time: what it holds is rotated."""
    try:
        token = Path(token_file).expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"web identity: cannot read the token file: {_reason(error)}") from None
    form = {"RoleArn": role_arn, "RoleSessionName": name or session_name(), "WebIdentityToken": token}
    return _sts(url, "AssumeRoleWithWebIdentity", form, None)


def assume_role(url: str, region: str | None, source: Keys, form: dict[str, str]) -> Keys:
    """`form` holds RoleArn, RoleSessionName and what else AssumeRole takes."""
    return _sts(url, "AssumeRole", form, Signer(source, "sts", region or "us-east-1"))


def _sts(url: str, action: str, form: dict[str, str], signer: Signer | None) -> Keys:
    body = urlencode({"Action": action, "Version": "2011-06-15", **form}).encode()
    headers = [("Content-Type", "application/x-www-form-urlencoded")]
    answer = exchange("POST", url, headers=headers, body=body, signer=signer)
    if answer.status != HTTPStatus.OK:
        code, message = _xml(answer.body, "Code"), _xml(answer.body, "Message")
        raise CredentialsError(": ".join(filter(None, (f"{action}: HTTP {answer.status}", code, message)))[:400])
    expires = _xml(answer.body, "Expiration")
    return make_keys(
        action,
        _xml(answer.body, "AccessKeyId"),
        _xml(answer.body, "SecretAccessKey"),
        _xml(answer.body, "SessionToken"),
        parse_time(action, expires) if expires else None,
    )


def _xml(body: bytes, name: str) -> str | None:
    # Names are unique in these documents, of a schema that is fixed since 2011: no parser, so nothing to attack in one.
    found = re.search(rf"<{name}>\s*([^<]*?)\s*</{name}>", body.decode("utf-8", "replace"))
    return unescape(found.group(1)) if found else None


# -- containers: ECS gives a relative URI, EKS (pod identity) a full one


def container(relative: str | None, full: str | None, token: str | None, token_file: str | None) -> Keys:
    """The keys of the task or pod that this process runs in."""
    url = CONTAINER_HOST + relative if relative else full or ""
    if not relative:
        _check_container_url(url)
    if token_file:
        try:
            token = Path(token_file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise CredentialsError(f"container: cannot read the token file: {_reason(error)}") from None
    if token and not token.isprintable():
        raise CredentialsError("container: the authorization token contains control characters, such as a line end")
    headers = [("Accept", "application/json"), *([("Authorization", token)] if token else [])]
    answer = exchange("GET", url, headers=headers, limits=_CONTAINER_LIMITS, direct=True)
    if answer.status != HTTPStatus.OK:
        raise CredentialsError(f"container: HTTP {answer.status} from {urlsplit(url).hostname}")
    return keys_of_json("container", answer.body)


def _check_container_url(url: str) -> None:
    """A token must not travel in the open: plain HTTP is for this machine and the two agents' fixed addresses."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or host in _CONTAINER_ADDRESSES or host == "localhost":
        return
    try:
        safe = ipaddress.ip_address(host).is_loopback
    except ValueError:
        safe = False
    if not safe:
        raise CredentialsError(f"container: credentials URI on host {host!r} must be https, or a container agent's")


# -- EC2 instance metadata


def instance_metadata(base: str, *, v1_fallback: bool) -> Keys:
    """The keys of the instance's role, by IMDS v2; v1 only where that is allowed and v2 is not there."""
    base = base.rstrip("/")
    headers: Sequence[tuple[str, str]] = ()
    try:
        headers = (("X-aws-ec2-metadata-token", _imds_token(base)),)
    except _NoV2Error as error:
        if not v1_fallback:
            raise CredentialsError(str(error)) from None
    roles = f"{base}/latest/meta-data/iam/security-credentials/"
    role = _imds_get(roles, headers).body.decode("utf-8", "replace").split("\n")[0].strip()
    if not role:
        raise CredentialsError("instance metadata: the instance has no role")
    answer = _imds_get(roles + quote(role, safe=""), headers)
    return keys_of_json("instance metadata", answer.body, needs_expiry=True)


class _NoV2Error(CredentialsError):
    pass


def _imds_token(base: str) -> str:
    lifetime = [("X-aws-ec2-metadata-token-ttl-seconds", str(_TOKEN_LIFETIME_S))]
    try:
        # An empty body, so that Content-Length: 0 is sent: some proxies of the service want it with a PUT.
        answer = exchange(
            "PUT", f"{base}/latest/api/token", headers=lifetime, body=b"", limits=_METADATA_LIMITS, direct=True
        )
    except NoAnswerError as error:
        raise _NoV2Error(f"instance metadata: {error}") from None
    token = answer.body.decode("latin-1").strip()
    if answer.status != HTTPStatus.OK or not token or not token.isprintable():
        raise _NoV2Error(f"instance metadata: HTTP {answer.status} to the request for a token")
    return token


def _imds_get(url: str, headers: Sequence[tuple[str, str]]) -> Answer:
    try:
        answer = exchange("GET", url, headers=headers, limits=_METADATA_LIMITS, direct=True)
    except NoAnswerError as error:
        raise CredentialsError(f"instance metadata: {error}") from None
    if answer.status != HTTPStatus.OK:
        reason = ": has the instance a role?" if answer.status == HTTPStatus.NOT_FOUND else ""
        raise CredentialsError(f"instance metadata: HTTP {answer.status}{reason}")
    return answer


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, OSError) else "it is no text"
