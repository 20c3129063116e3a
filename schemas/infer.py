"""A contract from sample records: what all of them have in common, as JSON Schema.

| the samples' values                       | the contract                                                       |
|-------------------------------------------|--------------------------------------------------------------------|
| a field of every record / of some         | `required` / not                                                   |
| null among others                         | `null` in the list of types                                        |
| whole numbers only / fractions among them | `integer` / `number`                                               |
| text that is all of one form              | `format`: `date-time`, `date` or `uuid`                            |
| nothing but null                          | any value                                                          |
| values of several kinds                   | all of their types; the column then holds JSON text                |

Nothing else is guessed: no `enum`, no bounds, no patterns. Fields whose names can not be columns are left out, so that
they go to `_rescued_data`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import jsonschema_rs

from schemas.contract_file import UNSTORABLE
from schemas.json_schema import DRAFT_2020_12

FORMATS: Final = ("date-time", "date", "uuid")

_INT64: Final = range(-(2**63), 2**63)
_CHECKS: Final = {
    name: jsonschema_rs.validator_for({"type": "string", "format": name}, validate_formats=True) for name in FORMATS
}


def contract_of(schema: dict[str, Any], title: str) -> dict[str, Any]:
    """The schema of a row as a contract of version 1."""
    own = {"$schema": DRAFT_2020_12, "title": title, "x-version": "1"}
    return {**own, **{key: value for key, value in schema.items() if key != "title"}}


@dataclass(frozen=True)
class Inferred:
    """The schema of a row, of type `object`, and the fields (`/a/b`) that can not be columns and were left out."""

    schema: dict[str, Any]
    left_out: tuple[str, ...]


def infer(records: Iterable[dict[str, Any]]) -> Inferred:
    """The schema that all records keep to."""
    seen = _Object()
    for record in records:
        seen.add(record)
    left_out: list[str] = []
    return Inferred(seen.schema("", left_out), tuple(left_out))


def storable(names: Iterable[str]) -> list[str]:
    """Those of the names that can be columns beside each other: Spark does not tell upper from lower case."""
    found: dict[str, str] = {}
    for name in names:
        if name and not UNSTORABLE.intersection(name):
            found.setdefault(name.casefold(), name)
    return list(found.values())


@dataclass
class _Object:
    """The objects seen in one place."""

    count: int = 0
    fields: dict[str, _Values] = field(default_factory=dict)

    def add(self, value: dict[str, Any]) -> None:
        self.count += 1
        for name, inner in value.items():
            self.fields.setdefault(name, _Values()).add(inner)

    def schema(self, at: str, left_out: list[str]) -> dict[str, Any]:
        names = storable(self.fields)
        left_out += [f"{at}/{name}" for name in self.fields if name not in names]
        required = [name for name in names if self.fields[name].count == self.count]
        found: dict[str, Any] = {"type": "object"}
        if required:
            found["required"] = required
        if names:
            found["properties"] = {name: self.fields[name].schema(f"{at}/{name}", left_out) for name in names}
        return found


@dataclass
class _Values:
    """The values seen in one place, by kind."""

    count: int = 0
    kinds: set[str] = field(default_factory=set)
    formats: set[str] | None = None
    beyond_64_bits: bool = False
    object: _Object = field(default_factory=_Object)
    items: _Values | None = None

    def add(self, value: Any) -> None:
        self.count += 1
        match value:
            case None:
                self.kinds.add("null")
            case bool():
                self.kinds.add("boolean")
            case int():
                self.kinds.add("integer")
                self.beyond_64_bits |= value not in _INT64
            case float():
                self.kinds.add("number")
            case str():
                self.kinds.add("string")
                candidates = FORMATS if self.formats is None else self.formats
                self.formats = {name for name in candidates if _CHECKS[name].is_valid(value)}
            case dict():
                self.kinds.add("object")
                self.object.add(value)
            case _:
                self.kinds.add("array")
                self.items = self.items or _Values()
                for inner in value:
                    self.items.add(inner)

    def schema(self, at: str, left_out: list[str]) -> dict[str, Any]:
        kinds = self.kinds - {"integer"} if "number" in self.kinds else set(self.kinds)
        if kinds <= {"null"}:
            return {}
        # The kinds of values first and null last, as people write it.
        names = [*sorted(kinds - {"null"}), *(["null"] if "null" in kinds else [])]
        found: dict[str, Any] = {"type": names[0] if len(names) == 1 else names}
        if "string" in kinds and self.formats:
            found["format"] = next(name for name in FORMATS if name in self.formats)
        if kinds - {"null"} == {"integer"} and self.beyond_64_bits:
            found["x-type"] = "decimal(38,0)"
        if kinds - {"null"} == {"object"}:
            found |= {key: value for key, value in self.object.schema(at, left_out).items() if key != "type"}
        if kinds - {"null"} == {"array"} and self.items is not None:
            found["items"] = self.items.schema(at, left_out)
        return found
