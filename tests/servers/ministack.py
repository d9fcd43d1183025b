"""ministack: the main S3 server, with signatures checked, over HTTP or TLS.

It checks signatures of IAM users' keys only (root's secret may be anything), hence the user.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from tests.faults.certs import authority

from .process import accepts, executable, free_ports, running
from .s3server import Feature, S3Server

LACKS: frozenset[Feature] = frozenset(
    {"copy_if_absent", "entity_too_small", "payload_hash_verified", "unsigned_headers_refused"}
)
ROOT_KEY, ROOT_SECRET = "root", "rootsecret"
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@contextlib.contextmanager
def serve(directory: Path, *, tls: bool = False) -> Iterator[S3Server]:
    """Run it; `directory` takes its log and, for TLS, the certificates."""
    port = free_ports(1)[0]
    environment = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "AUTH": "true",
        "SERVICES": "s3,iam,sts",
        "IOT_MTLS_ENABLED": "0",  # else it opens a port on all interfaces
        "LOG_LEVEL": "WARNING",
        "TMPDIR": str(directory),
        "AWS_ACCESS_KEY_ID": ROOT_KEY,
        "AWS_SECRET_ACCESS_KEY": ROOT_SECRET,
    }
    ca_file = None
    if tls:
        test_authority = authority(directory / "certificates")
        certificate, key = test_authority.files("valid")
        environment |= {"USE_SSL": "1", "MINISTACK_SSL_CERT": str(certificate), "MINISTACK_SSL_KEY": str(key)}
        ca_file = test_authority.ca_file
    endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    with running([executable("ministack")], directory / "ministack.log", environment) as process:
        process.wait_until(lambda: accepts(port))
        yield _with_user(S3Server("ministack", endpoint, ROOT_KEY, ROOT_SECRET, lacks=LACKS, ca_file=ca_file))


def _with_user(root: S3Server) -> S3Server:
    iam = root.boto3_client("iam")
    iam.create_user(UserName="tester")
    key = iam.create_access_key(UserName="tester")["AccessKey"]
    iam.put_user_policy(UserName="tester", PolicyName="everything", PolicyDocument=json.dumps(POLICY))
    iam.close()
    access_key_id, secret = key["AccessKeyId"], key["SecretAccessKey"]
    return S3Server(root.name, root.endpoint, access_key_id, secret, lacks=root.lacks, ca_file=root.ca_file)
