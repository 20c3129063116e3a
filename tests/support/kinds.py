"""The contract of the table of all kinds of types that record_debezium makes, and what its full row becomes."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

_TIME, _DATA = "io.debezium.time", "io.debezium.data"
DECIMAL = "org.apache.kafka.connect.data.Decimal"


def _named(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": [kind, "null"], "x-debezium": name, **more}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": ["array", "null"], "items": items}


_DAYS = _list(_named("integer", f"{_TIME}.Date"))
_BYTES = {"type": ["string", "null"], "x-type": "binary", "contentEncoding": "base64"}

PROPERTIES: dict[str, Any] = {
    "id": {"type": "integer"},
    "note": {"type": ["string", "null"]},
    "exact": _named("string", DECIMAL, **{"x-type": "decimal(12,2)"}),
    "wide": _named("string", DECIMAL, **{"x-type": "decimal(38,10)"}),
    "loose": _named("object", f"{_DATA}.VariableScaleDecimal", **{"x-type": "decimal(38,12)"}),
    "price": _named("string", DECIMAL, **{"x-type": "decimal(20,2)"}),
    "ratio": {"type": ["number", "null"]},
    "weight": {"type": ["number", "null"], "x-type": "float"},
    "stamp3": _named("integer", f"{_TIME}.Timestamp"),
    "stamp6": _named("integer", f"{_TIME}.MicroTimestamp"),
    "instant": _named("string", f"{_TIME}.ZonedTimestamp"),
    "day": _named("integer", f"{_TIME}.Date"),
    "at": _named("integer", f"{_TIME}.MicroTime"),
    "at3": _named("integer", f"{_TIME}.Time"),
    "zoned": _named("string", f"{_TIME}.ZonedTime"),
    "span": _named("integer", f"{_TIME}.MicroDuration"),
    "token": _named("string", f"{_DATA}.Uuid", format="uuid"),
    "doc": _named("string", f"{_DATA}.Json"),
    "docb": _named("string", f"{_DATA}.Json", minLength=10, maxLength=20),
    "page": _named("string", f"{_DATA}.Xml"),
    "feeling": _named("string", f"{_DATA}.Enum"),
    "flags": _named("string", f"{_DATA}.Bits"),
    "photo": _BYTES,
    "yes": {"type": ["boolean", "null"]},
    "tags": _list({"type": ["string", "null"], "maxLength": 10}),
    "counts": _list({"type": ["integer", "null"], "maximum": 10}),
    "days": _DAYS,
    "amounts": _list(_named("string", DECIMAL, **{"x-type": "decimal(8,2)"})),
    "stamps": _list(_named("integer", f"{_TIME}.MicroTimestamp")),
    "long_text": {"type": ["string", "null"], "minLength": 1000},
    "long_bytes": _BYTES,
    "long_doc": _named("string", f"{_DATA}.Json"),
    "long_tags": _list({"const": "tag"}),
    "long_counts": _list({"type": "integer"}),
    "long_bigs": _list({"type": "integer"}),
    "long_tokens": _list({"type": "string", "format": "uuid"}),
    "long_days": _DAYS,
}
CONTRACT: dict[str, Any] = {"type": "object", "required": list(PROPERTIES), "properties": PROPERTIES}

_LONG = ("text", "bytes", "doc", "tags", "counts", "bigs", "tokens", "days")
TOASTED = ["docb", "tags", "counts", "days", *(f"long_{name}" for name in _LONG)]
"""What Debezium sends a placeholder for once another column changes; it sends null for `amounts` and `stamps`."""

FULL: dict[str, Any] = {
    "id": 1,
    "note": "full",
    "exact": Decimal("1234.50"),
    "wide": Decimal("-1234567890123456789012345678.0123456789"),
    "loose": Decimal("0.000123000000"),
    "price": Decimal("12.34"),
    "ratio": 0.1,
    "weight": 0.5,
    "stamp3": datetime(2024, 2, 29, 12, 0, 0, 123_000),
    "stamp6": datetime(2024, 2, 29, 12, 0, 0, 123_456),
    "instant": datetime(2024, 2, 29, 12, 0, 0, 123_456, UTC),
    "day": date(1969, 12, 31),
    "at": 86_399_999_999,
    "at3": 86_400_000_000,
    "zoned": "10:30:00Z",
    "span": 31_741_445_000_006,
    "token": "a3bb189e-8bf9-3888-9912-ace4e6543002",
    "doc": '{"b": 1}',
    "docb": '{"c": [1.50]}',
    "page": "<a/>",
    "feeling": "calm",
    "flags": b"\x01\x0a",
    "photo": b"\x00\xff",
    "yes": True,
    "tags": ["a", None, "b c"],
    "counts": [1, None, -3],
    "days": [date(2024, 2, 29)],
    "amounts": [Decimal("1.50"), Decimal("-2.25")],
    "stamps": [datetime(2024, 2, 29, 12, 0, 0, 1)],
    "long_bytes": b"\xab\xcd" * 75,
    "long_tags": ["tag"] * 20,
    "long_days": [date(2024, 2, 29)] * 30,
}
"""Without the longest."""
