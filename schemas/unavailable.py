"""Values that Debezium does not have, and in whose place it sends a placeholder.

PostgreSQL does not log a large value that an update left as it was (TOAST), MySQL none that its row image leaves out.
Debezium then sends `__debezium_unavailable_value`, in a form that the column's type takes:

| column                      | the placeholder is sent as                                              |
|-----------------------------|-------------------------------------------------------------------------|
| text, json, xml, numeric    | its text                                                                |
| bytes                       | its bytes: base64 in JSON; under a `binary.handling.mode` also as hex   |
| text[], json[]              | a list of its text                                                      |
| bytea[]                     | a list of its bytes                                                     |
| integer[], bigint[], date[] | a list of the codes of its characters                                   |
| uuid[]                      | a list of the UUID that is made of it                                   |
| hstore                      | a map of it to itself, or that map as JSON text                         |

For other arrays (numeric[], timestamp[]) Debezium sends null, which can not be told from a null that was stored.
"""

from __future__ import annotations

import base64
import bisect
import hashlib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import pyarrow as pa
from pyspark.sql.types import ArrayType, DataType, StructType

PLACEHOLDER: Final = "__debezium_unavailable_value"
"""Debezium's default of `unavailable.value.placeholder`."""

_BYTES: Final = PLACEHOLDER.encode()
_BASE64: Final = base64.b64encode(_BYTES).decode()
_HEX: Final = _BYTES.hex()
_UUID: Final = str(uuid.UUID(bytes=hashlib.md5(_BYTES, usedforsecurity=False).digest(), version=3))
_CODES: Final = list(_BYTES)

_TEXTS: Final = frozenset({PLACEHOLDER, _BASE64, _HEX, f'{{"{PLACEHOLDER}":"{PLACEHOLDER}"}}'})
_LISTS: Final = ([PLACEHOLDER], [_BASE64], [_UUID], _CODES)
_MAP: Final = {PLACEHOLDER: PLACEHOLDER}

_ALWAYS: Final = (_BYTES, _BASE64.encode(), _HEX.encode())
_OF_ARRAYS: Final = (_UUID.encode(), ",".join(map(str, _CODES)).encode())
_OF_ARRAYS_IN_AVRO: Final = (
    _UUID.encode(),
    b"".join(bytes((2 * code & 0x7F | 0x80, 2 * code >> 7)) for code in _CODES),
)
_CHUNK_BYTES: Final = 1 << 17


def is_placeholder(value: Any) -> bool:
    """Whether a value of a row stands for one that Debezium does not have."""
    kind = type(value)
    if kind is str:
        return value in _TEXTS
    return value in _LISTS if kind is list else kind is dict and value == _MAP


def names_in(image: Any) -> tuple[str, ...]:
    """The fields of a row that hold the placeholder, in their order."""
    if not isinstance(image, dict):
        return ()
    return tuple(name for name, value in image.items() if is_placeholder(value))


def patterns_of(row: DataType, *, is_avro: bool) -> tuple[bytes, ...]:
    """What the bytes of a record hold if one of its values is the placeholder; for `rows_with`."""
    return (*_ALWAYS, *((_OF_ARRAYS_IN_AVRO if is_avro else _OF_ARRAYS) if _has_array(row) else ()))


def rows_with(values: pa.BinaryArray, patterns: Iterable[bytes]) -> list[int]:
    """The rows whose bytes hold one of the patterns: all that may hold a placeholder, and few others.

    The bytes of the whole array are searched in pieces that stay in the processor's cache; a search value by value
    would cost as much again.
    """
    _, offsets, data = values.buffers()
    if data is None or not len(values):
        return []
    starts = memoryview(offsets).cast("B").cast("i")[values.offset : values.offset + len(values) + 1]
    places = _places(memoryview(data)[starts[0] : starts[-1]], patterns)
    return sorted({bisect.bisect_right(starts, starts[0] + at) - 1 for at in places})


def _places(content: memoryview, patterns: Iterable[bytes]) -> Iterator[int]:
    patterns = tuple(patterns)
    overlap = max(map(len, patterns)) - 1
    for start in range(0, len(content), _CHUNK_BYTES):
        piece = bytes(content[start : start + _CHUNK_BYTES + overlap])
        for pattern in patterns:
            at = piece.find(pattern)
            while at >= 0:
                yield start + at
                at = piece.find(pattern, at + len(pattern))


def with_nulls(image: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The row with null in the place of these fields."""
    return {**image, **dict.fromkeys(names)}


def without(image: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The row without these fields."""
    left_out = frozenset(names)
    return {name: value for name, value in image.items() if name not in left_out}


def _has_array(kind: DataType) -> bool:
    if isinstance(kind, StructType):
        return any(_has_array(field.dataType) for field in kind.fields)
    return isinstance(kind, ArrayType)
