"""Which source serves: the AWS tools' order, their files, and processes."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cumulo._credentials import profiles, source_for
from cumulo._credentials.chain import fetch, options_of, static_keys
from cumulo._credentials.keys import CredentialsError, Keys
from tests.faults import FaultServer, Response

from .support import SECRET, TOKEN, Origin, document, iso, settings


def keys_for(**options: Any) -> Keys:
    found = settings(**options)
    return static_keys(found) or fetch(options_of(found))


def static(name: str, key: str) -> str:
    return f"[{name}]\naws_access_key_id = {key}\naws_secret_access_key = {SECRET}\n"


# -- the order


def test_options_before_environment_before_web_identity_before_profile_before_container(
    fault_server: FaultServer, aws: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fault_server.script("/creds", Response.json(document("AKCONTAINER")))
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{fault_server.url}/creds")
    assert keys_for().access_key_id == "AKCONTAINER"

    (aws / "credentials").write_text(static("default", "AKPROFILE"))
    assert keys_for().access_key_id == "AKPROFILE"

    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "absent"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn")
    with pytest.raises(CredentialsError, match="web identity"):
        keys_for()

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    assert keys_for() == Keys("AKENV", SECRET, TOKEN)

    assert keys_for(access_key_id="AKOPTION", secret_access_key=SECRET) == Keys("AKOPTION", SECRET)
    assert keys_for(profile="default").access_key_id == "AKPROFILE", "named in Python, it goes before the environment"


def test_nothing_at_all() -> None:
    with pytest.raises(CredentialsError, match=r"no keys in the options or the environment.*skip_signature=True"):
        keys_for()


def test_from_the_chain_to_a_signed_request(origin: Origin, aws: Path) -> None:
    (aws / "credentials").write_text(static("default", "AKPROFILE"))
    assert origin.get(source_for(settings())).error is None
    assert origin.signers() == ["AKPROFILE"]


def test_files_are_read_when_keys_are_wanted(origin: Origin, aws: Path) -> None:
    source = source_for(settings())
    assert source is not None
    assert origin.get(source).error == "credentials"
    assert "no profile with credentials" in source.failure()
    (aws / "credentials").write_text(static("default", "AKLATER"))
    time.sleep(1.1)
    assert origin.get(source).error is None


# -- the files


def test_the_files_sections(aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (aws / "config").write_text(
        "# a comment\n[default]\nregion = eu-west-1\ns3 =\n  max_concurrent_requests = 20\n  addressing_style = path\n"
        + static('profile "two words"', "AKQUOTED")
        + static("profile both", "AKCONFIG")
        + static("DEFAULT", "AKNOBODY")
        + static("no profile", "AKNOBODY")
    )
    (aws / "credentials").write_text(static("both", "AKCREDENTIALS") + "aws_session_token = " + TOKEN + "\n")
    assert keys_for(profile="two words").access_key_id == "AKQUOTED"
    assert keys_for(profile="both") == Keys("AKCREDENTIALS", SECRET, TOKEN)
    monkeypatch.setenv("AWS_PROFILE", "both")
    assert keys_for().access_key_id == "AKCREDENTIALS"
    for name in ("absent", "no profile", "profile"):
        with pytest.raises(CredentialsError, match="there is no profile"):
            keys_for(profile=name)


def test_files_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").write_text("\ufeff" + static("a", "AKELSEWHERE"), encoding="utf-8")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "~/elsewhere")
    assert keys_for(profile="a").access_key_id == "AKELSEWHERE"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path))
    with pytest.raises(CredentialsError, match=r"cannot read .*: Is a directory"):
        keys_for(profile="a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"aws_secret_access_key = {SECRET}\n", "cannot parse .*credentials, line 1"),
        (f"[default]\n = {SECRET}\n", "cannot parse .*credentials, line 2"),
        (f"[default]\naws_access_key_id =\naws_secret_access_key = {SECRET}\n", "no profile with credentials"),
        (f"[default]\naws_access_key_id = A\naws_secret_key = {SECRET}\n", "the secret access key is missing"),
        (f"[default]\naws_access_key_id = A\naws_secret_access_key = {SECRET}\n  more\n", "control characters"),
    ],
)
def test_broken_files_are_told_without_their_content(aws: Path, text: str, message: str) -> None:
    (aws / "credentials").write_text(text)
    with pytest.raises(CredentialsError, match=message) as caught:
        keys_for()
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("role_arn = arn\n", "without a source_profile or credential_source"),
        ("role_arn = arn\ncredential_source = Moon\n", "without a source_profile or credential_source"),
        ("role_arn = arn\nsource_profile = default\n", "name each other"),
        (
            "role_arn = arn\nsource_profile = loop\n[profile loop]\nrole_arn = b\nsource_profile = default\n",
            "name each",
        ),
        ("role_arn = arn\nsource_profile = empty\n[profile empty]\nregion = x\n", "'empty', .*has no credentials"),
        ("role_arn = arn\ncredential_source = Environment\n", "environment: the access key id is missing"),
        ("role_arn = arn\ncredential_source = EcsContainer\n", "this is no container"),
        ("role_arn = arn\nmfa_serial = arn:mfa\nsource_profile = default\n", "MFA"),
        ("login_session = arn:aws:iam::1:user/a\n", "credential_process = aws configure export-credentials --profile"),
    ],
)
def test_profiles_that_cannot_serve(aws: Path, text: str, message: str) -> None:
    (aws / "config").write_text("[default]\n" + text)
    with pytest.raises(CredentialsError, match=message):
        keys_for()


# -- credential_process


@pytest.fixture
def helper(tmp_path: Path, aws: Path) -> Any:
    def make(program: str) -> None:
        script = tmp_path / "a helper.py"
        script.write_text(program)
        (aws / "config").write_text(f"[default]\ncredential_process = {sys.executable} '~/a helper.py' 'x y' $HOME\n")

    return make


def output(**changes: Any) -> str:
    members = {"Version": 1, "AccessKeyId": "AKPROCESS", "SecretAccessKey": SECRET, "SessionToken": TOKEN}
    members = {**members, "Expiration": iso(3600), **changes}
    return f"print({json.dumps(json.dumps(members))})"


def test_process(helper: Any) -> None:
    helper("import sys; assert sys.argv[1:] == ['x y', '$HOME'], sys.argv\n" + output())
    keys = keys_for()
    assert keys[:3] == ("AKPROCESS", SECRET, TOKEN)
    assert keys.expires_ms == pytest.approx((time.time() + 3600) * 1000, abs=5000)


def test_process_whose_keys_do_not_expire(helper: Any) -> None:
    helper(output(SessionToken=None, Expiration=None))
    assert keys_for() == Keys("AKPROCESS", SECRET)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (f"import sys; print('{SECRET}'); sys.exit('no\\nthe session is over')", "status 1: the session is over"),
        (f"print('{SECRET}')", "no JSON object"),
        (output(Version=2), "Version is not 1"),
        (output(AccessKeyId=None), "access key id is missing"),
        (output(Expiration="soon"), "no ISO 8601 time"),
        ("import os; os.kill(os.getpid(), 9)", "exit status -9"),
    ],
)
def test_process_errors(helper: Any, program: str, message: str) -> None:
    helper(program)
    with pytest.raises(CredentialsError, match=message) as caught:
        keys_for()
    assert "credential_process of profile 'default'" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_processes_that_cannot_run(aws: Path) -> None:
    for command, message in (("/absent --x", "No such file"), ("it's", "quotes do not match")):
        (aws / "config").write_text(f"[default]\ncredential_process = {command}\n")
        with pytest.raises(CredentialsError, match=message):
            keys_for()


def test_a_process_that_hangs_is_ended(helper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "PROCESS_TIMEOUT_S", 0.5)
    helper("import time; time.sleep(60)")
    started = time.monotonic()
    with pytest.raises(CredentialsError, match=r"not done within 0\.5 s"):
        keys_for()
    assert time.monotonic() - started < 30
    assert not profiles._running


def test_a_slow_process_holds_up_nobody_else(helper: Any, origin: Origin, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    helper(f"import os, time\nwhile not os.path.exists({str(go_on)!r}):\n    time.sleep(0.01)\n{output()}")
    slow = source_for(settings())
    from cumulo._native import Request, thread_queue

    request = Request(origin.client(slow), "GET", b"/bucket/key", timeout_s=30)
    request.submit(thread_queue())
    assert origin.get(source_for(settings(), lambda: {**OTHER})).error is None
    go_on.touch()
    request.wait()
    assert request.error is None
    assert origin.signers() == ["AKOTHER", "AKPROCESS"]


OTHER = {"access_key_id": "AKOTHER", "secret_access_key": SECRET, "expires_at": None}
