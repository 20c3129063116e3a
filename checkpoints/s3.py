"""Lakes on S3: what each client that Sluice has is told of the store, so that all of them see the same one.

Nothing of it is a setting of Sluice's: endpoint, region and credentials are those of AWS's own variables, profiles and
roles. https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html
"""

from __future__ import annotations

import functools
import os
import re
from typing import Any, Final

from pyarrow import fs

from checkpoints.errors import StoreFailed

_SCHEMES: Final = ("s3", "s3a")
_ATTEMPTS: Final = 8
_OF_S3: Final = re.compile(r"Generic S3 error|AWS Error")
_ANSI: Final = re.compile("\x1b\\[[0-9;]*m")
_MOST: Final = 400


def is_on_s3(path: str) -> bool:
    """Whether a path is a URI of S3's."""
    return path.partition("://")[0] in _SCHEMES and "://" in path


def uri(path: str) -> str:
    """The URI in the form that all clients know; s3a:// is Hadoop's alone."""
    return f"s3://{path.partition('://')[2]}"


def bucket_and_key(path: str) -> tuple[str, str]:
    """The two parts of a URI."""
    bucket, _, key = path.partition("://")[2].partition("/")
    return bucket, key


def endpoint() -> str | None:
    """The URL of a store other than AWS's, as MinIO; None for AWS's."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def region() -> str | None:
    """The region that is asked for; None where it is the bucket's."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or None


def tell_delta() -> None:
    """Tell delta-rs, by its own variables, what it does not take from AWS's."""
    store = endpoint()
    if store is None:
        return
    if "AWS_ENDPOINT_URL" not in os.environ:
        os.environ.setdefault("AWS_ENDPOINT", store)
    if store.startswith("http://"):
        os.environ.setdefault("AWS_ALLOW_HTTP", "true")


def filesystem(bucket: str) -> fs.FileSystem:
    """Arrow's client of a bucket, which lists, and reads tables; it tries again less often than that of boto3."""
    return _filesystem(bucket, endpoint(), region())


@functools.lru_cache(maxsize=16)
def _filesystem(bucket: str, store: str | None, asked: str | None) -> fs.FileSystem:
    found = asked or ("us-east-1" if store else fs.resolve_s3_region(bucket))
    attempts = fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS)
    # Small files are one request, and not the three of an upload in parts.
    return fs.S3FileSystem(endpoint_override=store, region=found, retry_strategy=attempts, allow_delayed_open=True)


def get(path: str) -> bytes | None:
    """An object, whole; None where there is none."""
    bucket, key = bucket_and_key(path)
    client = _client(endpoint(), region())
    try:
        return bytes(client.get_object(Bucket=bucket, Key=key)["Body"].read())
    except client.exceptions.NoSuchKey:
        return None


def put(path: str, content: bytes) -> None:
    """Put an object, in the place of one that is there."""
    bucket, key = bucket_and_key(path)
    _client(endpoint(), region()).put_object(Bucket=bucket, Key=key, Body=content)


def remove(path: str) -> bool:
    """Remove an object; whether it was there."""
    if get(path) is None:
        return False
    bucket, key = bucket_and_key(path)
    _client(endpoint(), region()).delete_object(Bucket=bucket, Key=key)
    return True


def create(path: str, content: bytes) -> bool:
    """Put an object unless there is one of its name; whether it was put.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
    """
    bucket, key = bucket_and_key(path)
    client = _client(endpoint(), region())
    try:
        client.put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
    except client.exceptions.ClientError as error:
        if error.response.get("Error", {}).get("Code") not in ("PreconditionFailed", "ConditionalRequestConflict"):
            raise
        # The client tries again where an answer is lost: what stands there may be this very object.
        return get(path) == content
    return True


@functools.lru_cache(maxsize=16)
def _client(store: str | None, asked: str | None) -> Any:
    import boto3  # slow to import, and only lakes on S3 need it
    from botocore.config import Config

    attempts = Config(retries={"mode": "standard", "total_max_attempts": _ATTEMPTS})
    return boto3.client("s3", endpoint_url=store, region_name=asked, config=attempts)


def failure(error: BaseException) -> StoreFailed | None:
    """What one of the clients says of S3, for a person; None where it is another error."""
    text = _ANSI.sub("", str(error))
    if not (type(error).__module__.startswith("botocore.") or _OF_S3.search(text)):
        return None
    line = " ".join(text.replace("↳", "-").split("<?xml")[0].split())
    return StoreFailed(line[:_MOST].rstrip(" .-"))
