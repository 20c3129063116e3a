"""What of a record may be shown: its JSON with everything masked that the contract does not say is harmless.

A value is shown where the contract names its field and no schema that applies to it says `"x-pii": true`; everything
else is `***`. So a field that the contract does not know is masked, and so is whatever stands where an object or a list
is described that has none of these forms. A name that is not declared (an unknown field, the key of a map) is shown
only where it looks like a name; a map whose keys are personal data says so with `"propertyNames": {"x-pii": true}`.
The contract that counts is the one that is in force now, under whichever version a record was judged.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any, Final

from schemas import debezium, json_bytes
from schemas.applicable import Place, expanded, items, members
from schemas.contract import Contract, JsonSchema
from schemas.schema_set import SchemaSet
from schemas.spec import BronzeSpec
from schemas.unreadable import Unreadable

MASK: Final = "***"

_NAME: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]{0,63}")
_CONTAINERS: Final = {"object", "array"}
_CONTAINER_WORDS: Final = {"properties", "patternProperties", "additionalProperties", "items", "prefixItems"}
_ENVELOPE_TIMES: Final = (debezium.TS_MS, "ts_us", "ts_ns")
_CONNECT: Final = {"schema", "payload"}
_MOST_INDEX_DIGITS: Final = 9
_NOT_JSON: Final = object()


def opaque(raw: bytes) -> str:
    """What can be said of bytes that nothing in is known to be harmless: `28 bytes, sha256 9f86d081884c`."""
    count = f"{len(raw)} byte{'' if len(raw) == 1 else 's'}"
    return f"{count}, sha256 {hashlib.sha256(raw).hexdigest()[:12]}"


@dataclass(frozen=True)
class Masker:
    """How the records of one bronze table are shown. `row` is the contract of a row, `root` that of a whole value."""

    is_json: bool
    is_debezium: bool
    row: tuple[Place, ...]
    root: tuple[Place, ...]

    @classmethod
    def of(cls, spec: BronzeSpec, contract: Contract) -> Masker:
        """The masker of a bronze table under its contract."""
        everything = SchemaSet.of({**contract.references.schemas(), contract.uri: contract.schema})
        own = Place(contract.schema, everything.resolver(contract.uri))
        is_json, is_debezium = not spec.source.is_avro, spec.source.is_debezium
        if not is_debezium:
            return cls(is_json, is_debezium, (own,), (own,))
        if spec.contract_describes == "row":
            images: JsonSchema = {debezium.BEFORE: own.schema, debezium.AFTER: own.schema}
            return cls(is_json, is_debezium, (own,), (own.at({"properties": images}),))
        found = expanded([own])
        row = members(found, debezium.AFTER)
        before = [] if members(found, debezium.BEFORE) else [_property(debezium.BEFORE, place) for place in row]
        return cls(is_json, is_debezium, tuple(row), (own, *before))

    def value(self, raw: bytes) -> Any:
        """The JSON value of a record's bytes, masked; for what is not JSON, its length and a short hash, as text."""
        record = self._json(raw)
        if record is _NOT_JSON:
            return opaque(raw)
        wrapped, record = _unwrapped(record)
        places = list(self.root)
        if self.is_debezium and isinstance(record, dict):
            places.append(Place(_envelope_schema(record), None))
        return self._shown(record, places, wrapped, raw)

    def key(self, raw: bytes) -> Any:
        """The same of a record's key, whose fields are those of the row."""
        record = self._json(raw)
        if record is _NOT_JSON:
            return opaque(raw)
        wrapped, record = _unwrapped(record)
        return self._shown(record, list(self.row), wrapped, raw)

    def pointer(self, pointer: str) -> str:
        """A violation's pointer; it may lead through a map, whose keys are data."""
        places = [*self.root]
        if self.is_debezium:
            places.append(Place({"properties": {debezium.OP: {}, debezium.SOURCE: {}}}, None))
        parts, private = [], False
        for part in pointer.split("/")[1:]:
            found = expanded(places)
            private = private or is_private(found)
            name = part.replace("~1", "/").replace("~0", "~")
            elements = items(found, None)
            is_index = bool(elements) and name.isdecimal() and len(name) <= _MOST_INDEX_DIGITS
            is_shown = is_index or _is_declared(found, name) or (not private and _NAME.fullmatch(name) is not None)
            parts.append(part if is_shown else MASK)
            places = elements if is_index else members(found, name)
        return "".join(f"/{part}" for part in parts)

    def _json(self, raw: bytes) -> Any:
        try:
            return json_bytes.read_exactly(raw) if self.is_json else _NOT_JSON
        except Unreadable:
            return _NOT_JSON

    def _shown(self, record: Any, places: list[Place], wrapped: bool, raw: bytes) -> Any:
        try:
            shown = masked(record, places) if record is not None else None
        except RecursionError:
            return opaque(raw)
        return {"schema": MASK, "payload": shown} if wrapped else shown


def masked(value: Any, places: list[Place]) -> Any:
    """The value with everything replaced by `***` that no schema at `places` says is harmless."""
    found = expanded(places)
    if not found or is_private(found):
        return MASK
    if isinstance(value, dict):
        return _object(value, found)
    if isinstance(value, list):
        below = [(element, items(found, index)) for index, element in enumerate(value)]
        return [masked(element, places) for element, places in below] if all(there for _, there in below) else MASK
    return value if value is None or _describes_scalars(found) else MASK


def _object(value: dict[str, Any], found: list[Place]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, inner in value.items():
        is_shown = _is_declared(found, name) or _NAME.fullmatch(name)
        # Names that are masked stay apart: how many there are is no secret.
        shown[name if is_shown else f"{MASK} {len(shown) + 1}"] = masked(inner, members(found, name))
    return shown


def is_private(found: list[Place]) -> bool:
    """Whether any of the schemas, which are expanded, tags the value as personal, or the names in it."""
    for place in found:
        names = place.schema.get("propertyNames")
        if _marked(place.schema) or (isinstance(names, dict) and any(map(_marks, expanded([place.at(names)])))):
            return True
    return False


def _marks(place: Place) -> bool:
    return _marked(place.schema)


def _marked(schema: JsonSchema) -> bool:
    # Whatever someone wrote there in place of `true`, it was meant to hide something.
    return schema.get("x-pii") not in (None, False)


def _is_declared(found: list[Place], name: str) -> bool:
    return any(isinstance(below := place.schema.get("properties"), dict) and name in below for place in found)


def _describes_scalars(found: list[Place]) -> bool:
    """Whether something other than an object or a list may stand there; such a value is not described otherwise."""
    only_containers = False
    for place in found:
        declared = place.schema.get("type")
        types = {declared} if isinstance(declared, str) else set(declared or ())
        if types - _CONTAINERS - {"null"}:
            return True
        only_containers |= bool(types & _CONTAINERS) or (not types and bool(_CONTAINER_WORDS & place.schema.keys()))
    return not only_containers


def _unwrapped(record: Any) -> tuple[bool, Any]:
    """Whether a value came inside a Kafka Connect envelope, and what was in it."""
    wrapped = isinstance(record, dict) and record.keys() == _CONNECT
    return wrapped, record["payload"] if wrapped else record


def _envelope_schema(record: dict[str, Any]) -> JsonSchema:
    """What Debezium itself says in an envelope is harmless, as long as it is an envelope that it made."""
    harmless: JsonSchema = {name: {} for name in _ENVELOPE_TIMES if isinstance(record.get(name), int)}
    op, source = record.get(debezium.OP), record.get(debezium.SOURCE)
    if isinstance(op, str) and op in (*debezium.OPS, debezium.MESSAGE):
        harmless[debezium.OP] = {}
    if isinstance(source, dict) and isinstance(source.get("connector"), str):
        # Of `source` what is kept, and no more: MySQL's `query` is the statement with its values.
        harmless[debezium.SOURCE] = {"properties": {name: {} for name in debezium.SOURCE_TYPE.names}}
    return {"properties": harmless}


def _property(name: str, place: Place) -> Place:
    return place.at({"properties": {name: place.schema}})
