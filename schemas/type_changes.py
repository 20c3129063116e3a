"""What lies between two types of a table: fields that are new, and fields that are gone or another."""

from __future__ import annotations

from collections.abc import Iterator

from pyspark.sql.types import DataType, StructField, StructType

FieldPath = tuple[str, ...]


def with_fields(kind: StructType, more: StructType) -> StructType:
    """`kind` with the fields of `more` that it lacks, inside its structs too; where both have one, `kind` wins."""
    names = {field.name.casefold() for field in kind.fields}
    fields = [StructField(field.name, _merged(field, more)) for field in kind.fields]
    added = [StructField(field.name, field.dataType) for field in more.fields if field.name.casefold() not in names]
    return StructType([*fields, *added])


def _merged(field: StructField, more: StructType) -> DataType:
    kind, other = field.dataType, more[field.name].dataType if field.name in more.names else None
    return with_fields(kind, other) if isinstance(kind, StructType) and isinstance(other, StructType) else kind


def with_field(kind: StructType, path: FieldPath, added: DataType) -> StructType:
    """`kind` with one more field, `path` leading through its structs."""
    for name in reversed(path[1:]):
        added = StructType([StructField(name, added)])
    return with_fields(kind, StructType([StructField(path[0], added)]))


def additions(present: StructType, wanted: StructType, at: FieldPath = ()) -> Iterator[tuple[FieldPath, DataType]]:
    """The fields of `wanted` that `present` lacks, and that can be added to it in place."""
    for field in wanted.fields:
        here = (*at, field.name)
        if field.name not in present.names:
            yield here, field.dataType
            continue
        kind = present[field.name].dataType
        if isinstance(kind, StructType) and isinstance(field.dataType, StructType):
            yield from additions(kind, field.dataType, here)


def conflicts(
    present: DataType, wanted: DataType, at: FieldPath = ()
) -> Iterator[tuple[FieldPath, DataType, DataType]]:
    """Where `present` has another type than `wanted`; fields that either lacks are no conflict."""
    match present, wanted:
        case StructType(), StructType():
            for field in wanted.fields:
                if field.name in present.names:
                    yield from conflicts(present[field.name].dataType, field.dataType, (*at, field.name))
        case _ if present.simpleString() != wanted.simpleString():
            yield at, present, wanted
