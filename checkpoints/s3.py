"""Lakes on S3: what each client that Sluice has is told of the store, so that all of them see the same one.

Nothing of it is a setting of Sluice's: endpoint, region and credentials are those of AWS's own variables, profiles and
roles. https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html
"""

from __future__ import annotations

import functools
import os
from typing import Final

from pyarrow import fs

_SCHEMES: Final = ("s3", "s3a")
_ATTEMPTS: Final = 8


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
    """Arrow's client of a bucket."""
    return _filesystem(bucket, endpoint(), region())


@functools.lru_cache(maxsize=16)
def _filesystem(bucket: str, store: str | None, asked: str | None) -> fs.FileSystem:
    found = asked or ("us-east-1" if store else fs.resolve_s3_region(bucket))
    attempts = fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS)
    return fs.S3FileSystem(endpoint_override=store, region=found, retry_strategy=attempts)


def create(path: str, content: bytes) -> bool:
    """Put an object unless there is one of its name; whether it was put.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
    """
    import boto3  # slow to import, and only lakes on S3 need it
    from botocore.config import Config
    from botocore.exceptions import ClientError

    bucket, key = bucket_and_key(path)
    client = boto3.client("s3", config=Config(retries={"mode": "standard", "total_max_attempts": _ATTEMPTS}))
    try:
        client.put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") not in ("PreconditionFailed", "ConditionalRequestConflict"):
            raise
        # The client tries again where an answer is lost: what stands there may be this very object.
        with filesystem(bucket).open_input_stream(f"{bucket}/{key}") as stream:
            return bytes(stream.read()) == content
    return True
