"""What is shown of a record is what its contract says is harmless, and nothing else, whatever is in the bytes."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from schemas.contract import Contract
from schemas.contract import load as load_contract
from schemas.masking import MASK, Masker, opaque
from schemas.schema_set import SchemaSet
from schemas.spec import BronzeSpec

SECRET = "canary-5e1f"

CONTRACT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "price": {"type": "number"},
        "email": {"type": "string", "x-pii": True},
        "home": {
            "type": ["object", "null"],
            "properties": {"city": {"type": "string"}, "street": {"type": "string", "x-pii": True}},
        },
        "contact": {"type": "object", "x-pii": True, "properties": {"phone": {"type": "string"}}},
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"sku": {"type": "string"}, "giftee": {"type": "string", "x-pii": True}},
            },
        },
        "nicknames": {"type": "array", "items": {"type": "string", "x-pii": True}},
        "anything": {"type": "array"},
        "pair": {"prefixItems": [{"type": "integer"}, {"type": "string", "x-pii": True}], "items": False},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "notes": {"type": "object", "additionalProperties": {"type": "string", "x-pii": True}},
        "open": {"type": "object", "additionalProperties": True},
        "friends": {"type": "object", "propertyNames": {"x-pii": True}, "additionalProperties": {"type": "integer"}},
        "codes": {"type": "object", "patternProperties": {"^s_": {"type": "string", "x-pii": True}, "^n_": {}}},
        "ref": {"$ref": "#/$defs/person"},
        "ref_marked": {"$ref": "#/$defs/plain", "x-pii": True},
        "ref_of_ref": {"$ref": "#/$defs/again"},
        "tree": {"$ref": "#/$defs/tree"},
        "either": {"anyOf": [{"type": "integer"}, {"type": "string", "x-pii": True}]},
        "merged": {
            "allOf": [
                {"properties": {"a": {"type": "string"}}},
                {"properties": {"a": {"x-pii": True}, "b": {"type": "string"}}},
            ]
        },
        "kind": {
            "type": "object",
            "properties": {"of": {"type": "string"}},
            "if": {"properties": {"of": {"const": "person"}}},
            "then": {"properties": {"name": {"type": "string", "x-pii": True}}},
            "else": {"properties": {"name": {"type": "string"}}},
        },
    },
    "$defs": {
        "plain": {"type": "string"},
        "person": {"type": "object", "properties": {"name": {"x-pii": True}, "age": {"type": "integer"}}},
        "again": {"$ref": "#/$defs/person"},
        "tree": {
            "type": "object",
            "properties": {
                "size": {"type": "integer"},
                "owner": {"type": "string", "x-pii": True},
                "below": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
            },
        },
    },
}


def contract_of(schema: dict[str, Any], folder: SchemaSet | None = None) -> Contract:
    name = Path("rows.schema.json")
    references = folder or SchemaSet(())
    return Contract("rows", name, schema, "1", "0", references)


def masker(
    schema: dict[str, Any] = CONTRACT, form: str = "json", describes: str = "row", folder: SchemaSet | None = None
) -> Masker:
    spec = BronzeSpec.model_validate(
        {
            "table": "bronze.rows",
            "source": {"topic": "rows", "format": form},
            "contract": "rows",
            "contract_describes": describes,
        }
    )
    return Masker.of(spec, contract_of(schema, folder))


def shown(value: Any, **given: Any) -> Any:
    return masker(**given).value(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("id", 7, 7),
        ("id", None, None),
        ("email", SECRET, MASK),
        ("email", None, MASK),
        # a value of another type at a field that is personal
        ("email", {"address": SECRET}, MASK),
        ("email", [SECRET], MASK),
        ("email", 5, MASK),
        # nobody has said that it is harmless
        ("unknown", SECRET, MASK),
        ("unknown", {"city": SECRET}, MASK),
        ("Email", SECRET, MASK),
        # in objects
        ("home", {"city": "Oslo", "street": SECRET}, {"city": "Oslo", "street": MASK}),
        ("home", {"city": "Oslo", "floor": SECRET}, {"city": "Oslo", "floor": MASK}),
        ("home", None, None),
        ("home", SECRET, MASK),
        ("home", [{"street": SECRET}], MASK),
        ("contact", {"phone": SECRET}, MASK),
        # an object where a text is described: its fields are not
        ("ref_of_ref", {"name": SECRET, "age": 3}, {"name": MASK, "age": 3}),
        ("id", {"x": SECRET}, {"x": MASK}),
        ("id", [SECRET], MASK),
        # in lists
        ("items", [{"sku": "a", "giftee": SECRET}], [{"sku": "a", "giftee": MASK}]),
        ("items", [{"sku": "a"}, SECRET], [{"sku": "a"}, MASK]),
        ("items", [], []),
        ("items", {"giftee": SECRET}, {"giftee": MASK}),
        ("nicknames", [SECRET, SECRET], [MASK, MASK]),
        ("anything", [SECRET], MASK),
        ("pair", [1, SECRET], [1, MASK]),
        ("pair", [1, SECRET, SECRET], MASK),
        # in maps
        ("labels", {"colour": "red"}, {"colour": "red"}),
        ("labels", {"colour": {"deep": SECRET}}, {"colour": {"deep": MASK}}),
        ("notes", {"first": SECRET}, {"first": MASK}),
        ("open", {"first": SECRET}, {"first": MASK}),
        ("friends", {SECRET: 1}, MASK),
        ("codes", {"s_a": SECRET, "n_a": 1, "x": SECRET}, {"s_a": MASK, "n_a": 1, "x": MASK}),
        # behind references
        ("ref", {"name": SECRET, "age": 3}, {"name": MASK, "age": 3}),
        ("ref_marked", SECRET, MASK),
        (
            "tree",
            {"size": 1, "owner": SECRET, "below": [{"size": 2, "owner": SECRET, "below": []}]},
            {"size": 1, "owner": MASK, "below": [{"size": 2, "owner": MASK, "below": []}]},
        ),
        # where it hangs on the value, any that says so counts
        ("either", 3, MASK),
        ("merged", {"a": SECRET, "b": "x"}, {"a": MASK, "b": "x"}),
        ("kind", {"of": "thing", "name": SECRET}, {"of": "thing", "name": MASK}),
    ],
)
def test_only_what_the_contract_says_is_harmless_is_shown(field: str, value: Any, expected: Any) -> None:
    found = shown({field: value})

    assert found == {field: expected}
    assert SECRET not in json.dumps(found)


@pytest.mark.parametrize("name", ["ada@example.org", "+47 123", "Ada Lovelace", "1815-12-10", "a" * 65, ""])
def test_a_name_that_nobody_declared_is_shown_only_where_it_looks_like_one(name: str) -> None:
    assert shown({"id": 1, name: SECRET, f"{name}!": 2}) == {"id": 1, f"{MASK} 2": MASK, f"{MASK} 3": MASK}
    assert shown({"labels": {name: "x"}}) == {"labels": {f"{MASK} 1": "x"}}


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff\xfe", b"[" * 5000, b'{"id": NaN}', b"\x00\x00\x00\x00\x01\x02", b'{"id": "\\ud800"}'],
)
def test_of_what_is_not_json_its_length_and_a_hash_are_told(raw: bytes) -> None:
    assert masker().value(raw) == masker().key(raw) == opaque(raw)
    assert opaque(b"k") == "1 byte, sha256 8254c329a928"


def test_depth_that_the_contract_describes_is_no_way_around() -> None:
    deep: Any = {"owner": SECRET}
    for _ in range(400):
        deep = {"owner": SECRET, "below": [deep]}
    assert SECRET not in json.dumps(shown({"tree": deep}))


@pytest.mark.parametrize("record", [SECRET, [SECRET], 5, None])
def test_a_record_that_is_no_object_is_not_shown(record: Any) -> None:
    assert shown(record) == (None if record is None else MASK)


def test_numbers_keep_their_digits() -> None:
    found = masker().value(b'{"id": 123456789012345678901234567890, "price": 1.10000000000000000001}')
    assert found == {"id": 123456789012345678901234567890, "price": Decimal("1.10000000000000000001")}


def test_a_connect_envelope_is_looked_into() -> None:
    record = {"schema": {"doc": SECRET}, "payload": {"id": 1, "email": SECRET}}
    assert shown(record) == {"schema": MASK, "payload": {"id": 1, "email": MASK}}
    assert shown({"schema": None, "payload": None}) == {"schema": MASK, "payload": None}


SOURCE = {"connector": "mysql", "db": "shop", "table": "rows", "pos": 4, "query": f"UPDATE ... '{SECRET}'"}


def test_of_a_debezium_event_the_rows_are_masked_and_the_envelope_is_shown() -> None:
    row = {"id": 1, "email": SECRET}
    event = {"before": row, "after": None, "source": SOURCE, "op": "d", "ts_ms": 5, "transaction": {"id": SECRET}}
    expected = {
        "before": {"id": 1, "email": MASK},
        "after": None,
        "source": {"connector": "mysql", "db": "shop", "table": "rows", "pos": 4, "query": MASK},
        "op": "d",
        "ts_ms": 5,
        "transaction": MASK,
    }
    assert shown(event, form="debezium-json") == expected
    wrapped = {"schema": {}, "payload": event}
    assert shown(wrapped, form="debezium-json") == {"schema": MASK, "payload": expected}


@pytest.mark.parametrize(
    "event",
    [
        {"id": 1, "email": SECRET},
        {"op": SECRET, "source": SECRET, "ts_ms": SECRET},
        {"op": [SECRET], "source": {"name": SECRET}},
        {"op": "c", "after": SECRET, "before": [SECRET], "source": SOURCE},
        [{"after": {"email": SECRET}}],
    ],
)
def test_what_only_looks_like_a_debezium_event_is_not_trusted(event: Any) -> None:
    assert SECRET not in json.dumps(shown(event, form="debezium-json"))


def test_a_contract_of_the_envelope_is_followed_there() -> None:
    envelope = {
        "type": "object",
        "properties": {
            "after": {"$ref": "#/$defs/row"},
            "op": {"type": "string"},
            "source": {"type": "object", "properties": {"db": {"x-pii": True}, "snapshot": {}}},
        },
        "$defs": {"row": CONTRACT | {"$defs": {}}, **CONTRACT["$defs"]},
    }
    made = masker(envelope, "debezium-json", "envelope")
    row = {"id": 1, "email": SECRET, "unknown": SECRET}
    event = {"before": row, "after": row, "source": SOURCE, "op": "u"}

    found = made.value(json.dumps(event).encode())

    assert found["after"] == {"id": 1, "email": MASK, "unknown": MASK}
    # `before` is not described, and is of the same kind.
    assert found["before"] == found["after"]
    assert found["source"] == {"connector": "mysql", "db": MASK, "table": "rows", "pos": 4, "query": MASK}
    assert made.key(b'{"id": 1, "email": "x"}') == {"id": 1, "email": MASK}


def test_a_key_is_masked_like_the_row() -> None:
    made = masker(form="debezium-json")
    assert made.key(b'{"id": 1}') == {"id": 1}
    assert made.key(json.dumps({"schema": {}, "payload": {"id": 1, "email": SECRET}}).encode()) == {
        "schema": MASK,
        "payload": {"id": 1, "email": MASK},
    }
    assert made.key(b'{"tenant": "x"}') == {"tenant": MASK}
    assert made.key(b"42") == MASK
    assert made.key(SECRET.encode()) == opaque(SECRET.encode())


@pytest.mark.parametrize(
    ("form", "pointer", "expected"),
    [
        ("json", "", ""),
        ("json", "/email", "/email"),
        ("json", "/items/0/giftee", "/items/0/giftee"),
        ("json", "/labels/ada@example.org", f"/labels/{MASK}"),
        ("json", "/labels/4711", f"/labels/{MASK}"),
        ("json", "/friends/Ada", f"/friends/{MASK}"),
        ("json", "/contact/phone", "/contact/phone"),
        ("json", "/contact/Ada", f"/contact/{MASK}"),
        ("json", "/a~1b@c", f"/{MASK}"),
        ("debezium-json", "/after/items/0/sku", "/after/items/0/sku"),
        ("debezium-json", "/after/labels/4711", f"/after/labels/{MASK}"),
        ("debezium-json", "/op", "/op"),
        ("debezium-json", "/payload", "/payload"),
    ],
)
def test_a_pointer_shows_no_key_of_a_map_that_is_data(form: str, pointer: str, expected: str) -> None:
    assert masker(form=form).pointer(pointer) == expected


@pytest.mark.parametrize("form", ["avro", "debezium-avro"])
def test_of_avro_nothing_is_shown_even_where_it_could_be_read_as_json(form: str) -> None:
    made = masker(form=form)
    assert made.value(b'{"id": 1}') == made.key(b'{"id": 1}') == opaque(b'{"id": 1}')
    assert made.pointer("/id" if form == "avro" else "/after/id").endswith("/id")
    assert made.pointer("/labels/ada@x" if form == "avro" else "/after/labels/ada@x").endswith(f"/labels/{MASK}")


def test_a_reference_that_leads_nowhere_hides_what_it_would_have_described() -> None:
    schema = {"properties": {"a": {"$ref": "#/$defs/gone"}, "b": {"type": "integer"}}}
    assert shown({"a": SECRET, "b": 1}, schema=schema) == {"a": MASK, "b": 1}


def test_a_pattern_that_can_not_be_read_hides_what_it_may_name() -> None:
    schema = {"patternProperties": {r"^\p{Lu}": {"x-pii": True}}, "additionalProperties": {"type": "string"}}
    assert shown({"Name": SECRET}, schema=schema) == {"Name": MASK}


def test_references_to_another_file_are_followed(tmp_path: Path) -> None:
    (tmp_path / "person.schema.json").write_text(json.dumps(CONTRACT["$defs"]["person"]))
    (tmp_path / "rows.schema.json").write_text(json.dumps({"properties": {"who": {"$ref": "person.schema.json"}}}))
    contract = load_contract(tmp_path / "rows.schema.json", SchemaSet.in_folder(tmp_path))

    found = shown({"who": {"name": SECRET, "age": 3}}, schema=contract.schema, folder=contract.references)

    assert found == {"who": {"name": MASK, "age": 3}}


@pytest.mark.parametrize("mark", [True, "true", "yes", 1, {"kind": "email"}])
def test_whatever_is_written_to_mark_a_field_hides_it(mark: Any) -> None:
    assert shown({"a": SECRET}, schema={"properties": {"a": {"x-pii": mark}}}) == {"a": MASK}
    assert shown({"a": 1}, schema={"properties": {"a": {"x-pii": False}}}) == {"a": 1}
