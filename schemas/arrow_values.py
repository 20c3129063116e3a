"""Values of a record to Arrow columns of a Spark type: exactly, or not at all.

A value that the type would turn to null, round or cut short is a fault, told by row and JSON pointer. Whole batches
are converted at once by Arrow, which is as strict; only what it refuses, and types that JSON has no form of, are
looked at value by value.

| Spark type            | from                                                                               |
|-----------------------|------------------------------------------------------------------------------------|
| BOOLEAN, whole numbers| the same, within the type's range; `1.0` is a whole number                         |
| DOUBLE, FLOAT         | a number whose digits the type keeps                                               |
| DECIMAL(p,s)          | a number or its text, of at most s digits after the point and p in all             |
| STRING                | text; of any other value the JSON text                                             |
| BINARY                | base64 text                                                                        |
| DATE                  | `YYYY-MM-DD`, years 1 to 9999                                                      |
| TIMESTAMP             | RFC 3339 with a zone, to the microsecond                                           |
| TIMESTAMP_NTZ         | the same without a zone                                                            |
| STRUCT, ARRAY, MAP    | object, array, object                                                              |

Places of a named type of Debezium's are told by their JSON pointers, `*` for any item or value, and taken in the form
of that type: see logical_types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
from pyspark.sql.pandas.types import to_arrow_type
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    ByteType,
    DataType,
    DoubleType,
    IntegerType,
    LongType,
    MapType,
    ShortType,
    StringType,
    StructType,
)

from schemas import logical_values
from schemas.leaf_batches import from_texts
from schemas.leaf_values import Unfit, leaf_converter

_NATIVE = (BooleanType, ByteType, ShortType, IntegerType, LongType, DoubleType, StringType)
_REFUSALS = (pa.ArrowException, OverflowError, UnicodeError, TypeError, ValueError)

Fault = tuple[str, str]
"""A rule's code, and the JSON pointer of the value that broke it."""

Forms = Mapping[str, str]
"""By the pointer of a place, the name of the form that its values come in: one of logical_values.FORMS."""

NO_FORMS: Final[Forms] = {}


def arrow_type(kind: DataType) -> pa.DataType:
    """The Arrow type in which Spark takes a column of this type from a Python worker."""
    return to_arrow_type(kind, timestamp_utc=True)


def sure_schema(kind: DataType, forms: Forms = NO_FORMS, at: str = "") -> dict[str, Any]:
    """A JSON Schema of the values that Arrow converts as a batch either exactly or not at all.

    Of others it makes something: a whole number of a fraction, a number of a truth value, nothing of a list.
    """
    if at in forms:
        return logical_values.sure_schema(logical_values.FORMS[forms[at]])
    match kind:
        case StructType():
            fields = {
                field.name: sure_schema(field.dataType, forms, f"{at}/{escaped(field.name)}") for field in kind.fields
            }
            return {"type": ["object", "null"], "properties": fields}
        case ArrayType():
            return {"type": ["array", "null"], "items": sure_schema(kind.elementType, forms, f"{at}/*")}
        case MapType():
            values = sure_schema(kind.valueType, forms, f"{at}/*")
            return {"type": ["object", "null"], "additionalProperties": values}
        case BooleanType():
            return {"type": ["boolean", "null"]}
        case ByteType() | ShortType() | IntegerType() | LongType():
            return {"type": ["integer", "null"]}
        case DoubleType():
            return {"type": ["number", "null"]}
    return {}


def to_arrow(
    records: Sequence[dict[str, Any] | None], kind: StructType, unsure: Sequence[int] = (), forms: Forms = NO_FORMS
) -> tuple[pa.Array, dict[int, list[Fault]]]:
    """The records as a struct array, and the faults by row; a row with a fault is null.

    `unsure` are the rows of which Arrow might quietly make something else; see `sure_schema`.
    """
    faults: dict[int, list[Fault]] = {}
    built = _build(records, kind, unsure, faults, forms)
    if faults:
        sound = [None if row in faults else record for row, record in enumerate(records)]
        built = _build(sound, kind, unsure, {}, forms)
    return built, faults


def _build(
    records: Sequence[dict[str, Any] | None],
    kind: StructType,
    unsure: Sequence[int],
    faults: dict[int, Any],
    forms: Forms,
) -> pa.Array:
    if not unsure:
        return _Builder(faults, forms, at_once=True).build(records, kind, "", range(len(records)))
    apart = set(unsure)
    plain = [None if row in apart else record for row, record in enumerate(records)]
    most = _Builder(faults, forms, at_once=True).build(plain, kind, "", range(len(records)))
    few = _Builder(faults, forms, at_once=False).build([records[row] for row in unsure], kind, "", unsure)
    order = list(range(len(records)))
    for index, row in enumerate(unsure):
        order[row] = len(records) + index
    return pa.concat_arrays([most, few]).take(pa.array(order, pa.int64()))


class _Builder:
    def __init__(self, faults: dict[int, list[Fault]], forms: Forms, *, at_once: bool) -> None:
        self._faults = faults
        self._forms = forms
        self._at_once = at_once
        # All places that hold one with a form: Arrow alone does not know them.
        self._above = {at[:end] for at in forms for end in range(len(at)) if at[end] == "/"}

    def build(self, values: Sequence[Any], kind: DataType, at: str, rows: Sequence[int]) -> pa.Array:
        if at in self._forms:
            return self._logical(values, kind, at, rows)
        if self._at_once and _is_native(kind) and at not in self._above:
            try:
                return pa.array(values, arrow_type(kind))
            except _REFUSALS:
                pass
        match kind:
            case StructType():
                return self._struct(values, kind, at, rows)
            case ArrayType():
                return self._list(values, kind, at, rows)
            case MapType():
                return self._map(values, kind, at, rows)
        return self._leaves(values, kind, at, rows)

    def _struct(self, values: Sequence[Any], kind: StructType, at: str, rows: Sequence[int]) -> pa.Array:
        sound = self._of(dict, values, at, rows)
        columns = [
            self.build(
                [None if value is None else value.get(field.name) for value in sound],
                field.dataType,
                f"{at}/{escaped(field.name)}",
                rows,
            )
            for field in kind.fields
        ]
        mask = pa.array([value is None for value in sound], pa.bool_())
        return pa.StructArray.from_arrays(columns, fields=list(arrow_type(kind)), mask=mask)

    def _list(self, values: Sequence[Any], kind: ArrayType, at: str, rows: Sequence[int]) -> pa.Array:
        sound = self._of(list, values, at, rows)
        items = [item for value in sound for item in value or ()]
        inner_rows = [row for row, value in zip(rows, sound, strict=True) for _ in value or ()]
        inner = self.build(items, kind.elementType, f"{at}/*", inner_rows)
        return pa.ListArray.from_arrays(_offsets(sound), inner, type=arrow_type(kind))

    def _map(self, values: Sequence[Any], kind: MapType, at: str, rows: Sequence[int]) -> pa.Array:
        sound = self._of(dict, values, at, rows)
        inner_rows = [row for row, value in zip(rows, sound, strict=True) for _ in value or ()]
        keys = pa.array([key for value in sound for key in value or ()], arrow_type(kind.keyType))
        items = [item for value in sound for item in (value or {}).values()]
        inner = self.build(items, kind.valueType, f"{at}/*", inner_rows)
        built = pa.MapArray.from_arrays(_offsets(sound), keys, inner)
        return built.cast(arrow_type(kind))

    def _leaves(self, values: Sequence[Any], kind: DataType, at: str, rows: Sequence[int]) -> pa.Array:
        if self._at_once and (at_once := from_texts(values, kind, arrow_type(kind))) is not None:
            return at_once
        return self._one_by_one(values, leaf_converter(kind), kind, at, rows)

    def _logical(self, values: Sequence[Any], kind: DataType, at: str, rows: Sequence[int]) -> pa.Array:
        form = logical_values.FORMS[self._forms[at]]
        if self._at_once and (at_once := logical_values.convert_all(form, values, arrow_type(kind))) is not None:
            return at_once
        return self._one_by_one(values, lambda value: form.convert(value, kind), kind, at, rows)

    def _one_by_one(
        self, values: Sequence[Any], convert: Callable[[Any], Any], kind: DataType, at: str, rows: Sequence[int]
    ) -> pa.Array:
        found: list[Any] = []
        for row, value in zip(rows, values, strict=True):
            try:
                found.append(None if value is None else convert(value))
            except Unfit as unfit:
                self._fault(row, unfit.rule, at)
                found.append(None)
        return pa.array(found, arrow_type(kind))

    def _of(self, wanted: type, values: Sequence[Any], at: str, rows: Sequence[int]) -> list[Any]:
        sound = []
        for row, value in zip(rows, values, strict=True):
            if value is not None and not isinstance(value, wanted):
                self._fault(row, "decode.type", at)
                value = None
            sound.append(value)
        return sound

    def _fault(self, row: int, rule: str, at: str) -> None:
        self._faults.setdefault(row, []).append((rule, at))


def _is_native(kind: DataType) -> bool:
    match kind:
        case StructType():
            return all(_is_native(field.dataType) for field in kind.fields)
        case ArrayType():
            return _is_native(kind.elementType)
        case MapType():
            return _is_native(kind.valueType)
    return isinstance(kind, _NATIVE)


def _offsets(values: Sequence[Any]) -> pa.Array:
    """Where each list begins; a null list is one whose own offset is null."""
    offsets: list[int | None] = []
    end = 0
    for value in values:
        offsets.append(None if value is None else end)
        end += len(value or ())
    return pa.array([*offsets, end], pa.int32())


def escaped(name: str) -> str:
    """A name as a step of a JSON pointer, RFC 6901."""
    return name.replace("~", "~0").replace("/", "~1")
