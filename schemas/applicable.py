"""Which parts of a JSON Schema speak of a value, of a member of it, and of its elements.

Whether a part applies may hang on the value (`anyOf`, `if`); here all of them count, since a value that was rejected
may have been meant for any. https://json-schema.org/draft/2020-12/json-schema-core#section-10
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import jsonschema_rs

from schemas.contract import JsonSchema

_ALTERNATIVES: Final = ("allOf", "anyOf", "oneOf")
_CONDITIONAL: Final = ("if", "then", "else")
_DEPENDENT: Final = ("dependentSchemas", "dependencies")
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_OTHER_MEMBERS: Final = ("additionalProperties", "unevaluatedProperties")
_OTHER_ITEMS: Final = ("items", "additionalItems", "unevaluatedItems")

UNKNOWN: Final[JsonSchema] = {"x-pii": True}
"""In place of a reference that leads nowhere: what it would have said can not be known."""


@dataclass(frozen=True)
class Place:
    """A schema and what finds the references in it; the latter may be None where there are none."""

    schema: Any
    resolver: Any

    def at(self, schema: Any) -> Place:
        """A part of it."""
        return Place(schema, self.resolver)


def expanded(places: list[Place]) -> list[Place]:
    """All schemas that speak of the same value as `places`: alternatives, conditions and references followed.

    `true` is a schema that says nothing; `false` is left out.
    """
    return list(_expanded(places, set()))


def _expanded(places: list[Place], seen: set[tuple[str, str]]) -> Iterator[Place]:
    for place in places:
        schema = place.schema
        if schema is True:
            yield place.at({})
        if not isinstance(schema, dict):
            continue
        yield place
        inner = [one for word in _ALTERNATIVES if isinstance(many := schema.get(word), list) for one in many]
        inner += [schema[word] for word in _CONDITIONAL if isinstance(schema.get(word), dict)]
        for word in _DEPENDENT:
            if isinstance(dependent := schema.get(word), dict):
                inner += [one for one in dependent.values() if isinstance(one, dict)]
        yield from _expanded([place.at(one) for one in inner if isinstance(one, dict)], seen)
        for word in _REFERENCES:
            if isinstance(reference := schema.get(word), str):
                yield from _referred(place, reference, seen)


def _referred(place: Place, reference: str, seen: set[tuple[str, str]]) -> Iterator[Place]:
    if place.resolver is None:
        yield place.at(UNKNOWN)
        return
    named = (str(place.resolver.base_uri), reference)
    if named in seen:
        return
    seen.add(named)
    try:
        found = place.resolver.lookup(reference)
    except (jsonschema_rs.ReferencingError, ValueError):
        yield place.at(UNKNOWN)
        return
    yield from _expanded([Place(found.contents, found.resolver)], seen)


def members(found: list[Place], name: str) -> list[Place]:
    """The schemas of the field `name`, of schemas that are expanded; none where it is not known."""
    return [place.at(one) for place in found for one in _member(place.schema, name)]


def _member(schema: JsonSchema, name: str) -> list[Any]:
    properties, patterns = schema.get("properties"), schema.get("patternProperties")
    named = [properties[name]] if isinstance(properties, dict) and name in properties else []
    if isinstance(patterns, dict):
        named += [below for pattern, below in patterns.items() for below in _matching(pattern, below, name)]
    # `true` and `{}` let anything be there, and say nothing of what it is.
    return named or [one for word in _OTHER_MEMBERS if isinstance(one := schema.get(word), dict) and one]


def _matching(pattern: str, below: Any, name: str) -> list[Any]:
    try:
        return [below] if re.search(pattern, name) else []
    except re.error:
        # A pattern of ECMA's that Python does not know: it may speak of any field.
        return [UNKNOWN]


def items(found: list[Place], index: int | None) -> list[Place]:
    """The schemas of the element at `index`, of any element where None; none where it is not known."""
    return [place.at(one) for place in found for one in _item(place.schema, index)]


def _item(schema: JsonSchema, index: int | None) -> list[Any]:
    # Before 2020-12, `items` could be the list that is `prefixItems` now.
    listed = next((one for word in ("prefixItems", "items") if isinstance(one := schema.get(word), list)), [])
    if index is not None and index < len(listed):
        return [listed[index]]
    others = [one for word in _OTHER_ITEMS if isinstance(one := schema.get(word), dict) and one]
    return others if index is not None else [*listed, *others]
