"""Avro schemas and records as producers write them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import fastavro


def record(name: str, *fields: dict[str, Any]) -> dict[str, Any]:
    """A record's schema."""
    return {"type": "record", "name": name, "namespace": "shop", "fields": list(fields)}


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def logical(base: str, name: str, /, **more: Any) -> dict[str, Any]:
    return {"type": base, "logicalType": name, **more}


def body(schema: Any, value: Any) -> bytes:
    """A record as plain Avro."""
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return out.getvalue()


def confluent(number: int, schema: Any, value: Any) -> bytes:
    """A record in Confluent's wire format."""
    return b"\x00" + number.to_bytes(4, "big") + body(schema, value)
