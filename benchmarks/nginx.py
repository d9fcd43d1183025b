"""The configuration of the origin's nginx: stock Debian modules only.

The parts that aren't plain static files:

- PUT sink. A bare ``return 200`` answers before the body has arrived, which flatters some clients. ``mirror`` reads
  the whole body first; the static handler then refuses PUT with 405, which ``error_page`` turns into the 200. No second
  hop, and small bodies never touch a file.
- Each PUT is logged with its length, so that a run can check that all it claims to have sent has arrived.
- Listing. The continuation token names the prepared page.
- Multipart. ``$args`` alone tells create from complete; the bodies are constant, as is the ETag.
- Cloud Storage's JSON API and Azure's own header for ranges, for the providers' SDKs. The latter takes a second hop, as
  nginx knows no range but `Range`'s.
"""

from __future__ import annotations

import getpass
import grp
import os
from dataclasses import dataclass
from pathlib import Path

from . import content

ETAG = '"9a0364b9e99bb480dd25e1f0284c8555"'
UPLOAD_ID = "benchmark-upload"
LIMIT_RATE_MIB = 40
BACKLOG = 1024


@dataclass(frozen=True)
class Settings:
    """What varies from one origin to the next."""

    directory: Path
    port: int
    limited_port: int
    tls_port: int | None
    workers: int
    cpu: int | None

    @property
    def put_log(self) -> Path:
        """One line a PUT: status, Content-Length (`-` if chunked), length with headers."""
        return self.directory / "put.log"

    @property
    def certificate(self) -> Path:
        """The self-signed certificate of the TLS port."""
        return self.directory / "certificate.pem"

    @property
    def key(self) -> Path:
        """The private key of the TLS port."""
        return self.directory / "key.pem"


def configuration(settings: Settings) -> str:
    """The whole nginx.conf."""
    servers = [_server(settings, f"127.0.0.1:{settings.port}")]
    servers.append(_server(settings, f"127.0.0.1:{settings.limited_port}", f"limit_rate {LIMIT_RATE_MIB}m;"))
    if settings.tls_port:
        tls = f"ssl_certificate {settings.certificate}; ssl_certificate_key {settings.key};"
        servers.append(_server(settings, f"127.0.0.1:{settings.tls_port} ssl", tls))
    return f"""\
daemon off;
pid {settings.directory}/nginx.pid;
error_log {settings.directory}/error.log error;
worker_processes {settings.workers};
worker_rlimit_nofile 8192;
{_user()}{_affinity(settings)}
events {{ worker_connections 4096; }}
http {{
{_http(settings.directory)}
{"".join(servers)}}}
"""


def _http(directory: Path) -> str:
    temporary = [
        f"{name}_temp_path {directory}/temporary/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    ]
    page = '"~(^|&)continuation-token=(?<token>page[0-9]+)(&|$)" $token'
    pages = content.LIST_PAGES - content.FEW // content.KEYS_PER_PAGE
    few = content.page_token(pages)
    few_blob = content.page_token(pages * content.KEYS_PER_PAGE // content.BLOBS_PER_PAGE)
    json_page = '"~(^|&)pageToken=(?<json_token>page[0-9]+)(&|$)" $json_token'
    blob_page = '"~(^|&)marker=(?<marker>page[0-9]+)(&|$)" $marker'
    return f"""\
    default_type application/octet-stream;
    access_log off;
    log_format put "$status $content_length $request_length";
    sendfile on;
    tcp_nopush on;
    etag on;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    open_file_cache max=1000 inactive=1h;
    open_file_cache_valid 1h;
    client_max_body_size 0;
    client_body_buffer_size 1m;
    {" ".join(temporary)}
    map $request_method $is_put {{ PUT 1; }}
    map $args $list_page {{ default {content.page_token(0)}; {page}; }}
    map $args $blob_page {{ default {content.page_token(0)}; {blob_page}; }}
    map $args $few_list {{ default {few}; {page}; }}
    map $args $few_json {{ default {few}; {json_page}; }}
    map $args $few_blobs {{ default {few_blob}; {blob_page}; }}
    map $args $multipart_answer {{ {_multipart_map()} }}"""


def _server(settings: Settings, listen: str, extra: str = "") -> str:
    return f"""
    server {{
        listen {listen} backlog={BACKLOG};
        {extra}
        root {settings.directory}/files;
        location = /{content.LISTING_BUCKET} {{ default_type application/xml; try_files /pages/$list_page.xml =404; }}
        location = /{content.LISTING_BUCKET}/ {{ default_type application/xml; try_files /pages/$list_page.xml =404; }}
        location = /{content.BLOBS_BUCKET} {{
            default_type application/xml;
            try_files /pages/blobs-$blob_page.xml =404;
        }}
{_for_sdks(settings, listen)}
        location /{content.SINK_BUCKET}/ {{
            if ($request_method = POST) {{ return 200 '$multipart_answer'; }}
            if ($request_method = DELETE) {{ return 204; }}
            access_log {settings.put_log} put buffer=64k flush=100ms if=$is_put;
            mirror /mirrored;
            error_page 405 =200 @stored;
        }}
        location @stored {{
            access_log {settings.put_log} put buffer=64k flush=100ms if=$is_put;
            add_header ETag '{ETAG}';
            return 200;
        }}
        location = /mirrored {{ internal; return 204; }}
    }}
"""


def _for_sdks(settings: Settings, listen: str) -> str:
    """What no XML API of Cloud Storage's, and nothing but Azure's SDK, asks for."""
    bucket, sink = content.BUCKET, content.SINK_BUCKET
    stored = f'{{"kind": "storage#object", "bucket": "{sink}", "name": "name", "size": "16384", "generation": "1"}}'
    scheme, address = ("https" if listen.endswith("ssl") else "http"), listen.split(maxsplit=1)[0]
    return f"""\
        location ~ ^(/download)?/storage/v1/b/{bucket}/o/(?<key>.+)$ {{ try_files /{bucket}/$key =404; }}
        location = /storage/v1/b/{content.FEW_BUCKET}/o {{
            default_type application/json;
            try_files /pages/$few_json.json =404;
        }}
        location = /{content.FEW_BUCKET} {{ default_type application/xml; try_files /pages/$few_list.xml =404; }}
        location = /{content.FEW_BLOBS_BUCKET} {{
            default_type application/xml;
            try_files /pages/blobs-$few_blobs.xml =404;
        }}
        location = /upload/storage/v1/b/{sink}/o {{
            mirror /mirrored;
            log_not_found off;
            error_page 404 405 =200 @inserted;
        }}
        location @inserted {{
            access_log {settings.put_log} put buffer=64k flush=100ms;
            default_type application/json;
            return 200 '{stored}';
        }}
        location /{bucket}/ {{
            proxy_http_version 1.1;
            proxy_set_header Range $http_x_ms_range;
            proxy_set_header x-ms-range "";
            proxy_set_header Connection "";
            if ($http_x_ms_range) {{ proxy_pass {scheme}://{address}; }}
        }}
        location /{content.BLOB_SINK}/ {{
            access_log {settings.put_log} put buffer=64k flush=100ms if=$is_put;
            mirror /mirrored;
            error_page 405 =201 @created;
        }}
        location @created {{
            access_log {settings.put_log} put buffer=64k flush=100ms if=$is_put;
            add_header ETag '{ETAG}' always;
            return 201;
        }}"""


def _multipart_map() -> str:
    namespace = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    names = f"<Bucket>{content.SINK_BUCKET}</Bucket><Key>key</Key>"
    initiated, completed = f"{names}<UploadId>{UPLOAD_ID}</UploadId>", f"{names}<ETag>{ETAG}</ETag>"
    create = f"<InitiateMultipartUploadResult {namespace}>{initiated}</InitiateMultipartUploadResult>"
    complete = f"<CompleteMultipartUploadResult {namespace}>{completed}</CompleteMultipartUploadResult>"
    return f"'~(^|&)uploads(=|&|$)' '{create}'; default '{complete}';"


def _user() -> str:
    """Started as root, nginx would drop to a user that can't read the private directory."""
    if os.geteuid() != 0:
        return ""
    return f"user {getpass.getuser()} {grp.getgrgid(os.getegid()).gr_name};\n"


def _affinity(settings: Settings) -> str:
    if settings.cpu is None:
        return ""
    mask = format(1 << settings.cpu, "b")
    return f"worker_cpu_affinity {' '.join([mask] * settings.workers)};\n"
