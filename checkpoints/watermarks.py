"""How far tables that are pulled have been read: a time under a key, in the lake or in AWS's Parameter Store.

A watermark moves forward only; back it goes where a person asks for it. It is advanced after the rows are in bronze:
what the ledger knows is never older, so that one which is lost or behind costs reading again, and no row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from checkpoints import lease
from checkpoints.errors import UnreadableWatermark, WatermarkStoreFailed
from checkpoints.lake import Lake


class Watermarks(Protocol):
    """A store of watermarks."""

    def get(self, key: str) -> datetime | None:
        """The watermark under a key, in UTC; None where there is none."""

    def advance(self, key: str, to: datetime, *, back: bool = False) -> bool:
        """Move it; not to an earlier time, unless `back` is asked for. Whether it moved."""


class FileWatermarks:
    """Kept in the lake, `<root>/_checkpoints/_watermarks/<key>.json`; one process writes, the holder of the lease."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def get(self, key: str) -> datetime | None:
        """See Watermarks."""
        text = self._lake.read(self._file(key))
        if text is None:
            return None
        try:
            return _time(orjson.loads(text)["watermark"])
        except (ValueError, KeyError, TypeError):
            raise UnreadableWatermark(self._file(key)) from None

    def advance(self, key: str, to: datetime, *, back: bool = False) -> bool:
        """See Watermarks."""
        held = self.get(key)
        if held is not None and (held == to or (held > to and not back)):
            return False
        lease.check(self._lake)
        self._lake.write(self._file(key), orjson.dumps({"watermark": to.isoformat()}))
        return True

    def _file(self, key: str) -> str:
        return f"{self._lake.root}/_checkpoints/_watermarks/{key.strip('/').replace('/', '.')}.json"


class SsmWatermarks:
    """Kept as parameters of AWS Systems Manager, `<prefix>/<key>`, of type String, where other tools can read them.

    https://docs.aws.amazon.com/systems-manager/latest/userguide/systems-manager-parameter-store.html
    """

    def __init__(self, prefix: str, client: Any = None) -> None:
        import boto3  # slow to import, and only this store needs it

        self._prefix = prefix.rstrip("/")
        with _told(self._prefix):
            self._client = client or boto3.client("ssm")

    def get(self, key: str) -> datetime | None:
        """See Watermarks."""
        with _told(self._name(key)):
            try:
                found = self._client.get_parameter(Name=self._name(key))
            except self._client.exceptions.ParameterNotFound:
                return None
        try:
            return _time(found["Parameter"]["Value"])
        except ValueError:
            raise UnreadableWatermark(self._name(key)) from None

    def advance(self, key: str, to: datetime, *, back: bool = False) -> bool:
        """See Watermarks."""
        held = self.get(key)
        if held is not None and (held == to or (held > to and not back)):
            return False
        with _told(self._name(key)):
            self._client.put_parameter(
                Name=self._name(key), Value=to.isoformat(), Type="String", Overwrite=held is not None
            )
        return True

    def _name(self, key: str) -> str:
        return f"{self._prefix}/{key.strip('/')}"


def _time(text: str) -> datetime:
    """A watermark as it is kept, or as a person has written it: in UTC where it names no zone."""
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


@contextmanager
def _told(name: str) -> Iterator[None]:
    """What AWS refuses, in a sentence: its word for it, and nothing of who was refused. Raises WatermarkStoreFailed."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise WatermarkStoreFailed(name, error.response.get("Error", {}).get("Code", "it was refused")) from None
    except BotoCoreError as error:
        raise WatermarkStoreFailed(name, str(error).rstrip(".")) from None
