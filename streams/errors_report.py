"""What `sluice errors` shows of the error lanes: cohorts of records, and records with what is personal masked."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from checkpoints.lake import Lake
from schemas.errors import WrongUsage
from schemas.masking import MASK, Masker, opaque
from schemas.pipeline import Pipeline
from schemas.spec import BronzeSpec
from schemas.suggest import did_you_mean
from sinks.errors import UnreadableLaneFile
from sinks.lanes.positions import NOWHERE, Positions, held_in
from sinks.lanes.reader import REDRIVEN, Cohort, LaneReader, lanes


class UnknownTable(WrongUsage):
    """A table is asked for that neither the pipeline nor a lane has."""

    def __init__(self, table: str, known: list[str]) -> None:
        self.table = table
        super().__init__(f"There is no table `{table}`. {did_you_mean(table, known, '`sluice validate` lists them.')}")


class UnknownRule(WrongUsage):
    """A rule is asked for that no record was rejected by."""

    def __init__(self, rule: str, table: str | None, known: list[str]) -> None:
        self.rule, self.table = rule, table
        where = f"in the lane of {table}" if table else "in any lane"
        super().__init__(
            f"No record {where} was rejected by `{rule}`. "
            f"{did_you_mean(rule, known, '`sluice errors list` shows the rules that there are.')}"
        )


@dataclass(frozen=True)
class ShownRecord:
    """A rejected record; `key` and `value` are masked JSON values, or a text where the bytes are not JSON.

    Only `raw_key` and `raw_value` are as they came; both are None in a lane below bronze, which keeps no bytes.
    """

    table: str
    topic: str
    partition: int
    offset: int
    kafka_ts: datetime | None
    ingest_ts: datetime
    run_id: str
    contract: str | None
    contract_version: str | None
    violations: tuple[dict[str, str], ...]
    redriven: bool
    key: Any
    value: Any
    raw_key: bytes | None = field(repr=False)
    raw_value: bytes | None = field(repr=False)

    @property
    def position(self) -> str:
        """`topic[partition]@offset`."""
        return f"{self.topic}[{self.partition}]@{self.offset}"


class ErrorLanes:
    """The error lanes of a lake, read as they are now, without Spark; `problems` are files that were left out."""

    def __init__(self, lake: Lake, pipeline: Pipeline) -> None:
        self.lake = lake
        self.pipeline = pipeline
        self.problems: list[UnreadableLaneFile] = []

    def cohorts(self, table: str | None = None, rule: str | None = None, since: datetime | None = None) -> list[Cohort]:
        """The cohorts of one table or of all; raises UnknownTable, UnknownRule."""
        tables = self._tables(table)
        found = [cohort for name in tables for cohort in self._cohorts(name, rule, since)]
        if rule is not None and not found:
            self._check_rule(rule, table, tables)
        return found

    def records(
        self, table: str, rule: str | None = None, since: datetime | None = None, limit: int = 10
    ) -> list[ShownRecord]:
        """The newest `limit` records of a table's lane, newest first; raises UnknownTable, UnknownRule."""
        tables = self._tables(table)
        rows = self._reader(table).newest(limit, since, rule=rule)
        if rule is not None and not rows.num_rows:
            self._check_rule(rule, table, tables)
        held = self._held(table, Positions.of(rows.to_batches()))
        return list(self._shown(table, rows, held))

    def _cohorts(self, table: str, rule: str | None, since: datetime | None) -> list[Cohort]:
        reader = self._reader(table)
        held = self._held(table, reader.positions(since, rule=rule))
        return reader.cohorts(since, rule=rule, held=held)

    def _shown(self, table: str, rows: pa.Table, held: Positions) -> Iterator[ShownRecord]:
        spec = self.pipeline.tables.get(table)
        masker = Masker.of(spec, self.pipeline.contract_of(spec)) if isinstance(spec, BronzeSpec) else None
        for batch in rows.to_batches():
            there = held.mask(batch).to_pylist()
            for row, is_held in zip(batch.to_pylist(), there, strict=True):
                yield _record(table, row, masker, row[REDRIVEN] or is_held)

    def _held(self, table: str, positions: Positions) -> Positions:
        """Those that bronze holds; a lane below it has only its verdicts to tell what has gone through."""
        return held_in(self.lake.table(table), positions) if table.startswith("bronze.") else NOWHERE

    def _reader(self, table: str) -> LaneReader:
        return LaneReader(self.lake, table, self._report)

    def _report(self, error: UnreadableLaneFile) -> None:
        if error.file not in {one.file for one in self.problems}:
            self.problems.append(error)

    def _tables(self, table: str | None) -> list[str]:
        present = lanes(self.lake)
        if table is None:
            return present
        known = sorted({*present, *self.pipeline.tables})
        if table not in known:
            raise UnknownTable(table, known)
        return [table]

    def _check_rule(self, rule: str, table: str | None, tables: list[str]) -> None:
        """A rule that only nothing was rejected by lately is none that is misspelt."""
        rules = {cohort.rule for name in tables for cohort in self._reader(name).cohorts()}
        if rules and rule not in rules:
            raise UnknownRule(rule, table, sorted(rules))


def _record(table: str, row: dict[str, Any], masker: Masker | None, redriven: bool) -> ShownRecord:
    key, value = _bytes(row["key"]), _bytes(row["value"])
    if masker is None:
        # Without a contract nothing says what is harmless.
        shown_key, shown_value = (opaque(raw) if raw is not None else None for raw in (key, value))
    else:
        shown_key = masker.key(key) if key is not None else None
        shown_value = masker.value(value) if value is not None else None
    return ShownRecord(
        table=table,
        **{name: row[name] for name in ("topic", "partition", "offset", "kafka_ts", "ingest_ts", "run_id")},
        **{name: row[name] for name in ("contract", "contract_version")},
        violations=tuple(_violation(one, masker) for one in row["violations"]),
        redriven=redriven,
        key=shown_key,
        value=shown_value,
        raw_key=key,
        raw_value=value,
    )


def _violation(violation: dict[str, str | None], masker: Masker | None) -> dict[str, str]:
    pointer = violation["pointer"] or ""
    return {
        "rule": violation["rule"] or "",
        "pointer": masker.pointer(pointer) if masker else f"/{MASK}" if pointer else "",
        "schema_path": violation["schema_path"] or "",
    }


def _bytes(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        # Whoever wrote it there did not write base64.
        return text.encode()
