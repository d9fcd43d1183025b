"""A twin of one scene's folder in the public bucket `sentinel-cogs`: the same names, with little in them."""

from __future__ import annotations

from .s3server import S3Server

BUCKET = "sentinel-cogs"
SCENE = "sentinel-s2-l2a-cogs/12/S/UF/2022/6/S2B_12SUF_20220609_0_L2A"
BANDS = ("AOT", "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B11", "B12", "B8A", "L2A_PVI", "SCL",
         "TCI", "WVP")  # fmt: skip
THUMBNAIL = bytes.fromhex("ffd8ffe000104a46494600010100000100010000") + bytes(1000) + bytes.fromhex("ffd9")
"""Begins and ends as a JPEG does."""


def names() -> list[str]:
    """The folder's files."""
    return sorted([f"{band}.tif" for band in BANDS] + ["S2B_12SUF_20220609_0_L2A.json", "thumbnail.jpg"])


def fill(server: S3Server) -> None:
    """Make the bucket, and let everybody read it. For moto, which knows public objects."""
    client = server.boto3
    if BUCKET in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
        return
    client.create_bucket(Bucket=BUCKET)
    for name in names():
        body = THUMBNAIL if name == "thumbnail.jpg" else name.encode()
        client.put_object(Bucket=BUCKET, Key=f"{SCENE}/{name}", Body=body, ACL="public-read")
