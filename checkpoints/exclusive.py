"""Creating a file that must not be there yet: of several who try, one wins. What the lease stands on."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from checkpoints.errors import NoExclusiveCreate
from checkpoints.lake import Lake

_TAKEN = ("PreconditionFailed", "ConditionalRequestConflict")


def create(lake: Lake, path: str, content: bytes) -> bool:
    """Create a file whole, unless there is one already; whether it was created.

    On a file system by a hard link, which fails where the name is taken, and on S3 by a conditional PUT.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
    Raises NoExclusiveCreate where the lake lies on a store that is known to offer neither.
    """
    scheme, found, rest = path.partition("://")
    if not found or scheme == "file":
        return _by_link(Path(lake.filesystem(path)[1]), content)
    if scheme in ("s3", "s3a"):
        bucket, _, key = rest.partition("/")
        return _by_put(bucket, key, content)
    raise NoExclusiveCreate(path)


def _by_link(path: Path, content: bytes) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    whole.write_bytes(content)
    try:
        os.link(whole, path)
    except FileExistsError:
        return False
    else:
        return True
    finally:
        whole.unlink()


def _by_put(bucket: str, key: str, content: bytes) -> bool:
    import boto3  # slow to import, and only lakes on S3 need it
    from botocore.exceptions import ClientError

    try:
        boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in _TAKEN:
            return False
        raise
    return True
