"""A topic's bytes to records: JSON or Avro, whichever way the producer wrapped them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

import pyarrow as pa

from schemas import json_bytes
from schemas.unreadable import Unreadable

NO_RECORD: Final = object()
"""Stands for a record without a value: a tombstone."""


class Reader(Protocol):
    """Reads the values of a topic; small and picklable, since it travels to the workers."""

    def read_all(self, values: pa.Array) -> tuple[list[Any], list[int]]:
        """A record for each value (BINARY): what was read, NO_RECORD, or an Unreadable; and those with a `Decimal`."""


@dataclass(frozen=True)
class JsonReader:
    """JSON; a Kafka Connect envelope of `schema` and `payload` is taken off."""

    def read_all(self, values: pa.Array) -> tuple[list[Any], list[int]]:
        """See Reader."""
        with_decimals = json_bytes.maybe_inexact(values)
        exactly = set(with_decimals)
        raw = values.to_pylist()
        if exactly:
            return [_read(value, exact=row in exactly) for row, value in enumerate(raw)], with_decimals
        return [_read(value) for value in raw], with_decimals


def _read(value: bytes | None, *, exact: bool = False) -> Any:
    if value is None:
        return NO_RECORD
    try:
        record = json_bytes.read_exactly(value) if exact else json_bytes.read(value)
    except Unreadable as unreadable:
        return unreadable
    if type(record) is dict and len(record) == 2 and "schema" in record and "payload" in record:
        payload = record["payload"]
        if payload is None:
            return NO_RECORD
        return payload if isinstance(payload, dict) else Unreadable("json.object", "/payload")
    return record
