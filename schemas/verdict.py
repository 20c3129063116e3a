"""What a judge says of each record of a batch, as a column."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
from pyspark.sql.types import ArrayType, DataType, StringType, StructField, StructType

from schemas import json_bytes
from schemas.arrow_values import arrow_type
from schemas.type_changes import FieldPath
from schemas.validation import VIOLATION_TYPE, Violation

NEW_FIELD_TYPE: Final = StructType([StructField("path", ArrayType(StringType())), StructField("type", StringType())])


@dataclass
class Verdict:
    """What becomes of one record; all empty for one that is simply accepted.

    `dropped` says why a record without a row is only counted; `rescued` holds fields that no column knows; `new` are
    those of them that a column could be made for; `unavailable` are the fields of `after` that the source did not send.
    """

    violations: list[Violation] | None = None
    dropped: str | None = None
    rescued: dict[str, Any] | None = None
    new: list[tuple[FieldPath, DataType]] = field(default_factory=list)
    unavailable: tuple[str, ...] = ()


_BESIDE: Final = StructType(
    [
        StructField("violations", ArrayType(VIOLATION_TYPE)),
        StructField("dropped", StringType()),
        StructField("rescued", StringType()),
        StructField("unavailable", ArrayType(StringType())),
        StructField("new_fields", ArrayType(NEW_FIELD_TYPE)),
    ]
)


def verdict_type(payload: StructType) -> StructType:
    """`violations` is null where the record is accepted; `payload` is null unless it is, and not dropped."""
    return StructType([*_BESIDE.fields, StructField("payload", payload)])


def as_arrow(verdicts: Mapping[int, Verdict], payload: pa.StructArray) -> pa.StructArray:
    """The verdicts by row, none for a record that is simply accepted, with the columns of the accepted ones."""
    kinds = list(arrow_type(_BESIDE))

    def sparse(kind: pa.DataType, of: Callable[[Verdict], Any]) -> pa.Array:
        found: list[Any] = [None] * len(payload)
        for row, verdict in verdicts.items():
            found[row] = of(verdict)
        return pa.array(found, kind)

    values: tuple[Callable[[Verdict], Any], ...] = (
        lambda one: one.violations,
        lambda one: one.dropped,
        lambda one: json_bytes.write(one.rescued) if one.rescued else None,
        lambda one: list(one.unavailable) or None,
        lambda one: _as_new_fields(one.new),
    )
    beside = [sparse(field.type, of) for field, of in zip(kinds, values, strict=True)]
    return pa.StructArray.from_arrays([*beside, payload], fields=[*kinds, pa.field("payload", payload.type)])


def _as_new_fields(new: list[tuple[FieldPath, DataType]]) -> list[dict[str, Any]] | None:
    return [{"path": list(path), "type": kind.simpleString()} for path, kind in new] or None
