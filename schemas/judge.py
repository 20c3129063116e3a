"""Judging records under their contract: from bytes to columns in one parse, inside an Arrow function.

A batch's bytes are read once. One call of `jsonschema-rs` per record says whether all is as it should be: envelope,
position, key, contract, no unknown field. Such records become columns as they are, converted by Arrow as a batch.
Only the others are looked at further. Codes are stable and name the rule, never the payload.

A value that Debezium does not have (see unavailable.py) is judged as if it were not there, whatever the contract says
of its field, and becomes null: the record is accepted if it breaks nothing else, and names the field in `_unavailable`.

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
| `key.unavailable`      | has Debezium's placeholder for a missing value there                   |
| `schema.<keyword>`     | breaks that keyword of the contract                                    |
| `schema_change.unknown`| has a field that the contract does not name, where those are refused   |
| `decode.*`             | keeps to the contract, but a value does not fit its column; see leaf_values |
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import pyarrow as pa
from pyspark.sql.types import StructType

from schemas import debezium, unavailable
from schemas.arrow_values import NO_FORMS, Fault, Forms, sure_schema, to_arrow
from schemas.field_tree import Node, new_fields, unknown_in, without_misfits
from schemas.judge_schemas import key_schema, strict_schema
from schemas.record_bytes import NO_RECORD, JsonReader, Reader
from schemas.unreadable import Unreadable
from schemas.validation import Validation, Violation, rejected
from schemas.verdict import Verdict, as_arrow, verdict_type

TOMBSTONE: Final = "tombstone"

OnUnknown = Literal["keep", "learn", "reject"]
"""What becomes of a field that the contract does not name: kept in `_rescued_data`; the same, and told of, so that a
column can be made for it; or the record is rejected."""

_IMAGES: Final = (debezium.BEFORE, debezium.AFTER)


@dataclass(frozen=True)
class Judge:
    """How the records of one bronze table are judged; small and picklable, since it travels to the workers.

    `strict` is the schema of the records that need no second look, `sure` that of the values which Arrow converts
    exactly as a batch, `key` what the contract says of the key columns alone; `row` is the tree of the fields that the
    row's columns know, `payload` the type of the columns that a record becomes, and `forms` say in which of Debezium's
    forms their values come.
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
    forms: Forms = field(default_factory=dict)

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
        forms: Forms = NO_FORMS,
    ) -> Judge:
        """The judge of these records."""
        sure = sure_schema(payload, forms)
        strict = strict_schema(contract, [sure], row, keys, describes, is_debezium=is_debezium)
        return cls(
            reader,
            contract,
            strict,
            contract.within(sure),
            key_schema(contract, keys, describes),
            is_debezium,
            describes,
            keys,
            row,
            payload,
            on_unknown,
            forms,
        )

    @property
    def verdict_type(self) -> StructType:
        """See verdict.verdict_type."""
        return verdict_type(self.payload)

    def __call__(self, values: pa.Array) -> pa.StructArray:
        """The verdicts on an array of records, BINARY in, `verdict_type` out."""
        with _without_collector():
            verdicts: dict[int, Verdict] = {}
            records, with_decimals = self._read(values, verdicts)
            is_strict, is_sure = self.strict.validator.is_valid, self.sure.validator.is_valid
            unsure = set(with_decimals)
            suspects = self._suspects(values)
            for row, record in enumerate(records):
                if row in verdicts or (is_strict(record) and row not in suspects):
                    continue
                verdicts[row], records[row] = self._judge(record)
                if records[row] is not None and not is_sure(records[row]):
                    unsure.add(row)
            payload = self._decode(records, sorted(unsure), verdicts)
            return as_arrow(verdicts, payload)

    def _suspects(self, values: pa.Array) -> frozenset[int]:
        """The rows that may hold Debezium's placeholder, which as a text keeps to most contracts."""
        if not self.is_debezium:
            return frozenset()
        patterns = unavailable.patterns_of(self.payload, is_avro=not isinstance(self.reader, JsonReader))
        return frozenset(unavailable.rows_with(values, patterns))

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
            return self._judge_row(self._violations(record, record, ""), record, "")
        if (reason := debezium.without_row(record)) is not None:
            return Verdict(dropped=reason), None
        op = record.get(debezium.OP)
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
        if missing := unavailable.names_in(record.get(debezium.BEFORE)):
            record = {**record, debezium.BEFORE: unavailable.with_nulls(record[debezium.BEFORE], missing)}
        if op == debezium.DELETE:
            # Of the row that is gone only the key is sure: the other fields may be nulls and zeros.
            broken = self._null_keys(image, f"/{side}") or self.key.violations(image, f"/{side}")
            return (Verdict(broken), None) if broken else (Verdict(), record)
        if missing := unavailable.names_in(image):
            return self._judge_partial_row(image, f"/{side}", record, missing)
        described = record if self.describes == "envelope" else image
        return self._judge_row(self._violations(described, image, f"/{side}"), image, f"/{side}", record)

    def _judge_partial_row(
        self, image: dict[str, Any], at: str, record: dict[str, Any], missing: tuple[str, ...]
    ) -> tuple[Verdict, dict[str, Any] | None]:
        """The verdict on a row with placeholders: what it breaks both with them and without these fields."""
        known = unavailable.without(image, missing)
        if self.describes == "envelope":
            violations = self.contract.common_violations({**record, debezium.AFTER: known}, record)
        else:
            violations = self.contract.common_violations(known, image, at)
        violations = violations or self._null_keys(image, at)
        if self.on_unknown == "reject":  # a field that no column knows is one, whatever became of its value
            known |= {name: image[name] for name in missing if name not in self.row.fields}
        verdict, judged = self._judge_row(violations, known, at, record)
        if judged is None:
            return verdict, None
        verdict.unavailable = missing
        return verdict, {**judged, debezium.AFTER: unavailable.with_nulls(judged[debezium.AFTER], missing)}

    def _violations(self, described: dict[str, Any], image: dict[str, Any], at: str) -> list[Violation] | None:
        return self.contract.violations(described, at if described is image else "") or self._null_keys(image, at)

    def _judge_row(
        self,
        violations: list[Violation] | None,
        image: dict[str, Any],
        at: str,
        record: dict[str, Any] | None = None,
    ) -> tuple[Verdict, dict[str, Any] | None]:
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
        broken = [
            (rule, f"{at}/{key}", "") for key in self.keys if (rule := self._key_rule(image.get(key))) is not None
        ]
        return rejected(*broken) if broken else None

    def _key_rule(self, value: Any) -> str | None:
        if value is None:
            return "key.null"
        return "key.unavailable" if self.is_debezium and unavailable.is_placeholder(value) else None

    def _decode(self, records: list[Any], unsure: list[int], verdicts: dict[int, Verdict]) -> pa.Array:
        """The accepted records as columns; one with a value that does not fit is rejected.

        An image `before` that does not fit is kept in `_rescued_data`: no table takes more of it than the key.
        """
        payload, faults = to_arrow(records, self.payload, unsure, self.forms)
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


def _reject(rule: str, at: str) -> Verdict:
    return Verdict(rejected((rule, at, "")))


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
