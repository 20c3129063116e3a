"""A contract from an Avro schema: the JSON Schema of what its records are read as; see schemas/avro/forms.py.

| Avro                                  | the contract                                                             |
|---------------------------------------|--------------------------------------------------------------------------|
| a field without / with a default      | `required` / not, and `default`                                          |
| a union with null                     | `null` in the list of types                                              |
| `decimal`                             | text with a `pattern`, and `x-type: decimal(p,s)` up to 38 digits        |
| `date`, `timestamp-millis`, `-micros` | text with a `format`, and `x-type: date` or `timestamp`                  |
| `local-timestamp-millis`, `-micros`   | text with `x-type: timestamp_ntz`                                        |
| `timestamp-nanos`                     | text with a `format`: no column type keeps nine digits of a second       |
| bytes, fixed                          | text with `contentEncoding: base64`, and `x-type: binary`                |
| enum                                  | text with the `enum` of its symbols, which the schema declares           |
| a field's `aliases`                   | `x-aliases`, under which older writers' records are found                |
| a record that contains itself         | any object there: a column's type has an end                             |
| `connect.name`, of Debezium's types   | `x-debezium`, beside what it is sent as; see logical_types               |
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from schemas import debezium
from schemas.avro.forms import DECIMAL, FORMS, decimal_text, form_of
from schemas.avro.names import Definitions
from schemas.avro.reader import reader_of
from schemas.avro.resolve import ALIASES
from schemas.infer import Inferred, storable
from schemas.logical_types import ANNOTATION, LOGICAL_TYPES
from schemas.spark_types import MOST_DIGITS
from schemas.unreadable import Unreadable

_SIMPLE: Final = {"boolean": "boolean", "int": "integer", "long": "integer", "string": "string", "null": "null"}
_TIME: Final = r"^[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?$"
_FORMS: Final[Mapping[str, dict[str, Any]]] = {
    "finite": {"type": "number"},
    "base64": {"type": "string", "contentEncoding": "base64", "x-type": "binary"},
    "uuid": {"type": "string", "format": "uuid"},
    "date": {"type": "string", "format": "date", "x-type": "date"},
    "time-millis": {"type": "string", "pattern": _TIME},
    "time-micros": {"type": "string", "pattern": _TIME},
    "timestamp-millis": {"type": "string", "format": "date-time", "x-type": "timestamp"},
    "timestamp-micros": {"type": "string", "format": "date-time", "x-type": "timestamp"},
    "timestamp-nanos": {"type": "string", "format": "date-time"},
    "local-timestamp-millis": {"type": "string", "x-type": "timestamp_ntz"},
    "local-timestamp-micros": {"type": "string", "x-type": "timestamp_ntz"},
    "local-timestamp-nanos": {"type": "string"},
}


def infer_avro(text: str, *, is_debezium: bool = False) -> Inferred:
    """The schema that records of an Avro schema, JSON text, keep to once they are read.

    With `is_debezium` that of the row in Debezium's envelope. Raises Unreadable where the text is no Avro schema, and
    ValueError, with a sentence, where there is no record to describe.
    """
    reader_of(text)
    names = Definitions.of(json.loads(text))
    root = names.root
    if is_debezium:
        fields = {field["name"]: field["type"] for field in names.definition(root).get("fields", ())}
        branches = fields.get(debezium.AFTER, [])
        root = next((one for one in (branches if isinstance(branches, list) else [branches]) if one != "null"), None)
    if names.definition(root).get("type") not in ("record", "error"):
        what = "it has no `after` that is a record" if is_debezium else "it is not of a record"
        raise ValueError(what)
    inference = _Inference(names)
    return Inferred(inference.schema(root, frozenset()), tuple(inference.left_out))


class _Inference:
    def __init__(self, names: Definitions) -> None:
        self.names = names
        self.left_out: list[str] = []

    def schema(self, node: Any, inside: frozenset[str]) -> dict[str, Any]:
        """The JSON Schema of what a node is read as; `inside` are the records around it."""
        if isinstance(node, list):
            return _either([self.schema(branch, inside) for branch in node])
        if isinstance(node, str) and node in inside:
            return {"type": "object"}
        named = node if isinstance(node, str) else None
        node = self.names.definition(node)
        if not isinstance(node["type"], str):
            return self.schema(node["type"], inside)
        doc = {"description": node["doc"]} if isinstance(node.get("doc"), str) else {}
        match node["type"]:
            case "record" | "error":
                return {**doc, **self.record(node, inside | {named} if named else inside)}
            case "enum":
                return {**doc, "type": "string", "enum": list(node["symbols"])}
            case "array":
                return {"type": "array", "items": self.schema(node["items"], inside)}
            case "map":
                return {"type": "object", "additionalProperties": self.schema(node["values"], inside)}
        if node["type"] not in (*_SIMPLE, "float", "double", "bytes", "fixed"):
            return self.schema(node["type"], inside)
        form = form_of(node)
        if form == DECIMAL:
            return _decimal(node["precision"], node.get("scale", 0))
        if form is None and node.get("logicalType") == "uuid" and node["type"] == "string":
            return {"type": "string", "format": "uuid"}
        found = dict(_FORMS[form]) if form else {"type": _SIMPLE[node["type"]]}
        return found | _named(node.get("connect.name"), found)

    def record(self, node: dict[str, Any], inside: frozenset[str]) -> dict[str, Any]:
        fields = {field["name"]: field for field in node["fields"]}
        names = storable(fields)
        self.left_out += [f"/{name}" for name in fields if name not in names]
        required = [name for name in names if "default" not in fields[name]]
        found: dict[str, Any] = {"type": "object"}
        if required:
            found["required"] = required
        if names:
            found["properties"] = {name: self.field(fields[name], inside) for name in names}
        return found

    def field(self, field: dict[str, Any], inside: frozenset[str]) -> dict[str, Any]:
        found = self.schema(field["type"], inside)
        if isinstance(field.get("doc"), str):
            found["description"] = field["doc"]
        for default in self.defaults(field):
            found["default"] = default
        if aliases := [alias for alias in field.get("aliases") or () if isinstance(alias, str)]:
            found[ALIASES] = aliases
        return found

    def defaults(self, field: dict[str, Any]) -> Iterator[Any]:
        """A field's default as its values are read, if it has one that is of its type."""
        if "default" not in field:
            return
        kind = field["type"]
        # A union's default is of its first branch, and since Avro 1.12 of any.
        for branch in kind if isinstance(kind, list) else [kind]:
            try:
                yield self.default(branch, field["default"])
            except (KeyError, TypeError, ValueError, AttributeError, Unreadable):
                continue
            return

    def default(self, node: Any, value: Any) -> Any:
        node = self.names.definition(node)
        if not isinstance(node["type"], str):
            return self.default(node["type"], value)
        match node["type"], value:
            case "record" | "error", dict():
                inner = {each["name"]: each for each in node["fields"]}
                return {name: self.default(inner[name]["type"], one) for name, one in value.items()}
            case "array", list():
                return [self.default(node["items"], one) for one in value]
            case "map", dict():
                return {name: self.default(node["values"], one) for name, one in value.items()}
            case "bytes" | "fixed", str():
                # Avro writes each byte of a default as the character of that number.
                raw, form = value.encode("latin-1"), form_of(node)
                return decimal_text(raw, node.get("scale", 0)) if form == DECIMAL else FORMS[form or "base64"](raw)
            case ("null", None) | ("boolean", bool()) | ("string" | "enum", str()):
                return value
            case (("int" | "long" | "float" | "double"), int() | float()) if not isinstance(value, bool):
                form = form_of(node)
                return FORMS[form](value) if form else value
        raise ValueError("the default is not of its type")


def _named(name: Any, found: dict[str, Any]) -> dict[str, Any]:
    """The annotation of a type of Debezium's, where its values come as they do in JSON."""
    kind = LOGICAL_TYPES.get(name) if isinstance(name, str) else None
    if kind is None or kind.column is None or kind.form != kind.avro_form or found["type"] not in kind.json:
        return {}
    return {ANNOTATION: name}


def _decimal(precision: int, scale: int) -> dict[str, Any]:
    whole = max(precision - scale, 1)
    fraction = rf"(\.[0-9]{{1,{scale}}})?" if scale else ""
    found = {"type": "string", "pattern": f"^-?[0-9]{{1,{whole}}}{fraction}$"}
    return found | ({"x-type": f"decimal({precision},{scale})"} if precision <= MOST_DIGITS else {})


def _either(branches: list[dict[str, Any]]) -> dict[str, Any]:
    """What keeps to one of the branches: null is added to the types of the other, and numbers are one kind."""
    others = [branch for branch in branches if branch != {"type": "null"}]
    others = [branch for index, branch in enumerate(others) if branch not in others[:index]]
    if {"type": "number"} in others:
        others = [branch for branch in others if branch != {"type": "integer"}]
    nullable = len(branches) > 0 and {"type": "null"} in branches
    if not others:
        return {"type": "null"}
    if len(others) > 1:
        return {"anyOf": [*others, *([{"type": "null"}] if nullable else [])]}
    found = dict(others[0])
    if nullable and "type" in found:
        found["type"] = [found["type"], "null"]
        if "enum" in found:
            found["enum"] = [*found["enum"], None]
    return found
