"""Records of older and newer writers under one contract: defaults, aliases, and what the contract does not name."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from schemas.avro.resolve import Resolver, resolve

ORDER = {"type": "object", "properties": {"id": {"type": "integer"}, "qty": {"type": "number"}}}


def contract(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "nothing to be done": (contract(a={"type": "integer"}), {"a": 1, "new": 2}, {"a": 1, "new": 2}),
    "a missing field has its default": (contract(a={"default": 5}), {}, {"a": 5}),
    "a default of null": (contract(a={"default": None}), {}, {"a": None}),
    "a null that was written stays": (contract(a={"default": 5}), {"a": None}, {"a": None}),
    "a value that was written stays": (contract(a={"default": 5}), {"a": 6}, {"a": 6}),
    "without a default it stays missing": (contract(a={"type": "integer"}), {}, {}),
    "an older name": (contract(a={"x-aliases": ["b"]}), {"b": 1}, {"a": 1}),
    "the first older name that is there": (contract(a={"x-aliases": ["b", "c"]}), {"c": 1}, {"a": 1}),
    "the name of today goes before an older one": (
        contract(a={"x-aliases": ["b"]}),
        {"a": 1, "b": 2},
        {"a": 1, "b": 2},
    ),
    "an older name goes before the default": (contract(a={"x-aliases": ["b"], "default": 9}), {"b": 1}, {"a": 1}),
    "in an object": (contract(o=contract(a={"default": 1})), {"o": {"z": 2}}, {"o": {"z": 2, "a": 1}}),
    "in an object that took its name of today": (
        contract(o={**contract(a={"default": 1}), "x-aliases": ["p"]}),
        {"p": {}},
        {"o": {"a": 1}},
    ),
    "in a list": (
        contract(l={"type": "array", "items": contract(a={"default": 1})}),
        {"l": [{}, {"a": 2}]},
        {"l": [{"a": 1}, {"a": 2}]},
    ),
    "in a map": (
        contract(m={"type": "object", "additionalProperties": contract(a={"default": 1})}),
        {"m": {"k": {}, "l": {"a": 2}}},
        {"m": {"k": {"a": 1}, "l": {"a": 2}}},
    ),
    "in the branch that is not null": (
        contract(o={"anyOf": [{"type": "null"}, contract(a={"default": 1})]}),
        {"o": {}},
        {"o": {"a": 1}},
    ),
    "no branch is taken where two are meant": (
        contract(o={"oneOf": [contract(a={"default": 1}), contract(b={"default": 1})]}),
        {"o": {}},
        {"o": {}},
    ),
    "in every part of allOf": (
        {"allOf": [contract(a={"default": 1}), contract(b={"default": 2})]},
        {},
        {"a": 1, "b": 2},
    ),
    "behind a reference": (
        {"properties": {"o": {"$ref": "#/$defs/o"}}, "$defs": {"o": contract(a={"default": 1})}},
        {"o": {}},
        {"o": {"a": 1}},
    ),
    "behind a reference to itself": (
        {"properties": {"a": {"default": 1}, "n": {"$ref": "#"}}},
        {"n": {"n": {"a": 3}}},
        {"a": 1, "n": {"a": 1, "n": {"a": 3}}},
    ),
    "behind a reference to itself that asks for nothing": ({"properties": {"n": {"$ref": "#"}}}, {"n": {}}, {"n": {}}),
    "a reference that leads nowhere": ({"properties": {"n": {"$ref": "#/$defs/x"}}}, {"n": {}}, {"n": {}}),
    "another kind of value is left to the contract": (
        contract(o=contract(a={"default": 1}), l={"items": contract(a={"default": 1})}),
        {"o": 5, "l": {}},
        {"o": 5, "l": {}},
    ),
}


@pytest.mark.parametrize(("schema", "value", "expected"), CASES.values(), ids=CASES)
def test_a_record_is_resolved_and_what_came_is_not_changed(
    schema: dict[str, Any], value: dict[str, Any], expected: dict[str, Any]
) -> None:
    came = copy.deepcopy(value)
    assert resolve(value, schema) == expected
    assert value == came


def test_where_nothing_is_to_be_done_it_is_the_same_object() -> None:
    assert Resolver.of(ORDER).step is None
    resolver = Resolver.of(contract(a={"default": 1}, l={"items": contract(b={"default": 1})}))
    whole = {"a": 2, "l": [{"b": 1}]}
    assert resolver(whole) is whole


def test_records_do_not_share_a_default() -> None:
    resolver = Resolver.of(contract(a={"default": {"tags": []}}))
    first, second = resolver({}), resolver({})
    first["a"]["tags"].append("x")
    assert second == {"a": {"tags": []}}
