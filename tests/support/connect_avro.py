"""Debezium's change events in Avro as Kafka Connect's Avro converter writes them.

The converter itself is Confluent's and is not on Maven Central, so that the embedded stack can not have it. What it
does is done here with fastavro: the mapping from Connect's schemas to Avro's is that of its `AvroData`, and what is
mapped was recorded from a real Debezium, with Connect's schema beside each event, under
`decimal.handling.mode=precise`:

| file                   | what                                                                                      |
|------------------------|-------------------------------------------------------------------------------------------|
| `debezium_orders.json` | a snapshot of two rows, an insert, an update, a delete with its tombstone, a TRUNCATE       |
| `debezium_types.json`  | a table of all kinds of types; see record_debezium                                        |

https://github.com/confluentinc/schema-registry/blob/master/avro-data/src/main/java/io/confluent/connect/avro/AvroData.java
"""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.support.avro import confluent

Recorded = dict[str, Any]


def recorded(name: str) -> Recorded:
    """One of the recorded files."""
    found: Recorded = json.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))
    return found


ORDERS = recorded("debezium_orders.json")
TYPES = recorded("debezium_types.json")
_DECIMAL = "org.apache.kafka.connect.data.Decimal"
_CONNECT_PRECISION = 64
_PRIMITIVES = {
    "int8": "int",
    "int16": "int",
    "int32": "int",
    "int64": "long",
    "float": "float",
    "double": "double",
    "boolean": "boolean",
    "string": "string",
    "bytes": "bytes",
}


def avro_schema(of: Recorded = ORDERS) -> dict[str, Any]:
    """The schema under which the converter registers the recorded topic's values."""
    found: dict[str, Any] = _avro(of["schema"], set(), of["schema"]["name"].rpartition(".")[0])
    return found


def avro_events(number: int, of: Recorded = ORDERS) -> list[bytes | None]:
    """The recorded events in Confluent's wire format, with this schema id; a tombstone is None."""
    schema = avro_schema(of)
    return [
        None if event is None else confluent(number, schema, _with_bytes(event, of["schema"]))
        for event in of["payloads"]
    ]


def json_events(of: Recorded = ORDERS) -> list[dict[str, Any] | None]:
    """The same events as the JSON converter writes them under `decimal.handling.mode=string`."""
    return [None if event is None else _with_text(event, of["schema"]) for event in of["payloads"]]


def _avro(schema: dict[str, Any], written: set[str], space: str) -> Any:
    found = _of_type(schema, written, space)
    if not schema.get("optional"):
        return found
    # A union's first branch is that of the default.
    return [found, "null"] if "default" in schema else ["null", found]


def _of_type(schema: dict[str, Any], written: set[str], space: str) -> Any:
    name = schema.get("name")
    more: dict[str, Any] = {"connect.name": name} if name else {}
    if "version" in schema:
        more["connect.version"] = schema["version"]
    if "parameters" in schema:
        more["connect.parameters"] = schema["parameters"]
    if "default" in schema:
        more["connect.default"] = schema["default"]
    if schema["type"] == "array":
        return {"type": "array", "items": _avro(schema["items"], written, space), **more}
    if schema["type"] != "struct":
        kind = _PRIMITIVES[schema["type"]]
        if name == _DECIMAL:
            parameters = schema["parameters"]
            precision = int(parameters.get("connect.decimal.precision", _CONNECT_PRECISION))
            more |= {"logicalType": "decimal", "precision": precision, "scale": int(parameters["scale"])}
        return {"type": kind, **more} if more else kind
    namespace, _, own = name.rpartition(".")
    if name in written:
        return own if name.startswith(f"{space}.") else name
    written.add(name)
    fields = [_field(one, written, space) for one in schema["fields"]]
    return {"type": "record", "name": own, "namespace": namespace, "fields": fields, **more}


def _field(schema: dict[str, Any], written: set[str], space: str) -> dict[str, Any]:
    found = {"name": schema["field"], "type": _avro(schema, written, space)}
    if "default" in schema or schema.get("optional"):
        found["default"] = schema.get("default")
    return found


def _with_bytes(value: Any, schema: dict[str, Any]) -> Any:
    return _mapped(value, schema, lambda raw, _: raw)


def _with_text(value: Any, schema: dict[str, Any]) -> Any:
    def text(raw: bytes, of: dict[str, Any]) -> str:
        if of.get("name") != _DECIMAL:
            return base64.b64encode(raw).decode()
        unscaled = int.from_bytes(raw, "big", signed=True)
        return format(Decimal(unscaled).scaleb(-int(of["parameters"]["scale"])), "f")

    return _mapped(value, schema, text)


def _mapped(value: Any, schema: dict[str, Any], of_bytes: Any) -> Any:
    if value is None:
        return None
    if schema["type"] == "struct":
        return {one["field"]: _mapped(value[one["field"]], one, of_bytes) for one in schema["fields"]}
    if schema["type"] == "array":
        return [_mapped(one, schema["items"], of_bytes) for one in value]
    return of_bytes(base64.b64decode(value), schema) if schema["type"] == "bytes" else value
