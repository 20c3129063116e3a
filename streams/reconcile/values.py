"""The one text that a value has on both sides: what PostgreSQL makes of it, and what Arrow does.

| silver                 | text                                      | source                                    |
|------------------------|-------------------------------------------|-------------------------------------------|
| whole numbers, DECIMAL | digits, no zeros at the end of a fraction | smallint to bigint, numeric               |
| STRING                 | itself                                    | text and its kin, uuid, json, enums, inet |
| BOOLEAN                | `true`, `false`                           | boolean                                   |
| DATE                   | days since 1970-01-01                     | date                                      |
| TIMESTAMP, _NTZ        | microseconds since 1970-01-01, UTC        | timestamp, timestamptz                    |
| BINARY                 | hexadecimal digits                        | bytea                                     |
| DOUBLE, FLOAT          | hexadecimal digits of the DOUBLE          | real, double precision                    |

A row is told by the texts of its columns one after the other: of a STRING behind its length (`3:abc`, NULL is `n`), of
the others before a `;` (`12;`, NULL is `~;`). So NULL is not the empty text, and no two rows have one text.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

Kind = Literal["number", "text", "boolean", "date", "timestamp", "binary", "float"]

NULL: Final = "~"
NULL_TEXT: Final = "n"
END: Final = ";"
INTEGERS: Final = ("int2", "int4", "int8")
TEXTS: Final = ("text", "varchar")

_TEXT_CATEGORIES: Final = ("S", "E", "I")
_SOURCE_TYPES: Final[dict[Kind, tuple[str, ...]]] = {
    "number": (*INTEGERS, "numeric", "oid"),
    "text": (*TEXTS, "bpchar", "uuid", "json", "jsonb", "xml", "macaddr"),
    "boolean": ("bool",),
    "date": ("date",),
    "timestamp": ("timestamp", "timestamptz"),
    "binary": ("bytea",),
    "float": ("float4", "float8"),
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def kind_of(type_: pa.DataType) -> Kind | None:
    """How values of a column of silver are compared; None where they can not be."""
    types = pa.types
    tests: tuple[tuple[Kind, tuple[Callable[[pa.DataType], bool], ...]], ...] = (
        ("number", (types.is_integer, types.is_decimal)),
        ("text", (types.is_string, types.is_large_string, types.is_string_view)),
        ("boolean", (types.is_boolean,)),
        ("date", (types.is_date,)),
        ("timestamp", (types.is_timestamp,)),
        ("binary", (types.is_binary, types.is_large_binary, types.is_binary_view)),
        ("float", (types.is_floating,)),
    )
    return next((kind for kind, of_kind in tests if any(test(type_) for test in of_kind)), None)


def takes(kind: Kind, name: str, category: str) -> bool:
    """Whether a type of PostgreSQL, by its name and category in `pg_type`, has values that this kind compares."""
    return name in _SOURCE_TYPES[kind] or (kind == "text" and category in _TEXT_CATEGORIES)


def in_postgres(kind: Kind, name: str, value: str) -> str:
    """SQL for the text of a value of the type `name`; NULL gives NULL."""
    match kind:
        case "number":
            return f"trim_scale({value})::text" if name == "numeric" else f"{value}::text"
        case "text" if name == "bpchar":
            # A cast takes the blanks away with which CHAR(n) is filled up, and which Debezium sends.
            return f"CASE WHEN {value} IS NOT NULL THEN format('%s', {value}) END"
        case "date":
            return f"CASE WHEN isfinite({value}) THEN ({value} - DATE '1970-01-01')::text ELSE {value}::text END"
        case "timestamp":
            micros = f"round(extract(epoch FROM {value}) * 1000000)::bigint"
            return f"CASE WHEN isfinite({value}) THEN {micros}::text ELSE {value}::text END"
        case "binary":
            return f"encode({value}, 'hex')"
        case "float":
            # Minus nought is nought, and all NaNs are one.
            number = f"{value}::float8"
            bits = f"encode(float8send(CASE WHEN {number} = 0 THEN 0 ELSE {number} END), 'hex')"
            return f"CASE WHEN {number} = 'NaN' THEN 'nan' ELSE {bits} END"
        case _:
            return f"{value}::text"


def in_arrow(kind: Kind, values: pa.Array) -> pa.Array:
    """The texts of a column's values; null stays null."""
    match kind:
        case "number" if pa.types.is_decimal(values.type):
            return _decimals(values)
        case "date":
            return values.cast(pa.date32()).cast(pa.int32()).cast(pa.string())
        case "timestamp":
            return values.cast(pa.timestamp("us", values.type.tz)).cast(pa.int64()).cast(pa.string())
        case "binary":
            return pa.array([None if value is None else value.hex() for value in values.to_pylist()], pa.string())
        case "float":
            return pa.array([_bits(value) for value in values.to_pylist()], pa.string())
        case _:
            return values.cast(pa.string())


def joined_in_postgres(texts: Sequence[tuple[Kind, str]]) -> str:
    """SQL for one text of several, each with its kind; each is named once, since it is worked out where it is named."""
    parts = [
        # Of a text the length is asked as well: it is most often a column as it is.
        f"coalesce(char_length({text}) || ':' || {text}, '{NULL_TEXT}')"
        if kind == "text"
        else f"coalesce({text}, '{NULL}') || '{END}'"
        for kind, text in texts
    ]
    return f"({' || '.join(parts)})"


def joined_in_arrow(texts: Sequence[tuple[Kind, pa.Array]]) -> pa.Array:
    """One text of several, row by row."""
    parts: list[pa.Array | str] = []
    for kind, text in texts:
        if kind == "text":
            behind_length = pc.binary_join_element_wise(pc.utf8_length(text).cast(pa.string()), text, ":")
            parts.append(pc.fill_null(behind_length, NULL_TEXT))
        else:
            parts += [pc.fill_null(text, NULL), END]
    return pc.binary_join_element_wise(*parts, "")


def parted(joined: str, kinds: Sequence[Kind]) -> Iterator[str | None]:
    """The texts that one was joined of."""
    at = 0
    for kind in kinds:
        if kind != "text":
            end = joined.index(END, at)
            text = joined[at:end]
            yield None if text == NULL else text
            at = end + 1
        elif joined[at] == NULL_TEXT:
            yield None
            at += 1
        else:
            colon = joined.index(":", at)
            end = colon + 1 + int(joined[at:colon])
            yield joined[colon + 1 : end]
            at = end


def shown(kind: Kind, text: str | None) -> str:
    """A value's text as a person reads it."""
    if text is None:
        return "NULL"
    try:
        match kind:
            case "date":
                return (date(1970, 1, 1) + timedelta(days=int(text))).isoformat()
            case "timestamp":
                return (_EPOCH + timedelta(microseconds=int(text))).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        pass  # infinite, or before the year 1
    return text


def _decimals(values: pa.Array) -> pa.Array:
    texts = values.cast(pa.string())
    if pc.any(pc.match_substring(texts, "E")).as_py():
        # Arrow writes small ones as 1E-7.
        texts = pa.array([None if value is None else f"{Decimal(value):f}" for value in texts.to_pylist()], pa.string())
    texts = pc.replace_substring_regex(texts, r"(\.\d*?)0+$", r"\1")
    texts = pc.replace_substring_regex(texts, r"\.$", "")
    return pc.if_else(pc.equal(texts, "-0"), "0", texts)


def _bits(value: float | None) -> str | None:
    if value is None:
        return None
    return "nan" if math.isnan(value) else struct.pack(">d", value or 0.0).hex()
