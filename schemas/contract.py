"""A contract: the JSON Schema of a payload, its version, and the Spark type that its values have."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema_rs
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DoubleType,
    LongType,
    MapType,
    StringType,
    StructField,
    StructType,
)

from schemas.logical_types import ANNOTATION, LogicalType, NotALogicalType, column_type, logical_type
from schemas.schema_set import BASE, NO_SCHEMAS, SUFFIX, SchemaSet, document_of, uri_of
from schemas.spark_types import NotASparkType, parse_type

JsonSchema = dict[str, Any]


@dataclass(frozen=True)
class Contract:
    """A loaded contract; `version` is its `x-version`.

    `hash` is the start of the SHA-256 (12 digits) of its text and of what it refers to; `references` are the schemas
    of the folder that it reaches.
    """

    name: str
    file: Path
    schema: JsonSchema
    version: str
    hash: str
    references: SchemaSet = NO_SCHEMAS

    @property
    def uri(self) -> str:
        """Where the contract stands for those that refer to it."""
        return uri_of(self.file.name, self.schema)

    @property
    def row_type(self) -> StructType:
        """The Spark type of the described object; see `spark_type`. Raises UntypedContract."""
        return self._described[0]

    @property
    def logical_types(self) -> dict[str, LogicalType]:
        """The places that are of a type which Debezium names: by the JSON pointer of the value, `*` for any item.

        Raises UntypedContract.
        """
        return self._described[1]

    @functools.cached_property
    def _described(self) -> tuple[StructType, dict[str, LogicalType]]:
        logical: dict[str, LogicalType] = {}
        try:
            described = spark_type(self.schema, self.references, self.uri, logical)
        except Untypable as error:
            raise UntypedContract(self.name, error.pointer, error.why) from None
        if not isinstance(described, StructType):
            raise UntypedContract(self.name, "", "a contract describes an object with `properties`")
        return described, logical


class UntypedContract(ValueError):
    """A contract leaves a type open that a table needs."""

    def __init__(self, contract: str, pointer: str, why: str) -> None:
        self.contract, self.pointer, self.why = contract, pointer, why
        super().__init__(f"contract {contract} at `{pointer or '/'}`: {why}")


class Untypable(ValueError):
    """A part of a schema has no Spark type: a `$ref` leads nowhere or in a circle, an `x-type` is none."""

    def __init__(self, pointer: str, why: str) -> None:
        self.pointer, self.why = pointer, why
        super().__init__(f"`{pointer or '/'}`: {why}")


def load(file: Path, folder: SchemaSet = NO_SCHEMAS) -> Contract:
    """Read one contract file; `folder` are the schemas that it may refer to. Raises ValueError where it is not JSON."""
    text = file.read_bytes()
    schema = json.loads(text)
    if not isinstance(schema, dict):
        raise ValueError("a contract is a JSON object")  # noqa: TRY004 - a wrong file, not a wrong argument
    reached = folder.reachable(schema, uri_of(file.name, schema))
    digest = hashlib.sha256(text + b"".join(other.encode() for _, other in reached.texts)).hexdigest()[:12]
    name = file.name.removesuffix(SUFFIX)
    return Contract(name, file, schema, str(schema.get("x-version", "1")), digest, reached)


def spark_type(
    schema: JsonSchema,
    references: SchemaSet = NO_SCHEMAS,
    uri: str = BASE,
    logical: dict[str, LogicalType] | None = None,
) -> DataType:
    """The Spark type of a value that keeps to `schema`, which stands at `uri`; raises Untypable.

    `logical` takes up the places of the types that Debezium names; see Contract.logical_types.

    | JSON Schema                         | Spark                                          |
    |-------------------------------------|------------------------------------------------|
    | string / boolean / integer / number | STRING / BOOLEAN / BIGINT / DOUBLE             |
    | object with `properties`            | STRUCT                                         |
    | object without                      | MAP<STRING, type of additionalProperties>      |
    | array                               | ARRAY<type of items>                           |
    | `x-debezium: <name>`                | see logical_types                              |
    | `x-type: decimal(18,2)` and the like| that type, exactly                             |
    | anything else                       | STRING with the JSON text                      |
    """
    everything = SchemaSet.of({**references.schemas(), uri: schema})
    for missing in everything.missing(schema, uri):
        raise Untypable("".join(f"/{_escaped(str(part))}" for part in missing.path), _leads_nowhere(missing.text))
    return _type_of(
        _Place(schema, everything.resolver(uri), "", frozenset(), "", logical if logical is not None else {})
    )


@dataclass(frozen=True)
class _Place:
    """A part of a schema: what resolves its references, its JSON pointer, and the references that led to it.

    `at` is the pointer of the value that it speaks of, `logical` takes up those of the types that Debezium names.
    """

    schema: object
    resolver: Any
    pointer: str
    within: frozenset[str]
    at: str
    logical: dict[str, LogicalType]

    def below(self, schema: object, step: str, name: str = "*") -> _Place:
        return replace(self, schema=schema, pointer=f"{self.pointer}/{step}", at=f"{self.at}/{name}")


def _type_of(place: _Place) -> DataType:
    """The type of a part that may also be missing, true or false."""
    if not isinstance(place.schema, dict):
        return StringType()
    place, schema = _resolved(place, place.schema)
    pointer = place.pointer
    if ANNOTATION in schema:
        try:
            found = column_type(schema[ANNOTATION], schema.get("x-type"))
        except NotALogicalType as error:
            raise Untypable(f"{pointer}/{ANNOTATION}", str(error).rstrip(".")) from None
        place.logical[place.at] = logical_type(schema[ANNOTATION])
        return found
    if "x-type" in schema:
        try:
            return parse_type(str(schema["x-type"]))
        except NotASparkType as error:
            raise Untypable(f"{pointer}/x-type", str(error)) from None
    declared = schema.get("type")
    names = [declared] if isinstance(declared, str) else list(declared or [])
    names = [name for name in names if name != "null"]
    kind = names[0] if len(names) == 1 else ("number" if set(names) == {"integer", "number"} else None)
    if kind is None and "properties" in schema:
        kind = "object"
    match kind:
        case "boolean":
            return BooleanType()
        case "integer":
            return LongType()
        case "number":
            return DoubleType()
        case "array":
            return ArrayType(_type_of(place.below(schema.get("items"), "items")))
        case "object":
            return _object_type(place, schema)
        case _:
            return StringType()


def _object_type(place: _Place, schema: JsonSchema) -> DataType:
    properties = schema.get("properties")
    if not properties:
        values = place.below(schema.get("additionalProperties"), "additionalProperties")
        return MapType(StringType(), _type_of(values))
    return StructType(
        [
            StructField(name, _type_of(place.below(sub, f"properties/{_escaped(name)}", _escaped(name))))
            for name, sub in properties.items()
        ]
    )


def _resolved(place: _Place, schema: JsonSchema) -> tuple[_Place, JsonSchema]:
    """Follow `$ref`s; siblings of a `$ref` win over what it points to."""
    while isinstance(reference := schema.get("$ref"), str):
        pointer = f"{place.pointer}/$ref"
        named = f"{document_of(reference, place.resolver.base_uri)}#{reference.partition('#')[2]}"
        if named in place.within:
            raise Untypable(pointer, f"`{reference}` leads back to itself, and a column's type can not")
        try:
            found = place.resolver.lookup(reference)
        except jsonschema_rs.ReferencingError:
            raise Untypable(pointer, _leads_nowhere(reference)) from None
        if not isinstance(found.contents, dict):
            raise Untypable(pointer, _leads_nowhere(reference))
        schema = {**found.contents, **{key: value for key, value in schema.items() if key != "$ref"}}
        place = replace(place, schema=schema, resolver=found.resolver, within=place.within | {named})
    return place, schema


def _leads_nowhere(reference: str) -> str:
    where = "this file" if reference.startswith("#") else "this folder"
    return f"`{reference}` leads to no schema in {where}"


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
