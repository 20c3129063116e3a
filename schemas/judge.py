"""Judging records under their contract: from bytes to columns in one parse, inside an Arrow function.

A batch's bytes are read once. One call of `jsonschema-rs` per record says whether all is as it should be: envelope,
position, key, contract, no unknown field. Such records become columns as they are, converted by Arrow as a batch.
Only the others are looked at further. Codes are stable and name the rule, never the payload.

| code                   | the record ...                                                         |
|------------------------|------------------------------------------------------------------------|
| `record.size`          | is larger than `max_record_bytes`                                      |
| `json.utf8`            | is not UTF-8                                                           |
| `json.syntax`          | is not JSON                                                            |
| `json.object`          | is JSON, but not an object                                             |
| `avro.*`               | can not be read as Avro; see schemas/avro/wire.py                           |
| `debezium.envelope`    | has no Debezium `op` that is known                                     |
| `debezium.image`       | has no `after` (or, in a delete, no `before`) that is an object        |
| `debezium.position`    | has no position of its source: no `lsn`, no binlog `file` and `pos`    |
| `key.null`             | has a null in a key column                                             |
| `schema.<keyword>`     | breaks that keyword of the contract                                    |
| `schema_change.unknown`| has a field that the contract does not name, where those are refused   |
| `decode.*`             | keeps to the contract, but a value does not fit its column; see leaf_values |
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import pyarrow as pa
from pyspark.sql.types import ArrayType, DataType, StringType, StructField, StructType

from schemas import debezium, json_bytes
from schemas.arrow_values import Fault, arrow_type, sure_schema, to_arrow
from schemas.field_tree import Node, new_fields, schema_of, unknown_in, without_misfits
from schemas.record_bytes import NO_RECORD, Reader
from schemas.type_changes import FieldPath
from schemas.unreadable import Unreadable
from schemas.validation import VIOLATION_TYPE, Validation, Violation, rejected

TOMBSTONE, MESSAGE = "tombstone", "message"

OnUnknown = Literal["keep", "learn", "reject"]
"""What becomes of a field that the contract does not name: kept in `_rescued_data`; the same, and told of, so that a
column can be made for it; or the record is rejected."""

NEW_FIELD_TYPE: Final = StructType([StructField("path", ArrayType(StringType())), StructField("type", StringType())])

_IMAGES: Final = (debezium.BEFORE, debezium.AFTER)


@dataclass
class Verdict:
    """What becomes of one record; all empty for one that is simply accepted.

    `dropped` says why a record without a row is only counted; `rescued` holds fields that no column knows; `new` are
    those of them that a column could be made for.
    """

    violations: list[Violation] | None = None
    dropped: str | None = None
    rescued: dict[str, Any] | None = None
    new: list[tuple[FieldPath, DataType]] = field(default_factory=list)


@dataclass(frozen=True)
class Judge:
    """How the records of one bronze table are judged; small and picklable, since it travels to the workers.

    `strict` is the schema of the records that need no second look, `sure` that of the values which Arrow converts
    exactly as a batch, `key` what the contract says of the key columns alone; `row` is the tree of the fields that the
    row's columns know, `payload` the type of the columns that a record becomes.
    """

    reader: Reader
    contract: Validation
    strict: Validation
    sure: Validation
    key: Validation
    is_debezium: bool
    describes: Literal["row", "envelope"]
    keys: tuple[str, ...]
    row: Node
    payload: StructType
    on_unknown: OnUnknown

    @classmethod
    def of(
        cls,
        reader: Reader,
        contract: Validation,
        row: Node,
        payload: StructType,
        *,
        keys: tuple[str, ...] = (),
        is_debezium: bool = False,
        describes: Literal["row", "envelope"] = "row",
        on_unknown: OnUnknown = "keep",
    ) -> Judge:
        """The judge of these records."""
        sure = sure_schema(payload)
        strict = _strict(contract, [sure], row, keys, describes, is_debezium=is_debezium)
        return cls(
            reader,
            contract,
            strict,
            contract.within(sure),
            _key(contract, keys, describes),
            is_debezium,
            describes,
            keys,
            row,
            payload,
            on_unknown,
        )

    @property
    def verdict_type(self) -> StructType:
        """`violations` is null where the record is accepted; `payload` is null unless it is, and not dropped."""
        return StructType(
            [
                StructField("violations", ArrayType(VIOLATION_TYPE)),
                StructField("dropped", StringType()),
                StructField("rescued", StringType()),
                StructField("new_fields", ArrayType(NEW_FIELD_TYPE)),
                StructField("payload", self.payload),
            ]
        )

    def __call__(self, values: pa.Array) -> pa.StructArray:
        """The verdicts on an array of records, BINARY in, `verdict_type` out."""
        with _without_collector():
            verdicts: dict[int, Verdict] = {}
            records, with_decimals = self._read(values, verdicts)
            is_strict, is_sure = self.strict.validator.is_valid, self.sure.validator.is_valid
            unsure = set(with_decimals)
            for row, record in enumerate(records):
                if row in verdicts or is_strict(record):
                    continue
                verdicts[row], records[row] = self._judge(record)
                if records[row] is not None and not is_sure(records[row]):
                    unsure.add(row)
            payload = self._decode(records, sorted(unsure), verdicts)
            return self._as_arrow(payload, verdicts)

    def _read(self, values: pa.Array, verdicts: dict[int, Verdict]) -> tuple[list[Any], list[int]]:
        """The records, and which of them may hold a `Decimal`; null where there is none."""
        records, with_decimals = self.reader.read_all(values)
        for row, record in enumerate(records):
            if record is NO_RECORD:
                verdicts[row], records[row] = Verdict(dropped=TOMBSTONE), None
            elif isinstance(record, Unreadable):
                verdicts[row], records[row] = Verdict(rejected((record.rule, record.pointer, ""))), None
        return records, with_decimals

    def _judge(self, record: Any) -> tuple[Verdict, dict[str, Any] | None]:
        """The verdict on a record in which something is unusual, and what of it becomes columns."""
        if not isinstance(record, dict):
            return _reject("json.object", ""), None
        if not self.is_debezium:
            return self._judge_row(record, record, "")
        op = record.get(debezium.OP)
        if op == debezium.MESSAGE:
            return Verdict(dropped=MESSAGE), None
        if op not in debezium.OPS:
            return _reject("debezium.envelope", "/op"), None
        if not debezium.has_position(record.get(debezium.SOURCE)):
            return _reject("debezium.position", "/source"), None
        if op == debezium.TRUNCATE:
            return Verdict(), {**record, **dict.fromkeys(_IMAGES)}
        side = debezium.BEFORE if op == debezium.DELETE else debezium.AFTER
        image = record.get(side)
        if not isinstance(image, dict):
            return _reject("debezium.image", f"/{side}"), None
        if op == debezium.DELETE:
            # Of the row that is gone only the key is sure: the other fields may be nulls and zeros.
            broken = self._null_keys(image, f"/{side}") or self.key.violations(image, f"/{side}")
            return (Verdict(broken), None) if broken else (Verdict(), record)
        described = record if self.describes == "envelope" else image
        return self._judge_row(described, image, f"/{side}", record)

    def _judge_row(
        self, described: dict[str, Any], image: dict[str, Any], at: str, record: dict[str, Any] | None = None
    ) -> tuple[Verdict, dict[str, Any] | None]:
        violations = self.contract.violations(described, at if described is image else "")
        violations = violations or self._null_keys(image, at)
        if violations:
            return Verdict(violations), None
        unknown = unknown_in(image, self.row)
        if unknown is not None and self.on_unknown == "reject":
            found = [("schema_change.unknown", f"{at}/{'/'.join(path)}", "") for path, _ in new_fields(image, self.row)]
            return Verdict(rejected(*(found or [("schema_change.unknown", at, "")]))), None
        new = list(new_fields(image, self.row)) if unknown is not None and self.on_unknown == "learn" else []
        known = without_misfits(image, self.row)
        return Verdict(rescued=unknown, new=new), known if record is None else {**record, debezium.AFTER: known}

    def _null_keys(self, image: dict[str, Any], at: str) -> list[Violation] | None:
        nulls = [key for key in self.keys if image.get(key) is None]
        return rejected(*(("key.null", f"{at}/{key}", "") for key in nulls)) if nulls else None

    def _decode(self, records: list[Any], unsure: list[int], verdicts: dict[int, Verdict]) -> pa.Array:
        """The accepted records as columns; one with a value that does not fit is rejected.

        An image `before` that does not fit is kept in `_rescued_data`: no table takes more of it than the key.
        """
        payload, faults = to_arrow(records, self.payload, unsure)
        if not faults:
            return payload
        for row, found in faults.items():
            verdict = verdicts.setdefault(row, Verdict())
            if self._is_before_alone(records[row], found):
                before = records[row][debezium.BEFORE]
                verdict.rescued = {**(verdict.rescued or {}), debezium.BEFORE: before}
                keys = {key: before.get(key) for key in self.keys} if isinstance(before, dict) else None
                records[row] = {**records[row], debezium.BEFORE: keys}
            else:
                verdicts[row] = Verdict(rejected(*((rule, at, "") for rule, at in found)))
                records[row] = None
        return self._decode(records, unsure, verdicts)

    def _is_before_alone(self, record: dict[str, Any], faults: list[Fault]) -> bool:
        inside = f"/{debezium.BEFORE}"
        keys = {f"{inside}/{key}" for key in self.keys}
        return self.is_debezium and all(
            at.startswith(inside) and at not in keys and (at != inside or record[debezium.OP] != debezium.DELETE)
            for _, at in faults
        )

    def _as_arrow(self, payload: pa.Array, verdicts: dict[int, Verdict]) -> pa.StructArray:
        kinds = {name: arrow_type(self.verdict_type[name].dataType) for name in self.verdict_type.names[:-1]}

        def sparse(name: str, of: Callable[[Verdict], Any]) -> pa.Array:
            found: list[Any] = [None] * len(payload)
            for row, verdict in verdicts.items():
                found[row] = of(verdict)
            return pa.array(found, kinds[name])

        return pa.StructArray.from_arrays(
            [
                sparse("violations", lambda one: one.violations),
                sparse("dropped", lambda one: one.dropped),
                sparse("rescued", lambda one: json_bytes.write(one.rescued) if one.rescued else None),
                sparse("new_fields", lambda one: _as_new_fields(one.new)),
                payload,
            ],
            fields=list(arrow_type(self.verdict_type)),
        )


def _reject(rule: str, at: str) -> Verdict:
    return Verdict(rejected((rule, at, "")))


def _as_new_fields(new: list[tuple[FieldPath, DataType]]) -> list[dict[str, Any]] | None:
    return [{"path": list(path), "type": kind.simpleString()} for path, kind in new] or None


def _strict(
    contract: Validation,
    conditions: list[dict[str, Any]],
    row: Node,
    keys: tuple[str, ...],
    describes: Literal["row", "envelope"],
    *,
    is_debezium: bool,
) -> Validation:
    """The schema of the records that need no second look."""
    present = {"type": "object", "required": list(keys), "properties": {key: {"not": {"type": "null"}} for key in keys}}
    described = {"$ref": contract.uri}
    image = {"allOf": [schema_of(row), present, *([described] if describes == "row" else [])]}
    if not is_debezium:
        return contract.within({"allOf": [image, *conditions]})
    envelope = {
        "type": "object",
        "required": [debezium.OP, debezium.SOURCE, debezium.AFTER],
        "properties": {
            debezium.OP: {"enum": [debezium.CREATE, debezium.UPDATE, debezium.READ]},
            debezium.SOURCE: debezium.POSITION_SCHEMA,
            debezium.AFTER: image,
        },
        "allOf": [*conditions, *([described] if describes == "envelope" else [])],
    }
    return contract.within(envelope)


def _key(contract: Validation, keys: tuple[str, ...], describes: Literal["row", "envelope"]) -> Validation:
    """What the contract says of the key columns, where it names them in place: all that is sure of a deleted row."""
    within = ["properties"] if describes == "row" else ["properties", debezium.AFTER, "properties"]
    named: Any = json.loads(contract.schema)
    for step in within:
        named = named.get(step) if isinstance(named, dict) else None
    path = "/".join(within)
    fields = {
        key: {"$ref": f"{contract.uri}#/{path}/{key}"} for key in keys if isinstance(named, dict) and key in named
    }
    return contract.within({"properties": fields})


@contextmanager
def _without_collector() -> Iterator[None]:
    """Python's collector looks at every value again while a batch is read, and there are no circles to find."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
