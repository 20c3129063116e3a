"""The fields that a table's columns know, as a small tree: what lies beside them in a record is unknown.

A tree travels to the workers and is walked for the few records that hold something unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

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

from schemas.arrow_values import to_arrow
from schemas.type_changes import FieldPath

_KINDS: Final[tuple[tuple[type, DataType], ...]] = (
    (bool, BooleanType()),  # before int, of which it is one to Python
    (int, LongType()),
    (float, DoubleType()),
    (str, StringType()),
)
_INT64: Final = 1 << 63
_WHOLE_IN_DOUBLE: Final = 1 << 53


@dataclass(frozen=True)
class Node:
    """One place in a tree: an object's fields, or what the items of an array or the values of a map look like.

    `learned` is the type of a field that no contract names and that was found in the records; None elsewhere.
    """

    kind: Literal["object", "array", "map", "any"]
    fields: Mapping[str, Node]
    inner: Node | None = None
    learned: DataType | None = None


_ANY: Final = Node("any", {})


def tree_of(kind: DataType, declared: DataType | None = None, *, all_learned: bool = False) -> Node:
    """The tree of a type; what `declared`, the contract's type, does not name was learned from the records."""
    match kind:
        case StructType():
            known = declared if isinstance(declared, StructType) else None
            names = set(known.names) if known is not None else set()
            return Node(
                "object",
                {
                    field.name: tree_of(
                        field.dataType,
                        known[field.name].dataType if known is not None and field.name in names else None,
                        all_learned=all_learned or (declared is not None and field.name not in names),
                    )
                    for field in kind.fields
                },
            )
        case ArrayType() if not all_learned:
            return Node("array", {}, tree_of(kind.elementType))
        case MapType() if not all_learned:
            return Node("map", {}, tree_of(kind.valueType))
    return Node("any", {}, learned=kind) if all_learned else _ANY


def schema_of(node: Node) -> dict[str, Any]:
    """A JSON Schema of the values that hold nothing unknown, and whose learned fields fit their types."""
    match node.kind:
        case "object":
            properties = {name: schema_of(field) for name, field in node.fields.items()}
            return {"properties": properties, "additionalProperties": False}
        case "array":
            return {"items": schema_of(node.inner)} if node.inner else {}
        case "map":
            return {"additionalProperties": schema_of(node.inner)} if node.inner else {}
    match node.learned:
        case BooleanType():
            return {"type": ["boolean", "null"]}
        case LongType():
            return {"type": ["integer", "null"], "minimum": -_INT64, "maximum": _INT64 - 1}
        case DoubleType():
            return {"type": ["number", "null"]}
        case StringType():
            return {"type": ["string", "null"]}
        case None:
            return {}
    return {"type": "null"}  # whether another type fits is not for a schema to tell


def unknown_in(value: Any, node: Node) -> Any:
    """The part of `value` that the tree does not know; None where it knows all of it.

    Of an object its unknown fields, and those of its fields that hold something unknown; of an array the whole of it,
    since an item has no name to be kept under.
    """
    if node.kind == "object" and isinstance(value, dict):
        found = {}
        for name, inner in value.items():
            below = node.fields.get(name)
            if below is None:
                found[name] = inner
            elif inner is not None and (deeper := unknown_in(inner, below)) is not None:
                found[name] = deeper
        return found or None
    if node.inner is not None and node.kind == "array" and isinstance(value, list):
        return value if any(unknown_in(item, node.inner) is not None for item in value) else None
    if node.inner is not None and node.kind == "map" and isinstance(value, dict):
        found = {key: deeper for key, item in value.items() if (deeper := unknown_in(item, node.inner)) is not None}
        return found or None
    if node.learned is not None and not _fits(value, node.learned):
        return value
    return None


def without_misfits(value: Any, node: Node) -> Any:
    """`value` without the learned fields that do not fit their types; they are among what `unknown_in` gives."""
    if node.kind != "object" or not isinstance(value, dict):
        return value
    return {
        name: without_misfits(inner, below) if (below := node.fields.get(name)) else inner
        for name, inner in value.items()
        if inner is None
        or (below := node.fields.get(name)) is None
        or below.learned is None
        or _fits(inner, below.learned)
    }


def new_fields(value: Any, node: Node, at: FieldPath = ()) -> Iterator[tuple[FieldPath, DataType]]:
    """The unknown fields of an object with a value to tell a type by; objects and arrays are kept as JSON text."""
    if node.kind != "object" or not isinstance(value, dict):
        return
    for name, inner in value.items():
        below = node.fields.get(name)
        if below is not None:
            yield from new_fields(inner, below, (*at, name))
        elif inner is not None:
            found = next((kind for of, kind in _KINDS if isinstance(inner, of)), StringType())
            yield (*at, name), found


def _fits(value: Any, kind: DataType) -> bool:
    match kind:
        case LongType():
            return isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64
        case DoubleType():
            return isinstance(value, float) or (
                not isinstance(value, bool) and isinstance(value, int) and abs(value) <= _WHOLE_IN_DOUBLE
            )
        case StringType():
            return True
    _, faults = to_arrow([{"value": value}], StructType([StructField("value", kind)]), [0])
    return not faults
