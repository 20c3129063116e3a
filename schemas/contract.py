"""A contract: the JSON Schema of a payload, its version, and the Spark type that its values have."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

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

from schemas.spark_types import NotASparkType, parse_type

SUFFIX = ".schema.json"
JsonSchema = dict[str, Any]


@dataclass(frozen=True)
class Contract:
    """A loaded contract; `version` is its `x-version`, `hash` the start of its text's SHA-256 (12 digits)."""

    name: str
    file: Path
    schema: JsonSchema
    version: str
    hash: str

    @functools.cached_property
    def row_type(self) -> StructType:
        """The Spark type of the described object; see `spark_type`. Raises UntypedContract."""
        try:
            described = spark_type(self.schema, self.schema)
        except Untypable as error:
            raise UntypedContract(self.name, error.pointer, error.why) from None
        if not isinstance(described, StructType):
            raise UntypedContract(self.name, "", "a contract describes an object with `properties`")
        return described


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


def load(file: Path) -> Contract:
    """Read one contract file; raises ValueError where it is not JSON."""
    text = file.read_bytes()
    schema = json.loads(text)
    if not isinstance(schema, dict):
        raise ValueError("a contract is a JSON object")  # noqa: TRY004 - a wrong file, not a wrong argument
    digest = hashlib.sha256(text).hexdigest()[:12]
    name = file.name.removesuffix(SUFFIX)
    return Contract(name, file, schema, str(schema.get("x-version", "1")), digest)


def spark_type(
    schema: JsonSchema, root: JsonSchema, pointer: str = "", within: frozenset[str] = frozenset()
) -> DataType:
    """The Spark type of a value that keeps to `schema`; raises Untypable.

    `pointer` is the JSON pointer of `schema` in `root`, `within` the `$ref`s that led to it.

    | JSON Schema                         | Spark                                          |
    |-------------------------------------|------------------------------------------------|
    | string / boolean / integer / number | STRING / BOOLEAN / BIGINT / DOUBLE             |
    | object with `properties`            | STRUCT                                         |
    | object without                      | MAP<STRING, type of additionalProperties>      |
    | array                               | ARRAY<type of items>                           |
    | `x-type: decimal(18,2)` and the like| that type, exactly                             |
    | anything else                       | STRING with the JSON text                      |
    """
    schema, within = _resolve(schema, root, pointer, within)
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
            return ArrayType(_type_of(schema.get("items"), root, f"{pointer}/items", within))
        case "object":
            return _object_type(schema, root, pointer, within)
        case _:
            return StringType()


def _type_of(schema: object, root: JsonSchema, pointer: str, within: frozenset[str]) -> DataType:
    """The type under a keyword that may also be missing, true or false."""
    return spark_type(schema, root, pointer, within) if isinstance(schema, dict) else StringType()


def _object_type(schema: JsonSchema, root: JsonSchema, pointer: str, within: frozenset[str]) -> DataType:
    properties = schema.get("properties")
    if not properties:
        values = _type_of(schema.get("additionalProperties"), root, f"{pointer}/additionalProperties", within)
        return MapType(StringType(), values)
    return StructType(
        [
            StructField(name, _type_of(sub, root, f"{pointer}/properties/{_escaped(name)}", within))
            for name, sub in properties.items()
        ]
    )


def _resolve(
    schema: JsonSchema, root: JsonSchema, pointer: str, within: frozenset[str]
) -> tuple[JsonSchema, frozenset[str]]:
    """Follow `$ref`s within the same file; siblings of a `$ref` win over what it points to."""
    while (ref := schema.get("$ref")) is not None:
        if ref in within:
            raise Untypable(f"{pointer}/$ref", f"`{ref}` leads back to itself, and a column's type can not")
        within |= {ref}
        target = _target(ref, root)
        if target is None:
            raise Untypable(f"{pointer}/$ref", f"`{ref}` leads to no schema in this file")
        siblings = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**target, **siblings}
    return schema, within


def _target(ref: object, root: JsonSchema) -> JsonSchema | None:
    if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
        return None
    target: Any = root
    for part in unquote(ref).split("/")[1:]:
        target = target.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(target, dict) else None
    return target if isinstance(target, dict) else None


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
