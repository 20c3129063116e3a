"""What a contract's values are in Spark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.contract import Contract, UntypedContract, load, spark_type


def contract(schema: dict[str, Any]) -> Contract:
    return Contract("orders", Path("orders.schema.json"), schema, "1", "abc")


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, "string"),
        ({"type": "boolean"}, "boolean"),
        ({"type": "integer"}, "bigint"),
        ({"type": "number"}, "double"),
        ({"type": ["integer", "null"]}, "bigint"),
        ({"type": ["integer", "number", "null"]}, "double"),
        ({"type": ["string", "integer"]}, "string"),
        ({"type": "null"}, "string"),
        ({"enum": ["a", "b"]}, "string"),
        ({}, "string"),
        ({"type": "array", "items": {"type": "integer"}}, "array<bigint>"),
        ({"type": "array"}, "array<string>"),
        ({"type": "array", "items": True}, "array<string>"),
        ({"type": "object"}, "map<string,string>"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "map<string,double>"),
        ({"type": "object", "additionalProperties": False}, "map<string,string>"),
        ({"properties": {"a": {"type": "integer"}, "b": True}}, "struct<a:bigint,b:string>"),
        ({"type": ["object", "null"], "properties": {"a": {}}}, "struct<a:string>"),
        ({"type": "string", "x-type": "decimal(18,2)"}, "decimal(18,2)"),
        ({"type": "string", "format": "date-time"}, "string"),
        ({"$ref": "#/$defs/money", "$defs": {"money": {"x-type": "decimal(9,2)"}}}, "decimal(9,2)"),
        ({"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {"type": "integer"}}}, "bigint"),
        ({"$ref": "#/$defs/money", "x-type": "date", "$defs": {"money": {"x-type": "decimal(9,2)"}}}, "date"),
        (
            {
                "properties": {"a": {"$ref": "#/$defs/m"}, "b": {"$ref": "#/$defs/m"}},
                "$defs": {"m": {"$ref": "#/$defs/n"}, "n": {"type": "boolean"}},
            },
            "struct<a:boolean,b:boolean>",
        ),
    ],
)
def test_types(schema: dict[str, Any], kind: str) -> None:
    assert spark_type(schema).simpleString() == kind


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        ({"type": "string"}, "contract orders at `/`: a contract describes an object with `properties`"),
        (
            {"properties": {"a/b": {"items": {"x-type": "money"}, "type": "array"}}},
            "contract orders at `/properties/a~1b/items/x-type`: `money` is not a Spark type",
        ),
        (
            {"properties": {"a": {"$ref": "#/$defs/none"}}},
            "contract orders at `/properties/a/$ref`: `#/$defs/none` leads to no schema in this file",
        ),
        (
            {"properties": {"a": {"$ref": "other.json"}}},
            "contract orders at `/properties/a/$ref`: `other.json` leads to no schema in this folder",
        ),
        (
            {
                "properties": {"a": {"type": "array", "items": {"$ref": "#/$defs/n"}}},
                "$defs": {"n": {"$ref": "#"}},
            },
            "contract orders at `/properties/a/items/properties/a/items/$ref`: `#/$defs/n` leads back to "
            "itself, "
            "and a column's type can not",
        ),
    ],
)
def test_what_has_no_type_has_its_sentence(schema: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UntypedContract) as raised:
        _ = contract(schema).row_type
    assert str(raised.value) == sentence


def test_a_contract_is_known_by_its_file_its_version_and_its_text(tmp_path: Path) -> None:
    file = tmp_path / "orders.schema.json"
    file.write_text(json.dumps({"x-version": 3, "properties": {"a": {"type": "integer"}}}), encoding="utf-8")
    first = load(file)
    assert (first.name, first.version, first.row_type.simpleString()) == ("orders", "3", "struct<a:bigint>")
    file.write_text(file.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert load(file).hash != first.hash
    assert len(first.hash) == 12
