"""Judging a record's bytes under its contract: one pass, inside an Arrow function, by `jsonschema-rs`.

The whole of JSON Schema is checked by a library in Rust; only what fails is looked at twice. Codes are stable and
name the rule, never the payload.

| code                | the record ...                                                            |
|---------------------|---------------------------------------------------------------------------|
| `json.utf8`         | is not UTF-8                                                              |
| `json.syntax`       | is not JSON                                                               |
| `json.object`       | is JSON, but not an object                                                |
| `debezium.envelope` | has no Debezium `op` that is known                                        |
| `debezium.image`    | has no `after` (or, in a delete, no `before`) that is an object           |
| `debezium.position` | has no position of its source: no `lsn`, no binlog `file` and `pos`       |
| `key.null`          | has a null in a key column                                                |
| `schema.<keyword>`  | breaks that keyword of the contract                                       |
| `decode.type`       | keeps to the contract, but a value does not fit the column's type         |
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jsonschema_rs
import orjson
import pyarrow as pa
from pyspark.sql import Column
from pyspark.sql.functions import arrow_udf  # type: ignore[attr-defined]  # its stub is missing in 4.1
from pyspark.sql.types import ArrayType, BooleanType, StringType, StructField, StructType

from schemas import debezium

MAX_VIOLATIONS = 20
"""Violations kept per record; the rest of a thoroughly broken one says nothing more."""

TOMBSTONE, MESSAGE = "tombstone", "message"

VIOLATION_TYPE = StructType(
    [StructField("rule", StringType()), StructField("pointer", StringType()), StructField("schema_path", StringType())]
)
VERDICT_TYPE = StructType(
    [
        StructField("violations", ArrayType(VIOLATION_TYPE)),
        StructField("dropped", StringType()),
        StructField("rescued", StringType()),
        StructField("wrapped", BooleanType()),
    ]
)
"""`violations` is null where the record is accepted; `dropped` says why a record without a row is only counted;
`rescued` holds fields that the contract does not name, as JSON; `wrapped` says that the record came inside a Kafka
Connect envelope of `schema` and `payload`."""

_VIOLATION_ARROW = pa.list_(pa.struct([("rule", pa.string()), ("pointer", pa.string()), ("schema_path", pa.string())]))

Violation = dict[str, str]
Declared = dict[str, "Declared | None"]


@dataclass(frozen=True)
class Verdict:
    """What becomes of one record; all empty for one that is simply accepted."""

    violations: list[Violation] | None = None
    dropped: str | None = None
    rescued: str | None = None
    wrapped: bool = False


@dataclass(frozen=True)
class Judge:
    """How the records of one bronze table are judged; small and picklable, since it travels to the workers.

    `schema` is the contract's text, `declared` the tree of the fields that it names.
    """

    schema: str
    format: Literal["json", "debezium-json"]
    describes: Literal["row", "envelope"]
    keys: tuple[str, ...]
    declared: Declared

    def __call__(self, value: bytes | None) -> Verdict:
        """The verdict on one record's value."""
        if value is None:
            return Verdict(dropped=TOMBSTONE)
        try:
            record = orjson.loads(value)
        except orjson.JSONDecodeError:
            return _rejected(_json_fault(value))
        if not isinstance(record, dict):
            return _rejected(("json.object", "", ""))
        wrapped = record.keys() == {"schema", "payload"}
        if wrapped:
            record = record["payload"]
            if record is None:
                return Verdict(dropped=TOMBSTONE)
            if not isinstance(record, dict):
                return _rejected(("json.object", "/payload", ""))
        if self.format == "json":
            return self._judge_row(record, record, "", wrapped)
        return self._judge_envelope(record, wrapped)

    def _judge_envelope(self, record: dict[str, Any], wrapped: bool) -> Verdict:
        op = record.get(debezium.OP)
        if op == debezium.MESSAGE:
            return Verdict(dropped=MESSAGE)
        if op not in debezium.OPS:
            return _rejected(("debezium.envelope", "/op", ""))
        if not _has_position(record.get(debezium.SOURCE)):
            return _rejected(("debezium.position", "/source", ""))
        if op == debezium.TRUNCATE:
            return Verdict(wrapped=wrapped)
        side = debezium.BEFORE if op == debezium.DELETE else debezium.AFTER
        image = record.get(side)
        if not isinstance(image, dict):
            return _rejected(("debezium.image", f"/{side}", ""))
        if op == debezium.DELETE:
            # Of the row that is gone only the key is sure: the other fields may be nulls and zeros.
            return self._judge_keys(image, f"/{side}") or Verdict(wrapped=wrapped)
        described = record if self.describes == "envelope" else image
        return self._judge_row(described, image, f"/{side}", wrapped)

    def _judge_row(self, described: dict[str, Any], image: dict[str, Any], at: str, wrapped: bool) -> Verdict:
        validator = _validator(self.schema)
        if not validator.is_valid(described):
            prefix = at if described is image else ""
            return _rejected(*(_violation(error, prefix) for error in validator.iter_errors(described)))
        return self._judge_keys(image, at) or Verdict(rescued=self._rescued(image), wrapped=wrapped)

    def _judge_keys(self, image: dict[str, Any], at: str) -> Verdict | None:
        nulls = [key for key in self.keys if image.get(key) is None]
        return _rejected(*(("key.null", f"{at}/{key}", "") for key in nulls)) if nulls else None

    def _rescued(self, image: dict[str, Any]) -> str | None:
        unknown = _undeclared(image, self.declared)
        return orjson.dumps(unknown).decode() if unknown else None

    def column(self, value: Column) -> Column:
        """The verdict on a BINARY column as a column of VERDICT_TYPE; one pass over the bytes in Arrow batches."""
        return _arrow_function(self)(value)


def declared_fields(row: StructType) -> Declared:
    """The tree of the fields that a type names, None below which anything may stand."""
    return {
        field.name: declared_fields(field.dataType) if isinstance(field.dataType, StructType) else None
        for field in row.fields
    }


def _arrow_function(judge: Judge) -> Callable[[Column], Column]:
    @arrow_udf(VERDICT_TYPE)  # type: ignore[untyped-decorator]
    def verdicts(values: pa.Array) -> pa.Array:
        judged = [judge(value) for value in values.to_pylist()]
        return pa.StructArray.from_arrays(
            [
                pa.array([verdict.violations for verdict in judged], _VIOLATION_ARROW),
                pa.array([verdict.dropped for verdict in judged], pa.string()),
                pa.array([verdict.rescued for verdict in judged], pa.string()),
                pa.array([verdict.wrapped for verdict in judged], pa.bool_()),
            ],
            names=VERDICT_TYPE.names,
        )

    return verdicts  # type: ignore[no-any-return]


@functools.lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    """Built once per worker; `format` is asserted, and nothing is fetched from anywhere."""
    return jsonschema_rs.validator_for(orjson.loads(schema), validate_formats=True, offline=True)


def _rejected(*violations: tuple[str, str, str]) -> Verdict:
    return Verdict(
        [
            {"rule": rule, "pointer": pointer, "schema_path": schema_path}
            for rule, pointer, schema_path in violations[:MAX_VIOLATIONS]
        ]
    )


def _violation(error: jsonschema_rs.ValidationError, prefix: str) -> tuple[str, str, str]:
    return (
        f"schema.{error.kind.name}",
        prefix + _pointer(error.instance_path),
        _pointer(error.schema_path),
    )


def _pointer(path: list[str | int]) -> str:
    """A JSON pointer, RFC 6901."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _json_fault(value: bytes) -> tuple[str, str, str]:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return ("json.utf8", "", "")
    return ("json.syntax", "", "")


def _has_position(source: Any) -> bool:
    if not isinstance(source, dict):
        return False
    if source.get("connector") == "mysql":
        return isinstance(source.get("file"), str) and isinstance(source.get("pos"), int)
    return isinstance(source.get("lsn"), int)


def _undeclared(image: dict[str, Any], declared: Declared) -> dict[str, Any]:
    unknown = {name: image[name] for name in image.keys() - declared.keys()}
    for name, below in declared.items():
        inner = image.get(name)
        if below is not None and isinstance(inner, dict) and (deeper := _undeclared(inner, below)):
            unknown[name] = deeper
    return unknown
