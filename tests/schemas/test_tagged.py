"""Which columns of bronze a contract's tags reach, wherever in it they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from schemas.contract import Contract
from schemas.schema_set import SchemaSet
from schemas.spec import BronzeSpec, KafkaSource
from schemas.tagged import Tagged

TEXT = {"type": "string"}
PRIVATE = {"type": "string", "x-pii": True}


def tagged(properties: dict[str, Any], *, format_: Any = "json", describes: Any = "row", **more: Any) -> Tagged:
    schema = {"type": "object", "properties": properties, **more}
    spec = BronzeSpec(
        table="bronze.people",
        source=KafkaSource(topic="people", format=format_),
        contract="people",
        contract_describes=describes,
    )
    contract = Contract("people", Path("people.schema.json"), schema, "1", "0", SchemaSet.of({}))
    return Tagged.of(spec, contract)


READS = [
    # properties, path, whether it may be tagged
    ({"a": PRIVATE, "b": TEXT}, "a", True),
    ({"a": PRIVATE, "b": TEXT}, "b", False),
    ({"Mail": PRIVATE}, "mail", True),
    ({"a": PRIVATE}, "_key", True),
    ({"a": PRIVATE}, "_rescued_data", True),
    ({"a": PRIVATE}, "_topic", False),
    ({"a": TEXT}, "_key", False),
    ({"o": {"type": "object", "x-pii": True, "properties": {"a": TEXT}}}, "o.a", True),
    ({"o": {"type": "object", "properties": {"a": PRIVATE, "b": TEXT}}}, "o", True),
    ({"o": {"type": "object", "properties": {"a": PRIVATE, "b": TEXT}}}, "o.b", False),
    ({"l": {"type": "array", "items": {"properties": {"a": PRIVATE, "b": TEXT}}}}, "l", True),
    ({"l": {"type": "array", "items": {"properties": {"a": PRIVATE, "b": TEXT}}}}, "l.a", True),
    ({"l": {"type": "array", "items": {"properties": {"a": PRIVATE, "b": TEXT}}}}, "l.b", False),
    ({"m": {"type": "object", "additionalProperties": PRIVATE}}, "m", True),
    ({"m": {"type": "object", "additionalProperties": PRIVATE}}, "m.x", True),
    ({"m": {"type": "object", "patternProperties": {"^p_": PRIVATE}}}, "m", True),
    ({"m": {"type": "object", "propertyNames": {"x-pii": True}}}, "m", True),
    ({"v": {"anyOf": [TEXT, PRIVATE]}}, "v", True),
    ({"v": {"if": {"const": "x"}, "then": {"x-pii": True}}}, "v", True),
    ({"r": {"$ref": "#/$defs/private"}}, "r", True),
    ({"r": {"$ref": "#/$defs/tree"}}, "r", True),
    ({"r": {"$ref": "#/$defs/tree"}}, "r.name", False),
    ({"r": {"$ref": "#/$defs/nowhere"}}, "r", True),
    ({"a": {"type": "string", "x-pii": False}}, "a", False),
    ({"a": {"type": "string", "x-pii": "yes"}}, "a", True),
]
DEFS = {
    "private": PRIVATE,
    "tree": {
        "properties": {
            "name": TEXT,
            "leaf": PRIVATE,
            "below": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
        }
    },
}


@pytest.mark.parametrize(("properties", "path", "expected"), READS)
def test_tags_are_found_wherever_they_stand(properties: dict[str, Any], path: str, expected: bool) -> None:
    assert tagged(properties, **{"$defs": DEFS}).reads(*path.split(".")) is expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [("after.a", True), ("before.a", True), ("after.b", False), ("after", True), ("op", False), ("source.db", False)],
)
def test_an_event_has_the_row_twice(path: str, expected: bool) -> None:
    found = tagged({"a": PRIVATE, "b": TEXT}, format_="debezium-json")
    assert found.reads(*path.split(".")) is expected


def test_the_contract_of_an_envelope_has_the_row_inside() -> None:
    row = {"type": "object", "properties": {"a": PRIVATE, "b": TEXT}}
    found = tagged({"after": row}, format_="debezium-json", describes="envelope")
    assert (found.reads("after", "a"), found.reads("before", "a"), found.reads("after", "b")) == (True, True, False)
    assert (found.is_field("a"), found.is_field("b")) == (True, False)


def test_a_field_that_the_contract_does_not_name_has_the_tag_of_the_others() -> None:
    assert not tagged({"a": PRIVATE}).is_field("unknown")
    assert tagged({"a": TEXT}, additionalProperties=PRIVATE).is_field("unknown")
    assert tagged({"a": {"properties": {"b": PRIVATE}}}).is_field("a")
    assert tagged({"a": TEXT}, **{"x-pii": True}).is_field("a")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("upper(a)", "a"),
        ("b", None),
        ("transform(l, a -> a.b)", None),
        ("transform(l, x -> concat(x.b, a))", "a"),
        ("user", "user"),
        ("count(*)", ""),
        ("a[0]", "a"),
        ("`a`", "a"),
        ("raw:a", ""),
        ("b || ", None),
    ],
)
def test_expressions_are_read_with_care(sql: str, expected: str | None) -> None:
    properties = {
        "a": PRIVATE,
        "b": TEXT,
        "user": PRIVATE,
        "l": {"type": "array", "items": {"properties": {"b": TEXT}}},
    }
    assert tagged(properties).read_by(sql) == expected


def test_where_nothing_is_tagged_nothing_is_asked() -> None:
    found = tagged({"a": TEXT})
    assert not found.any
    assert found.read_by("to_json(struct(*))") is None
