"""The schemas that a judge holds records to, made of a contract: of those that need no second look, and of keys."""

from __future__ import annotations

import json
from typing import Any, Literal

from schemas import debezium
from schemas.field_tree import Node, schema_of
from schemas.validation import Validation


def strict_schema(
    contract: Validation,
    conditions: list[dict[str, Any]],
    row: Node,
    keys: tuple[str, ...],
    describes: Literal["row", "envelope"],
    *,
    is_debezium: bool,
) -> Validation:
    """The schema of the records that need no second look."""
    present = {"type": "object", "required": list(keys), "properties": {key: {"not": {"type": "null"}} for key in keys}}
    described = {"$ref": contract.uri}
    image = {"allOf": [schema_of(row), present, *([described] if describes == "row" else [])]}
    if not is_debezium:
        return contract.within({"allOf": [image, *conditions]})
    envelope = {
        "type": "object",
        "required": [debezium.OP, debezium.SOURCE, debezium.AFTER],
        "properties": {
            debezium.OP: {"enum": [debezium.CREATE, debezium.UPDATE, debezium.READ]},
            debezium.SOURCE: debezium.POSITION_SCHEMA,
            debezium.AFTER: image,
        },
        "allOf": [*conditions, *([described] if describes == "envelope" else [])],
    }
    return contract.within(envelope)


def key_schema(contract: Validation, keys: tuple[str, ...], describes: Literal["row", "envelope"]) -> Validation:
    """What the contract says of the key columns, where it names them in place: all that is sure of a deleted row."""
    within = ["properties"] if describes == "row" else ["properties", debezium.AFTER, "properties"]
    named: Any = json.loads(contract.schema)
    for step in within:
        named = named.get(step) if isinstance(named, dict) else None
    path = "/".join(within)
    fields = {
        key: {"$ref": f"{contract.uri}#/{path}/{key}"} for key in keys if isinstance(named, dict) and key in named
    }
    return contract.within({"properties": fields})
