"""The types that Debezium and Kafka Connect know by name, and the columns that they become.

A contract names one beside a field, or beside the `items` of a list, as the connector's documentation does:

    "placed_at": {"type": ["integer", "null"], "x-debezium": "io.debezium.time.MicroTimestamp"},
    "amount": {"type": "string", "x-debezium": "org.apache.kafka.connect.data.Decimal", "x-type": "decimal(12,2)"}

`type` stays what Debezium sends. Of `Decimal` the value says neither precision nor scale: `x-type` does, with the scale
of the source's column. Names without their package that only one has (`MicroTimestamp`) are not taken: the full name is
what the connector's documentation and schemas say. https://debezium.io/documentation/reference/stable/connectors/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pyspark.sql.types import DataType, DecimalType

from schemas.spark_types import NotASparkType, parse_type
from schemas.suggest import did_you_mean

ANNOTATION: Final = "x-debezium"
_TIME, _DATA, _CONNECT = "io.debezium.time.", "io.debezium.data.", "org.apache.kafka.connect.data."


@dataclass(frozen=True)
class LogicalType:
    """The JSON types of its values, the column's type, and how one becomes the other.

    `column` is a type of Spark's by name, None where `x-type` has to give a decimal. `form` is one of
    logical_values.FORMS, None where the value is taken as any other of the column's type; `avro_form` the same for
    records that came as Avro, whose own logical types have been turned to text.
    """

    json: tuple[str, ...]
    column: str | None
    form: str | None = None
    avro_form: str | None = None


def _same(json: str, column: str | None, form: str | None = None) -> LogicalType:
    return LogicalType((json,), column, form, form)


def _connect(column: str | None, json: str, form: str, avro_form: str | None) -> LogicalType:
    return LogicalType((json, "string") if json != "string" else (json,), column, form, avro_form)


LOGICAL_TYPES: Final[dict[str, LogicalType]] = {
    f"{_TIME}Date": _same("integer", "date", "days"),
    f"{_TIME}Time": _same("integer", "bigint", "time-millis"),
    f"{_TIME}MicroTime": _same("integer", "bigint"),
    f"{_TIME}NanoTime": _same("integer", "bigint", "time-nanos"),
    f"{_TIME}Timestamp": _same("integer", "timestamp_ntz", "millis"),
    f"{_TIME}MicroTimestamp": _same("integer", "timestamp_ntz", "micros"),
    f"{_TIME}NanoTimestamp": _same("integer", "timestamp_ntz", "nanos"),
    f"{_TIME}ZonedTimestamp": _same("string", "timestamp"),
    f"{_TIME}ZonedTime": _same("string", "string"),
    f"{_TIME}IsoDate": _same("string", "date", "iso-date"),
    f"{_TIME}IsoTime": _same("string", "string"),
    f"{_TIME}IsoTimestamp": _same("string", "timestamp_ntz", "iso-timestamp"),
    f"{_TIME}Year": _same("integer", "int"),
    f"{_TIME}Interval": _same("string", "string"),
    f"{_TIME}MicroDuration": _same("integer", "bigint"),
    f"{_TIME}NanoDuration": _same("integer", "bigint", "time-nanos"),
    f"{_CONNECT}Date": _connect("date", "integer", "days", None),
    f"{_CONNECT}Time": _connect("bigint", "integer", "time-millis", "time-text"),
    f"{_CONNECT}Timestamp": _connect("timestamp_ntz", "integer", "millis", "iso-timestamp"),
    f"{_CONNECT}Decimal": _connect(None, "string", "unscaled", None),
    f"{_DATA}VariableScaleDecimal": _same("object", None, "scaled"),
    f"{_DATA}Bits": _same("string", "binary"),
    f"{_DATA}DoubleVector": _same("array", "array<double>"),
    f"{_DATA}FloatVector": _same("array", "array<float>"),
    **{
        f"{_DATA}{name}": _same("string", "string")
        for name in ("Enum", "EnumSet", "Json", "Ltree", "Tsvector", "Uuid", "Xml")
    },
}
"""By the name of Connect's schema.

| name                                                          | sent as                    | the column             |
|---------------------------------------------------------------|----------------------------|------------------------|
| `...time.Date`, `...connect.data.Date`                        | days since 1970            | DATE                   |
| `...time.IsoDate`                                             | text, `2024-02-29Z`        | DATE                   |
| `...time.Timestamp`, `MicroTimestamp`, `NanoTimestamp`, `...connect.data.Timestamp` | milli-, micro-, nanoseconds since 1970 | TIMESTAMP_NTZ |
| `...time.IsoTimestamp`                                        | text with `Z`              | TIMESTAMP_NTZ          |
| `...time.ZonedTimestamp`                                      | text with a zone           | TIMESTAMP              |
| `...time.Time`, `MicroTime`, `NanoTime`, `...connect.data.Time` | milli-, micro-, nanoseconds | BIGINT, microseconds |
| `...time.MicroDuration`, `NanoDuration`                       | micro-, nanoseconds        | BIGINT, microseconds   |
| `...time.ZonedTime`, `IsoTime`, `Interval`                    | text                       | STRING                 |
| `...time.Year`                                                | a number                   | INT                    |
| `...connect.data.Decimal`                                     | base64 of the unscaled number | DECIMAL of `x-type` |
| `...data.VariableScaleDecimal`                                | `scale` and `value`        | DECIMAL of `x-type`    |
| `...data.Uuid`, `Json`, `Xml`, `Enum`, `EnumSet`, `Ltree`, `Tsvector` | text               | STRING                 |
| `...data.Bits`                                                | base64, the lowest bits first | BINARY              |
| `...data.DoubleVector`, `FloatVector`                         | a list                     | ARRAY of DOUBLE, FLOAT |
"""  # noqa: E501 - a table

_SHAPES = ("Circle", "Geography", "Geometry", "Line", "Point")
_STRUCTURED = ("Date", "Duration", "Time", "Timestamp", "ZonedTime", "ZonedTimestamp")
_NO_COLUMN: Final[dict[str, str]] = {
    **{
        f"{_DATA}geometry.{name}": "Leave the field out of `properties`, so that it is kept in `_rescued_data`; or "
        "describe the object that it is (`wkb`, `srid`) without this word."
        for name in _SHAPES
    },
    f"{_DATA}SparseDoubleVector": "Describe the object that it is (`dimensions`, `vector`) without this word.",
    **{
        f"{_TIME}Structured{name}": "Set the connector's `time.precision.mode` to `adaptive`, "
        "`adaptive_time_microseconds`, `connect`, `microseconds` or `isostring`."
        for name in _STRUCTURED
    },
}


class NotALogicalType(ValueError):
    """An `x-debezium` that no column can be made of; `what` and `remedy` are sentences."""

    def __init__(self, what: str, remedy: str) -> None:
        self.what, self.remedy = what, remedy
        super().__init__(f"{what} {remedy}")


def logical_type(name: object) -> LogicalType:
    """The type of this name; raises NotALogicalType."""
    if name in _NO_COLUMN:
        raise NotALogicalType(f"`{name}` has no type of a column that holds it.", _NO_COLUMN[str(name)])
    if name not in LOGICAL_TYPES:
        otherwise = "Write the name as the connector's documentation does, as `io.debezium.time.MicroTimestamp`."
        own = {full.rpartition(".")[2]: full for full in reversed((*LOGICAL_TYPES, *_NO_COLUMN))}
        near = did_you_mean(str(name), (*LOGICAL_TYPES, *_NO_COLUMN), "")
        if str(name) in own:
            near = f"Did you mean `{own[str(name)]}`?"
        raise NotALogicalType(f"`{name}` is no type of Debezium's that is known.", near or otherwise)
    return LOGICAL_TYPES[str(name)]


def column_type(name: object, x_type: object) -> DataType:
    """The type of the column; `x_type` is what the contract says beside, None without. Raises NotALogicalType."""
    kind = logical_type(name)
    try:
        given = None if x_type is None else parse_type(str(x_type))
    except NotASparkType as error:
        raise NotALogicalType(f"{error}.", "Write one such as `decimal(18,2)`.") from None
    if kind.column is None:
        if not isinstance(given, DecimalType):
            what = f"`{name}` does not say how many digits there are before and after the point."
            raise NotALogicalType(what, "Write them as the source's column has them: `x-type: decimal(12,2)`.")
        return given
    column = parse_type(kind.column)
    if given not in (None, column):
        raise NotALogicalType(f"`{name}` becomes `{kind.column}`, and `x-type` says otherwise.", "Leave out `x-type`.")
    return column
