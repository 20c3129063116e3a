"""Avro bytes to values of the JSON model, each record with the schema that it was written with.

Pure, without any input or output: it runs in Spark's Python workers. `forms` tells which form each type takes.

| code                  | the record's bytes ...                                                       |
|-----------------------|------------------------------------------------------------------------------|
| `avro.magic`          | do not begin with the magic byte 0 and a schema id                           |
| `avro.schema_unknown` | name a schema id that the registry does not have, or not all that it refers to |
| `avro.schema_invalid` | name a schema that is none, or that could blow up a few bytes without bounds |
| `avro.truncated`      | end before the record does, or are not of its schema                         |
| `avro.trailing`       | go on after the record                                                       |
| `avro.number`         | hold NaN, infinity, or a date or time beyond the years 1 to 9999             |
| `avro.depth`          | nest deeper than MAX_DEPTH, which only a schema that contains itself can do  |

https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any, Final

from schemas.avro.reader import reader_of
from schemas.unreadable import Unreadable

__all__ = ["MAX_DEPTH", "Unreadable", "read", "read_confluent", "schema_id"]

MAX_DEPTH: Final = 100
"""Levels of objects and lists in each other; far less than JSON's readers and writers bear."""

_HEADER_BYTES: Final = 5


def schema_id(value: bytes) -> int:
    """The id of the writer's schema, in Confluent's wire format; raises Unreadable.

    Registries count from 1 in 31 bits. Any other number is no id, and asking for it is not told apart by all of them
    from asking at a wrong address.
    """
    if len(value) < _HEADER_BYTES or value[0] != 0:
        raise Unreadable("avro.magic")
    found = int.from_bytes(value[1:_HEADER_BYTES], "big", signed=True)
    if found < 0:
        raise Unreadable("avro.schema_unknown")
    return found


def read_confluent(value: bytes, writer_schemas: Mapping[int, str | None]) -> Any:
    """The value of a record in Confluent's wire format, with the schemas by id that its batch needs.

    Raises Unreadable; an id that is missing or None is one that the registry does not have.
    """
    writer_schema = writer_schemas.get(schema_id(value))
    if writer_schema is None:
        raise Unreadable("avro.schema_unknown")
    return read(writer_schema, value[_HEADER_BYTES:])


def read(writer_schema: str, body: bytes) -> Any:
    """The value of a record's bytes, all of which are used; raises Unreadable.

    Records and maps are dicts, unions are unwrapped. The schema, JSON text, is parsed once per process.
    """
    reader = reader_of(writer_schema)
    source = BytesIO(body)
    try:
        value = reader.decode(source, reader.schema)
    except (Unreadable, MemoryError):
        raise
    except RecursionError:
        raise Unreadable("avro.depth") from None
    except Exception:  # noqa: BLE001 - what fastavro raises for bytes that do not decode is of a dozen types
        raise Unreadable("avro.truncated") from None
    if source.read(1):
        raise Unreadable("avro.trailing")
    if reader.recursive and _is_deep(value):
        raise Unreadable("avro.depth")
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [below for one in level for below in _below(one)]
        if not level:
            return False
    return True


def _below(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
